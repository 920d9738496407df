"""The service: the wire protocol, the server, the clients and the shim for real programs.

wire      the protocol, without I/O       server  a hub behind sockets
client    the asynchronous client         blocking  the one for scripts
local     its face without a service      shim    unmodified programs
settings  how a service listens, whom it serves   subject  who a certificate names
link, readable  byte streams
address, client_errors, remote_file, wire_times, mapped, address_batch  what the clients share

Nothing is imported here, so that a one-shot client pays only for what it uses.
"""
