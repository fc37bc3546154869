"""From a model or a file of predictions to a report and a comparison."""
