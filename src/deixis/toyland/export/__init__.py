"""Toyland written to disk: packed for training, as trees in official layouts, as a contact sheet."""
