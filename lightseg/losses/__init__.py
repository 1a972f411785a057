"""The losses, one file a task."""
