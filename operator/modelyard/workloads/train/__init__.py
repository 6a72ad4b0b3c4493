"""Training with Ultralytics (AGPL-3.0: this package, `export` and `evaluate` alone import it)."""
