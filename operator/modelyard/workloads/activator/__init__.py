"""Stands in front of servers that sleep: holds connections, has servers woken, and lets them sleep
when nobody has said anything for a while.

It hands on bytes, not requests: HTTP, gRPC and TLS pass alike, and a held request waits in the
socket until a server answers. The servers are woken by writing their Deployment's replicas through
the scale subresource, all that the pod's token allows.
"""
