"""Effective memory types: address to type, and why.

typemap    the flattened map            mtrr       the registers
directmap  the same, for holed masks    mtrrtypes  registers to a map
layers     laying ranges over ranges    pat        page attributes over MTRRs
"""
