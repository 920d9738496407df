"""What the x86 architectures and the importers share: MTRRs and the page attribute table.

registers    numbers, fields, decoding     mtrr_types   registers to effective types
mtrr_codec   descriptors to registers      pat          page attributes over MTRR types
mtrr_rules   what a slot table accepts     mtrr_driver  MEMRANGE_SET over the registers
"""
