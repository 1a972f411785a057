"""Metrics of each task, equal to the official evaluators."""
