"""From a model or a file of predictions to a report, and to a comparison."""
