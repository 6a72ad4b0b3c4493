"""Proxy in front of servers that are scaled to zero.

It accepts connections, scales the servers up when the first request arrives, forwards the bytes
once one is ready, and scales them down again after a time without traffic.

Connections are forwarded as bytes, not as requests, so HTTP, gRPC and TLS all pass; a request that
has to wait stays in its socket. Scaling goes through the `scale` subresource of the Modelyard
Deployment, which is all that the pod's token allows.

`proxy.py` owns the connections and the idle timer, `connections.py` forwards bytes, `servers.py`
scales and finds the servers, `http2.py` keeps waiting gRPC clients from giving up. The pod itself
is made in core/deployment/activator.py.
"""
