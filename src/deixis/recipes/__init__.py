"""The only composer: one file a paper, one function for each published number."""
