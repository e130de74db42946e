"""Models that are not loaded while nobody asks them."""
