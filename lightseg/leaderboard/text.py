"""Tables as text: terminal (rich), Markdown, LaTeX (booktabs). What records say is escaped for each of them."""

import re
import sys
from collections.abc import Sequence

from lightseg.errors import LightsegError
from lightseg.leaderboard.cells import Column, Table

SETTING_WIDTH = 48  # letters; longer settings are folded
NARROW_SETTING_WIDTH, NARROW = 24, 120  # in a terminal of less than 120 letters
LATEX = {
    "\\": r"\textbackslash{}",
    **{letter: f"\\{letter}" for letter in "{}$&#_%"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    '"': r"{\char34}",
    "[": "{[}",  # after the \\ of the line before it would be a length
    "]": "{]}",
    "±": r"$\pm$",
}


def markdown(tables: Sequence[Table]) -> str:
    """GitHub's tables, a heading each."""
    parts = []
    for table in tables:
        names = [escape_markdown(column.heading) for column in table.columns]
        rules = ["---:" if column.numbers else "---" for column in table.columns]
        lines = [f"### {escape_markdown(table.title)}", ""]
        lines += [f"{escape_markdown(note)}  " for note in table.notes]
        lines += ["", _markdown_line(names), _markdown_line(rules)]
        for row in _rows(table):
            lines.append(_markdown_line([f"**{escape_markdown(c)}**" if b else escape_markdown(c) for c, b in row]))
        parts.append("\n".join(lines))
    return "\n\n".join(parts) + "\n"


def latex(tables: Sequence[Table]) -> str:
    """A `table` each, with the notes in its caption."""
    parts = [r"% \usepackage{booktabs}"]
    for table in tables:
        names = [escape_latex(column.heading) for column in table.columns]
        layout = "".join("r" if column.numbers else "l" for column in table.columns)
        caption = ". ".join(escape_latex(note.rstrip(".")) for note in (table.title, *table.notes))
        lines = [r"\begin{table}", r"\centering", rf"\caption{{{caption}.}}", rf"\begin{{tabular}}{{{layout}}}"]
        lines += [r"\toprule", rf"{' & '.join(names)} \\", r"\midrule"]
        for row in _rows(table):
            cells = [rf"\textbf{{{escape_latex(c)}}}" if b else escape_latex(c) for c, b in row]
            lines.append(rf"{' & '.join(cells)} \\")
        parts.append("\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}"]))
    return "\n\n".join(parts) + "\n"


def terminal(tables: Sequence[Table], width: int | None = None, colour: bool = False) -> str:
    """Ruled tables.

    Args:
        width: letters a line; the least needed columns are left out, and named, where it is too narrow. None = as wide
            as the tables are.
        colour: bold and dim by a terminal's control sequences.
    """
    try:
        from rich.console import Console
        from rich.measure import Measurement
        from rich.table import Table as Ruled
        from rich.text import Text
    except ImportError as error:
        raise LightsegError("the terminal's table needs rich: pip install rich, or give --format markdown") from error

    def ruled(columns: Sequence[Column], table: Table) -> Ruled:
        made = Ruled(box=None, header_style="bold", pad_edge=False, padding=(0, 2, 0, 0))
        for column in columns:
            fold = SETTING_WIDTH if width is None or width >= NARROW else NARROW_SETTING_WIDTH
            most = fold if column.heading == "setting" else None
            made.add_column(
                Text(column.heading),
                justify="right" if column.numbers else "left",
                max_width=most,
                no_wrap=most is None,
                overflow="fold",
            )
        for row in _rows(Table(table.title, table.notes, tuple(columns))):
            made.add_row(*(Text(cell, style="bold green" if best else "") for cell, best in row))
        return made

    wide = Console(width=100_000)
    parts = []
    for table in tables:
        columns, left_out = list(table.columns), []
        while True:
            body = ruled(columns, table)
            natural = Measurement.get(wide, wide.options, body).maximum
            spare = max((column.spare for column in columns), default=0)
            if width is None or natural <= width or not spare:
                break
            gone = next(column for column in reversed(columns) if column.spare == spare)
            columns.remove(gone)
            left_out.append(gone.heading)
        console = Console(
            width=max(width or 0, natural),
            force_terminal=colour,
            no_color=not colour,
            highlight=False,
            legacy_windows=False,
        )
        with console.capture() as capture:
            console.print(Text(table.title, style="bold"))
            for note in table.notes:
                console.print(Text(note, style="dim"), width=width, soft_wrap=width is None)
            if left_out:
                text = f"Not shown for want of width: {', '.join(reversed(left_out))} (--format markdown has all)"
                console.print(Text(text, style="dim"), width=width, soft_wrap=width is None)
            console.print()
            console.print(body)
        parts.append("\n".join(line.rstrip() for line in capture.get().splitlines()))
    return "\n\n".join(parts) + "\n"


def escape_markdown(text: str) -> str:
    """As plain letters in GitHub's and everybody else's Markdown: no cell, markup, link, mention or HTML begins."""
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = re.sub(r"([\\`*\[\]|~!#$])", r"\\\1", text)
    text = re.sub(r"(?<![A-Za-z0-9])_|_(?![A-Za-z0-9])", r"\\_", text)  # within a word it is a letter
    text = re.sub(r"(?i)(https?|ftp|www)([:.])", lambda m: f"{m[1]}&#{ord(m[2])};", text)
    return text.replace("@", "&#64;")


def escape_latex(text: str) -> str:
    return "".join(LATEX.get(letter, letter) for letter in text)


def _rows(table: Table) -> list[list[tuple[str, bool]]]:
    """(cell, whether it is among the best) a column, a row at a time."""
    count = len(table.columns[0].cells)
    return [[(column.cells[i], i in column.best) for column in table.columns] for i in range(count)]


def _markdown_line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def terminal_width() -> int | None:
    """Of the terminal that standard output is; None where it is a file or a pipe."""
    if not sys.stdout.isatty():
        return None
    import shutil

    return shutil.get_terminal_size().columns
