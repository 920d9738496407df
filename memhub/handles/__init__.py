"""An open device file, for callers that await and callers that block, and who opens it."""
