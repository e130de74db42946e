"""A connection's bytes: what may come, how fast, and how an answer goes out."""
