"""The heads of the tasks: modules with `forward`, `loss` and `decode`, built for the `stages` of a backbone."""
