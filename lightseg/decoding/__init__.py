"""Decoding of an exported file's raw outputs to predictions, in NumPy only: deployment needs no torch."""
