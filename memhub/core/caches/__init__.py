"""What CPUs see and what the bus sees, where a machine's memory is not coherent.

Everything is synchronous and pure: `planning` says what an access does, as a `CacheChange`, and
`Caches.apply` and `Caches.revert` are the only code that changes the state.
"""
