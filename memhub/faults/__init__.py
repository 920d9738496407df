"""Faults on demand on a hub: rules for requests, sick hardware, suspend and resume."""
