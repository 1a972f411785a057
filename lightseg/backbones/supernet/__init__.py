"""DMaskingNAS's super-network: all nets of a search space as one feature pyramid."""
