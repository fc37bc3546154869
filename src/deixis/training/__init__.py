"""The training loop; it knows no model and no data set."""
