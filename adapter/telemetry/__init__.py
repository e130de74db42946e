"""What is seen from outside: metrics, logs and traces."""
