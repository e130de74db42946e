"""Other protocols on the adapter's port, each a translation to and from the one way that predictions go."""
