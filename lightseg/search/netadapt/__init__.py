"""NetAdapt: narrower nets of a trained one."""
