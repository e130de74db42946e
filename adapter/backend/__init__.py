"""What runs the models: a Protocol, and Triton over gRPC behind it."""
