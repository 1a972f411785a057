"""DMaskingNAS (FBNetV2): costs, latency tables, derivation of the chosen net, history."""
