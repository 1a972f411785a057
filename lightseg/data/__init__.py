"""One real data format a file."""
