"""A model's sample: some rows, and the original's own answers to them."""
