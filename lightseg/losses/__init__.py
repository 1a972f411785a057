"""The losses, one file per task."""
