"""What single keys of a model's config may be."""
