"""One file, one paper: the network and its own loss."""
