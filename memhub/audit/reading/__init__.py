"""Reading a log: where it is, its lines, its records."""
