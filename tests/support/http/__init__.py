"""What the adapter's HTTP is tested with: bytes to send, servers of one part, and the whole application."""
