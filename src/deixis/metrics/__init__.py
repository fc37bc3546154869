"""The evaluator: measures as pure functions, accumulators that only add and merge, named protocols."""
