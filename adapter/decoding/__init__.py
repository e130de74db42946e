"""What a body of JSON needs beyond its decoder: keys that stand twice, and large bodies off the event loop."""
