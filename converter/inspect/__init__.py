"""What a model's folder and files are, found without running them and within bounds."""
