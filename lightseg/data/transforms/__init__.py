"""Augmentation and evaluation transforms, one task a file."""
