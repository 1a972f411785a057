"""What is known without torch and timm: backbones, architectures, search spaces and tasks."""
