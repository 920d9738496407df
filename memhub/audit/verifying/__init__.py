"""Whether a log's chain and seals hold, and where they break."""
