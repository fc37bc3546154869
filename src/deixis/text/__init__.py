"""Words to features, in stages."""
