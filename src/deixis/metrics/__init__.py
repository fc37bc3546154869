"""Measures only: pure functions, accumulators that add and merge, and the named protocols."""
