"""Boot: variable ranges planned anew, and RAM cut that no range covers (Linux `cleanup.c`)."""
