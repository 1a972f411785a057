"""Sections that a benchmark writes into a page: the text between two comments of the page."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[1]


def write_section(page: str, name: str, text: str) -> None:
    """Replace the text between `<!-- name -->` and `<!-- end of name -->` in docs/<page>."""
    path = ROOT / "docs" / page
    content = path.read_text(encoding="utf-8")
    pattern = rf"(<!-- {re.escape(name)} -->\n).*?(<!-- end of {re.escape(name)} -->)"
    if not re.search(pattern, content, re.DOTALL):
        raise SystemExit(f"{path} has no section '<!-- {name} -->'")
    path.write_text(re.sub(pattern, lambda m: f"{m[1]}\n{text}\n\n{m[2]}", content, flags=re.DOTALL), encoding="utf-8")
