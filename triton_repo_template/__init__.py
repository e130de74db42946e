"""What goes into a Triton model repository: the config's template and the runtime, copied verbatim."""
