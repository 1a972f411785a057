"""Closed lists of values that configurations are checked against and code looks up."""

PRUNING_SCOPES = ("layer", "global")  # each layer alone, or all weights together
SCHEDULES = ("poly", "cosine", "step", "exponential", "constant")
