"""What the x86 architectures and the importers share: MTRRs and the page attribute table.

registers      numbers, fields, and the value that they decode to
mtrr_types     registers to effective memory types
pat            page attributes over MTRR types
mtrr_codec     descriptors to registers and back
mtrr_driver    MEMRANGE_SET over the registers
mtrr_fixed     what a SET does to the fixed slots
mtrr_refusals  what the driver says when it refuses
"""
