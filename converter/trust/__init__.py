"""What a model file may run when it is loaded, told without running it."""
