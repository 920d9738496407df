"""The service: a hub that other processes use over a socket.

wire      the protocol, without I/O       server  a hub behind sockets
client    the asynchronous client         blocking  the client for scripts
local     the blocking client's methods on machines in this process
settings  how a service listens, whom it serves   subject  who a certificate names
link, readable  byte streams
address, client_errors, remote_file, wire_times, mapped, spans, address_batch  shared by clients

Nothing is imported here, so that a one-shot client pays only for what it uses.
"""
