"""A fifth task, whole in this folder: the depth of an image, one number in meters."""
