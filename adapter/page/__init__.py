"""The page for people: its files, and the numbers that it asks for."""
