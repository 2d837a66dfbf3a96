"""The same questions through several engines: what differs between them, and why."""
