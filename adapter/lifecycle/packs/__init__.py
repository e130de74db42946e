"""The life of packed models: loaded into a host's process, blamed for its end, moved out of it."""
