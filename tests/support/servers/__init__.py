"""A system that serves, in processes of its own: started, asked, put under load and looked at."""
