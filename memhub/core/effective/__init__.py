"""Effective memory types: address to type, and why.

typemap    the flattened map
directmap  the same face for states too large to flatten: the source is asked each time
layers     laying ranges over ranges
"""
