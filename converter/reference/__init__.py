"""What editors and the docs say of model_config.yaml, made of its types."""
