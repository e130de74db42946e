"""Which models are served, and what is believed of them."""
