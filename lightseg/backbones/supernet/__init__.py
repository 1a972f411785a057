"""DMaskingNAS's super-network: all nets of a search space in a single feature pyramid."""
