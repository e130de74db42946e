"""The load engine: requests to a running server, and what became of them. `schwift bench` and the tests share it."""
