"""Snapshots of a hub's machines, and their files."""
