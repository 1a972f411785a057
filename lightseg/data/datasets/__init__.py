"""Data sets, one format a file."""
