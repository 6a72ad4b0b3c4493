"""The operator's process. process.py starts and stops everything, discovery.py finds the kinds that
the API server serves, and kopf_adapter.py watches them with kopf.
"""
