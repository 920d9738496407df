"""Faces: each translates one kernel's calls to requests, and the answers back."""
