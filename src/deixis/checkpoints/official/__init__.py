"""Readers of the checkpoints that the papers' authors published."""
