"""Names the mistake in a refused request."""
