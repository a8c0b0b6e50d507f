"""Published clients, unmodified, against the mock: what they send, and what they make of the replies."""
