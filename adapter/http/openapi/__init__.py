"""The OpenAPI document: every address with the types of its answers, and a path with its own types for each model."""
