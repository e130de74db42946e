"""Sockets, ASGI, the endpoints and their documents."""
