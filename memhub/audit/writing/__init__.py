"""Writing a log: records, files, rotation, seals."""
