"""Several processes on one port, and what they share."""
