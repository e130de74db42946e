"""What a user's model takes of the tensors that Triton hands over."""
