"""What a model's libraries import along, and need seldom or never."""
