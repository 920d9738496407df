"""What an architecture or a kernel implements, and the one place where it is asked."""
