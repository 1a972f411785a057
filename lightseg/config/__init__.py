"""The configuration of a run, composed from YAML files and checked. The only room that imports omegaconf."""
