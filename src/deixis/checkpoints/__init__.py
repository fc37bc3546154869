"""Our own checkpoint format, and readers of the official ones."""
