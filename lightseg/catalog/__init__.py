"""Facts that need neither torch nor timm: backbones, architectures, search spaces and tasks."""
