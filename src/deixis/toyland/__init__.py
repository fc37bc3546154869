"""Toyland: generated scenes with exact masks, and expressions from a grammar that has access to the scene."""
