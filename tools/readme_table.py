"""The README's table of results, by `python -m tools.readme_table`: rows of the measured pages, copied.

Of every table of docs/leaderboard_camvid.md and docs/leaderboard_mini.md it takes the row with the best score and the
row with the fewest multiply-adds; the line below is the README's first command, of docs/figures.md. No figure is typed:
the text between two comments of README.md is replaced.
"""

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import wrap
from typing import NamedTuple

from lightseg.catalog.tasks import get_task

ROOT = Path(__file__).parents[1]
PAGES = ("leaderboard_camvid.md", "leaderboard_mini.md")
START, END = "<!-- python -m tools.readme_table -->", "<!-- end of tools.readme_table -->"
UNITS = {"pose": "persons"}  # what is counted of the other tasks: images
COLUMNS = "| task | backbone, head | parameters | multiply-adds | latency | score | where measured |"
RULES = "|---|---|--:|--:|--:|--:|---|"
FIRST_COMMAND = r"^`(python train\.py [^`]+)`: \*\*(val/\S+ [\d.]+)\*\* on (\S+) .* in (\d+) s and"
WEIGHTS = {"pretrained": ", ImageNet weights"}


class Board(NamedTuple):
    """One table of a leaderboard page.

    Attributes:
        notes: the text between its title and its rows.
        rows: the cells by the column's heading, as text.
    """

    page: str
    task: str
    data: str
    notes: str
    rows: list[dict[str, str]]

    def note(self, pattern: str) -> str:
        """The text that the first group of `pattern` matches in the notes. ValueError where there is none."""
        match = re.search(pattern, self.notes)
        if match is None:
            raise ValueError(f"docs/{self.page}: the table {self.task} {self.data} says nothing like '{pattern}'")
        return match[1]


def boards(page: str, text: str) -> Iterator[Board]:
    """The tables of a page, but for the one of models by data sets."""
    for part in re.split(r"^### ", text, flags=re.MULTILINE)[1:]:
        title, _, body = part.partition("\n")
        lines = [line for line in body.splitlines() if line.startswith("|")]
        if " x " in title or not lines:
            continue
        headings, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
        task, data = title.split()[:2]
        yield Board(page, task, data, body, [dict(zip(headings, row, strict=True)) for row in rows])


def chosen(board: Board) -> list[dict[str, str]]:
    """The row with the best score and the row with the fewest multiply-adds, which may be one and the same."""
    score = score_column(board)
    best = max(board.rows, key=lambda row: number(row[score]))
    cheapest = min(board.rows, key=lambda row: number(row["MAdds M"]))
    return [best] if cheapest is best else [best, cheapest]


def score_column(board: Board) -> str:
    return f"{get_task(board.task).monitor.removeprefix('val/')} %"


def number(cell: str) -> float:
    """A figure that may be bold or a mean with its deviation."""
    return float(cell.strip("*").split(" ±")[0])


def line(board: Board, row: dict[str, str]) -> str:
    plain = {key: value.strip("*") for key, value in row.items()}
    score = score_column(board)
    images, size = board.note(r"val, (\d+) images"), board.note(r"; 1x\d+x(\d+x\d+) uint8")
    cells = [
        get_task(board.task).title,
        f"{plain['backbone']}, {plain['head']}{WEIGHTS.get(plain['weights'], '')}",
        f"{plain['params M']} M",
        f"{plain['MAdds M']} M",
        f"{plain['latency ms']} ms",
        f"{score.removesuffix(' %')} {plain[score]} %",
        f"[{board.data}](docs/{board.page}), {images} {UNITS.get(board.task, 'images')}, input {size}",
    ]
    return f"| {' | '.join(cells)} |"


def section(pages: dict[str, str], figures: str) -> str:
    """What stands between the two comments. pages: name -> text. figures: of docs/figures.md.

    Raises:
        ValueError: a page without its tables, or with another wording than the tool knows.
    """
    tables = [board for name, text in pages.items() for board in boards(name, text)]
    if {board.page for board in tables} != set(pages):
        raise ValueError(f"no tables in {', '.join(set(pages) - {board.page for board in tables})}")
    machines = dict.fromkeys(board.note(r"Cost: (.+); 1x") for board in tables)
    first = re.search(
        r"^`(python train\.py [^`]+)`: \*\*(val/\S+ [\d.]+)\*\* on (\S+) .* in (\d+) s and", figures, re.M
    )
    machine = re.search(r"^Machine: (.+?), \d{4}-", figures, re.M)
    if first is None or machine is None:
        raise ValueError("docs/figures.md does not say what the first command reached, and on which machine")
    note = (
        "Of each table of the linked pages: the row with the best score and the row with the fewest multiply-adds. The "
        "trainings were short, and the mini sets are drawn by lightseg itself: scores compare within one data set "
        f"alone. Latency is that of one image on {' or '.join(machines)}, with other runs on the machine. "
        f"`{first[1]}` took {first[4]} s for {first[2]} on {first[3]} ({machine[1]}; [figures](docs/figures.md))."
    )
    rows = [line(board, row) for board in tables for row in chosen(board)]
    return "\n".join([COLUMNS, RULES, *rows, "", *wrap(note, 120, break_on_hyphens=False, break_long_words=False)])


def with_section(readme: str, text: str) -> str:
    """The README with `text` between the two comments. ValueError where they are not there."""
    pattern = rf"({re.escape(START)}\n).*?({re.escape(END)})"
    if len(re.findall(pattern, readme, re.DOTALL)) != 1:
        raise ValueError(f"README.md needs '{START}' and '{END}', once")
    return re.sub(pattern, lambda match: f"{match[1]}{text}\n{match[2]}", readme, flags=re.DOTALL)


def current_section() -> str:
    docs = ROOT / "docs"
    pages = {name: (docs / name).read_text(encoding="utf-8") for name in PAGES}
    return section(pages, (docs / "figures.md").read_text(encoding="utf-8"))


def main() -> int:
    path = ROOT / "README.md"
    path.write_text(with_section(path.read_text(encoding="utf-8"), current_section()), encoding="utf-8")
    print(f"wrote the table of {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
