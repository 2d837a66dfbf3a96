"""A device's side: it says what it can run, and runs workers for a server. Needs no web framework."""
