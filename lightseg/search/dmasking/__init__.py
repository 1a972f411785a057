"""DMaskingNAS (FBNetV2): costs, derivation of the found net, history."""
