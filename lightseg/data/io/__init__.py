"""Reading image and label files: decoding, caching, integrity checks, sampling."""
