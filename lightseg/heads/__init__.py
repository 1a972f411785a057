"""Task heads: each a module built from `stages`, with `forward`, `loss` and `decode`."""
