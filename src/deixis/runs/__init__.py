"""Run: what to train, and executing it."""
