"""What an architecture or a kernel implements."""
