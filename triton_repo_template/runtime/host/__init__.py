"""A pack: several models in one process, the host, and the front by which Triton's own clients reach them."""
