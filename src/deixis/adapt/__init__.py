"""Objectives over a pair of domains: one file, one method."""
