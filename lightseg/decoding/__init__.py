"""From the raw outputs of an exported file to predictions, in NumPy alone: what runs it elsewhere needs no torch."""
