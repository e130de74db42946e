"""Small models: their YAML, their folders, their repositories."""
