"""What the commands `schwift engine` and `schwift env` do."""
