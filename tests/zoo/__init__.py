"""Models of the kinds that people have, from their files to proven servers (`make zoo`)."""
