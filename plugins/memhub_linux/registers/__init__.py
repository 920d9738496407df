"""The registers: every CPU's, and the back ends that keep the kernel's ranges in them."""
