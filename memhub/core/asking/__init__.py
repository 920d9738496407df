"""The one place where a range driver is asked, and where its answers are checked."""
