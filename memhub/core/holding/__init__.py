"""Who holds what of a machine and who waits for it, as data: claims, waits, commits."""
