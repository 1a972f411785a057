"""Searches that train: DMaskingNAS and NetAdapt."""
