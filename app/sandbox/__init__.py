"""Partners to develop against: a payment provider and a marketplace that misbehave on demand. Never in production."""
