"""Semantic-conditioned dual adaptation, in its parts: contents, categories, contrast, relation."""
