"""Fault rules: which requests a rule is for, and what it does to them. Plain values."""
