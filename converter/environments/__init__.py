"""What models and Triton run in: Triton's binaries, Pythons, and environments with packages."""
