"""Referring expressions made from the boxes and masks of instances, for whoever has annotations and no sentences."""
