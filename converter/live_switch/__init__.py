"""The client's side of a reload."""
