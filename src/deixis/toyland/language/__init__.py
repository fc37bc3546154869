"""From a view of a scene to expressions, each with the program that selects its referent."""
