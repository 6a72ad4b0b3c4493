"""The operator's process: kopf_adapter.py watches with kopf, discovery.py finds out which kinds can
be watched, process.py starts and stops everything."""
