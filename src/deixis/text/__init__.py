"""Expressions to token ids, and token ids to features."""
