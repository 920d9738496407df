"""memhub."""
