"""The engine: keyed queue, reconcile loop, Lease, metrics, settings, logs."""
