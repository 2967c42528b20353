"""Tasks: what is attempted, from which starts, and how a failure is named."""
