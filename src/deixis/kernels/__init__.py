"""Fast forms of what `layers` and `vision` compute; a test holds each to its textbook form."""
