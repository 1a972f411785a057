"""The catalog of backbones in milliseconds: what answers before torch is imported takes it from here."""

import importlib.util
import sys
from functools import lru_cache
from pathlib import Path
from typing import Any


@lru_cache
def catalog() -> Any:
    """The module lightseg/backbones/catalog.py, read by its path: through its package it would bring torch along."""
    path = Path(__file__).parent / "backbones" / "catalog.py"
    spec = importlib.util.spec_from_file_location("_lightseg_catalog", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module
