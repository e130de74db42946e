"""Several models in one process: the host of a pack, and its front."""
