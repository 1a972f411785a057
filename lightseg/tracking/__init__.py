"""Weights & Biases: reports, sync and account. The only package of the library that imports wandb."""
