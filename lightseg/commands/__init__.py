"""The commands of the console program, a module each, with `add_arguments(parser)` and `run(arguments)`."""
