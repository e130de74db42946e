"""The HTTP contract in front of Triton: validates, admits, batches, and answers for what Triton gets wrong."""

VERSION = "0.1.0"
