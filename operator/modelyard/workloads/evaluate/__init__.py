"""Evaluation of artifacts and weights on a pinned holdout, with Ultralytics' own metrics."""
