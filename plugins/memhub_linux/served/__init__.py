"""Linux for a machine of a hub: its settings, its calls, its state as plain data."""
