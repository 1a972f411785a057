"""What the console program can do: a verb a file, with `add_arguments(parser)` and `run(arguments)`."""
