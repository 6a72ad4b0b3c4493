"""Access to the API server: client, server-side apply, cache and events. The engine sees it through
the `Api` protocol in api.py.
"""
