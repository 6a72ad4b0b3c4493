"""Reconciling: queue, workers, writes, leader election, metrics. Start reading at engine.py."""
