"""NetAdapt: narrower nets of a trained net."""
