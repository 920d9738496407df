"""The machines of one event loop, in the time in which they are in use."""
