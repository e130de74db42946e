"""The parts of `make bench-density`."""
