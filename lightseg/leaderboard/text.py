"""Tables as text: terminal (rich), Markdown, LaTeX (booktabs). The text of records is escaped for each of them."""

import re
import sys
from collections.abc import Sequence

from lightseg.errors import LightsegError
from lightseg.leaderboard.cells import Column, Table

SETTING_WIDTH = 48  # characters; longer settings are folded
NARROW_SETTING_WIDTH, NARROW = 24, 120  # in a terminal of less than 120 characters
LATEX_ESCAPES = {
    "\\": r"\textbackslash{}",
    **{char: f"\\{char}" for char in "{}$&#_%"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",
    "[": "{[}",  # after the \\ of the previous line it would be a length
    "]": "{]}",
    "±": r"$\pm$",
}


def markdown(tables: Sequence[Table]) -> str:
    """Tables of GitHub's Markdown, each with a heading."""
    parts = []
    for table in tables:
        headings = [escape_markdown(column.heading) for column in table.columns]
        rules = ["---:" if column.numbers else "---" for column in table.columns]
        lines = [f"### {escape_markdown(table.title)}", ""]
        lines += [f"{escape_markdown(note)}  " for note in table.notes]
        lines += ["", _markdown_line(headings), _markdown_line(rules)]
        for row in _rows(table):
            lines.append(_markdown_line([f"**{escape_markdown(c)}**" if b else escape_markdown(c) for c, b in row]))
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def latex(tables: Sequence[Table]) -> str:
    """A `table` environment per table, with the notes in its caption."""
    parts = [r"% \usepackage{booktabs}"]
    for table in tables:
        headings = [escape_latex(column.heading) for column in table.columns]
        layout = "".join("r" if column.numbers else "l" for column in table.columns)
        caption = ". ".join(escape_latex(note.rstrip(".")) for note in (table.title, *table.notes))
        lines = [r"\begin{table}", r"\centering", rf"\caption{{{caption}.}}", rf"\begin{{tabular}}{{{layout}}}"]
        lines += [r"\toprule", rf"{' & '.join(headings)} \\", r"\midrule"]
        for row in _rows(table):
            cells = [rf"\textbf{{{escape_latex(c)}}}" if b else escape_latex(c) for c, b in row]
            lines.append(rf"{' & '.join(cells)} \\")
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]))
    return "\n\n".join(parts) + "\n"


def terminal(tables: Sequence[Table], width: int | None = None, color: bool = False) -> str:
    """Tables aligned by rich.

    Args:
        width: characters per line; columns that do not fit are left out, and named. None: as wide as the tables.
        color: bold and dim by a terminal's control sequences.

    Raises:
        LightsegError: rich is not installed.
    """
    try:
        from rich.console import Console
        from rich.measure import Measurement
        from rich.table import Table as RichTable
        from rich.text import Text
    except ImportError as error:
        raise LightsegError("tables in the terminal need rich: pip install rich, or give --format markdown") from error

    def rich_table(columns: Sequence[Column], table: Table) -> RichTable:
        body = RichTable(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for column in columns:
            fold = SETTING_WIDTH if width is None or width >= NARROW else NARROW_SETTING_WIDTH
            max_width = fold if column.heading == "setting" else None
            body.add_column(
                Text(column.heading),
                justify="right" if column.numbers else "left",
                max_width=max_width,
                no_wrap=max_width is None,
                overflow="fold",
            )
        for row in _rows(Table(table.title, table.notes, tuple(columns))):
            body.add_row(*(Text(cell, style="bold green" if best else "") for cell, best in row))
        return body

    wide = Console(width=100_000)
    parts = []
    for table in tables:
        columns, left_out = list(table.columns), []
        while True:
            body = rich_table(columns, table)
            natural = Measurement.get(wide, wide.options, body).maximum
            spare = max((column.spare for column in columns), default=0)
            if width is None or natural <= width or not spare:
                break
            dropped = next(column for column in reversed(columns) if column.spare == spare)
            columns.remove(dropped)
            left_out.append(dropped.heading)
        length = max(width or 0, natural)
        console = Console(width=length, force_terminal=color, no_color=not color, highlight=False, legacy_windows=False)
        with console.capture() as capture:
            console.print(Text(table.title, style="bold"))
            for note in table.notes:
                console.print(Text(note, style="dim"), width=width, soft_wrap=width is None)
            if left_out:
                text = f"Left out to fit the terminal: {', '.join(reversed(left_out))} (--format markdown has all)"
                console.print(Text(text, style="dim"), width=width, soft_wrap=width is None)
            console.print()
            console.print(body)
        parts.append("\n".join(line.rstrip() for line in capture.get().splitlines()))
    return "\n\n".join(parts) + "\n"


def escape_markdown(text: str) -> str:
    """The text without markup for Markdown: no cell, emphasis, link, mention or HTML begins in it."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|~!#$])", r"\\\1", text)
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)  # within a word it is no markup
    text = re.sub(r"(?i)(https?|ftp|www)([:.])", lambda m: f"{m[1]}&#{ord(m[2])};", text)
    return text.replace("@", "&#64;")


def escape_latex(text: str) -> str:
    return "".join(LATEX_ESCAPES.get(char, char) for char in text)


def _rows(table: Table) -> list[list[tuple[str, bool]]]:
    """Rows of (cell, whether it is a best value)."""
    count = len(table.columns[0].cells)
    return [[(column.cells[i], i in column.best) for column in table.columns] for i in range(count)]


def _markdown_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def terminal_width() -> int | None:
    """Width of the terminal in characters; None where standard output is a file or a pipe."""
    if not sys.stdout.isatty():
        return None
    import shutil

    return shutil.get_terminal_size().columns
