"""Weights & Biases: reports, sync and account. The only room of lightseg that imports wandb."""
