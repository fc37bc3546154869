"""One file, one objective: what is minimised, and when."""
