"""Shared parts of the benchmarks: runs of train.py, files of results, worker processes, and pages.

An interrupted benchmark continues with the same command: `run` and `Results` do not repeat what is done.
"""

import argparse
import json
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]


def run(overrides: Sequence[str], folder: Path) -> tuple[Path, dict[str, Any]]:
    """Run `python train.py <overrides>` in `folder`, unless it has a finished run. Returns run folder and record."""
    if not list(folder.rglob("record.json")):
        command = [sys.executable, "train.py", *overrides, f"runs_dir={folder}", "logger=csv"]
        print(f"python {shlex.join(command[1:])}", flush=True)
        if subprocess.run(command, cwd=ROOT).returncode:
            sys.exit("that run failed: its error is above")
    (path,) = folder.rglob("record.json")
    return path.parent, json.loads(path.read_text(encoding="utf-8"))


def record_of(overrides: Sequence[str]) -> dict[str, Any]:
    """The record of a run in a temporary folder."""
    with tempfile.TemporaryDirectory() as folder:
        return run(overrides, Path(folder))[1]


class Results:
    """Results by key, in a JSON file or (path None) in memory."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self.results: dict[str, Any] = json.loads(path.read_text()) if path and path.is_file() else {}

    def get(self, key: str, measure: Callable[[], Any]) -> Any:
        """The result of `key`, measured and written if the file does not have it."""
        if key not in self.results:
            self.results[key] = measure()
            if self.path:
                self.path.write_text(json.dumps(self.results, indent=1), encoding="utf-8")
        return self.results[key]


class Worker:
    """A process that replies to each line on its standard input with a line of JSON."""

    def __init__(self, command: Sequence[str], **options: Any) -> None:
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)

    def ask(self, request: str) -> Any:
        assert self.process.stdin and self.process.stdout
        self.process.stdin.write(f"{request}\n")
        self.process.stdin.flush()
        reply = self.process.stdout.readline()
        if not reply:
            sys.exit("a worker ended early; its error is above")
        return json.loads(reply)

    def close(self) -> None:
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait()


def page_parser(doc: str) -> argparse.ArgumentParser:
    """The parser of a benchmark that writes a page."""
    parser = argparse.ArgumentParser(description=doc.splitlines()[0])
    parser.add_argument("--print", action="store_true", help="print the page without writing it")
    return parser


def publish(text: str, page: Path, options: argparse.Namespace) -> None:
    """Print a page, and write it unless `--print` is set."""
    print(text)
    if not options.print:
        page.write_text(text, encoding="utf-8")
