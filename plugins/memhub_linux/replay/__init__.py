"""Answers recorded from the kernel's own code, replayed."""
