"""What machines were: a log is read, and its facts are applied."""
