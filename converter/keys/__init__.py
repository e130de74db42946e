"""API keys, from the command line: made, listed, revoked."""
