"""Models that sleep, and who wakes them."""
