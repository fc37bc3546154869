"""Looking at, auditing and converting data sets."""
