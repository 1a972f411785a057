"""Data sets, transforms and reading of files."""
