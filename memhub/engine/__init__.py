"""The engine: the only place where state, clock and log meet, and what it is composed of."""
