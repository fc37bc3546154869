"""One reader a file, and the way from Samples to tensors."""
