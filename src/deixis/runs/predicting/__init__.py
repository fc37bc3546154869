"""Predictions about many images: rows in, Parquet out, on one machine or on a cluster."""
