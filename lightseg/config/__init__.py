"""The configuration of a run, composed from YAML files and checked. The only package that imports omegaconf."""
