"""JSON to tensors, and tensors to JSON."""
