"""What the command `schwift` owns: processes."""
