"""Self-contained HTML pages, which open from the disk without a network.

Style and script are embedded, and a content security policy blocks others. The text of files reaches the page in one
JSON element, and scripts show it as plain text. `base.css` and `elements.js` of assets/ are those of all pages.
"""

import base64
import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lightseg.atomic_io import write_text
from lightseg.errors import LightsegError

ASSETS = Path(__file__).parent / "assets"


def render(assets: Path, template: str, styles: Sequence[str], scripts: Sequence[str], data: Any) -> str:
    """The HTML of a template with `{{style}}`, `{{style_hash}}`, `{{script}}`, `{{script_hash}}` and `{{data}}`.

    assets: the folder of the files; styles and scripts follow those of all pages, in this order.
    data: what the script reads, as JSON. Numbers are finite or null.
    """
    style = _joined(["base.css"], ASSETS) + _joined(styles, assets)
    script = _joined(["elements.js"], ASSETS) + _joined(scripts, assets)
    parts = {
        "style": style,
        "style_hash": source_hash(style),
        "script": script,
        "script_hash": source_hash(script),
        "data": embedded_json(data),
    }
    # one pass: a "{{name}}" in the data is not replaced
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _joined([template], assets))


def save_page(text: str, path: Path) -> None:
    """Write the page. Raises LightsegError if the file cannot be written."""
    try:
        write_text(path, text)
    except OSError as error:
        raise LightsegError(f"cannot write {path}: {error.strerror}") from error


def source_hash(text: str) -> str:
    """The source expression of a content security policy that allows this script or style."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def embedded_json(content: Any) -> str:
    """JSON that can be inside a script element: <, >, & and everything that is not ASCII are escaped."""
    text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _joined(names: Sequence[str], folder: Path) -> str:
    return "".join((folder / name).read_text(encoding="utf-8") for name in names)
