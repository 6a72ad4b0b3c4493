"""The API server: client, server-side apply, cache, events, behind a small Protocol."""
