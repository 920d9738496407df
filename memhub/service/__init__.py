"""The service: the wire protocol, the server, the clients and the shim for real programs.

Nothing is imported here, so that a one-shot client pays only for what it uses.
"""
