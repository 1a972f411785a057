"""Reading of label files of any format: whole files up to a limit of bytes, XML element by element."""

import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from lightseg.errors import DataError, LightsegError

LIMIT = "LIGHTSEG_MAX_LABEL_GB"  # environment variable
DEFAULT_LIMIT = 2.0  # GB: as Python objects some 20


def read_bytes(path: Path) -> bytes:
    """Raises DataError for a file that is missing, cannot be opened, or is larger than the limit."""
    limit = os.environ.get(LIMIT, str(DEFAULT_LIMIT))
    try:
        most = float(limit)
    except ValueError:
        raise LightsegError(f"{LIMIT}={limit}: must be a number of gigabytes") from None
    try:
        size = path.stat().st_size / 1e9
        if size > most:
            raise DataError(
                f"{path}: the label file has {size:.1f} GB; it takes some 10 times that in memory: give smaller files, "
                f"or allow more with {LIMIT}={size:.0f}"
            )
        return path.read_bytes()
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; data.root or the name of the annotation file is wrong") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror})") from error


def read_lines(path: Path) -> list[tuple[int, str]]:
    """The lines of a text file with their numbers from 1, without those that are empty."""
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: not a text file in UTF-8 ({error.reason}); save it as UTF-8") from error
    lines = enumerate(text.splitlines(), start=1)
    return [(number, line.strip()) for number, line in lines if line.strip()]


def read_xml(path: Path, root: str, *tags: str) -> Iterator[ElementTree.Element]:
    """The elements with these tags, and at last the root element, in the file's order; others are let go of.

    root: the tag of the root element. Raises DataError, with the path, for a file that is not such XML.
    """
    try:
        elements = ElementTree.iterparse(path, events=("start", "end"))
        _, first = next(elements)
        if first.tag != root:
            raise DataError(f"{path}: the XML is a <{first.tag}>, not an <{root}>: give a file of this format")
        for event, element in elements:
            if event == "end" and element.tag in tags:
                yield element
                element.clear()
        yield first
    except ElementTree.ParseError as error:
        raise DataError(f"{path}: not XML ({error}); export it again") from error
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; data.root or the name of the annotation file is wrong") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be opened ({error.strerror})") from error
