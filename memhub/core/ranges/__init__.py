"""The range table of a machine: slots, what they decide about, how each process sees them."""
