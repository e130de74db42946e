"""What runs the models: a Protocol, and Triton behind it, asked over HTTP and controlled over gRPC."""
