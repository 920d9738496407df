"""What is wrong with a machine's registers or its driver, as values, and how that becomes true."""
