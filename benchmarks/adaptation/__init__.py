"""Adaptation between Toyland's domains: every method of a table, its scores, and the report's figures."""
