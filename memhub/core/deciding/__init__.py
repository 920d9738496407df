"""What requests come to: each function looks at a machine and changes nothing."""
