"""Where the YAML files are: `configs/` beside the library in a checkout, inside it in the wheel."""

from pathlib import Path

_LIBRARY = Path(__file__).parents[1]
SHIPPED = next(path for path in (_LIBRARY / "configs", _LIBRARY.parent / "configs") if (path / "train.yaml").is_file())
