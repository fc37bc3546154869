"""One file, one data set: its records to Samples."""
