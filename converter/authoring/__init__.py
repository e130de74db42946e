"""What schwift does for those who write configs: it reads a model, writes its config and a sample of its answers."""
