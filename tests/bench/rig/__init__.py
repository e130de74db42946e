"""What the benchmarks are made of: servers to compare, clients that load them, and figures."""
