"""Clips of Toyland: how things move, what their motion is called, and how the frames are drawn."""
