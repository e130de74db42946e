"""What the adapter's lifecycle and reloads are tested with: models, reconcilers and a scripted other side."""
