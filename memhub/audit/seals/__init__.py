"""Seals of a log, and proofs: Merkle trees, signed notes and keys, as C2SP has them."""
