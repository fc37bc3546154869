"""Recipes: data only, one function for each published number; the catalogue lists them all."""
