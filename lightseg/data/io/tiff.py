"""The tags of TIFF files, also of those with more bands than Pillow knows."""

from typing import Any, BinaryIO

from PIL.TiffImagePlugin import ImageFileDirectory_v2

TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # the last two are BigTIFF
MAX_PAGES = 10_000
BIG = 43


def tiff_pages(file: BinaryIO) -> list[Any]:
    """The tags of each page of a TIFF file, read from its start: a mapping from a tag's number to its value."""
    head = file.read(8)
    head += file.read(8) if BIG in (head[2], head[3]) else b""
    tags = ImageFileDirectory_v2(head)
    pages: list[Any] = []
    seen: set[int] = set()
    while tags.next and tags.next not in seen and len(pages) < MAX_PAGES:
        seen.add(tags.next)
        file.seek(tags.next)
        tags = _page(head, file)
        pages.append(tags)
    return pages


def first_tags(file: BinaryIO) -> Any:
    """The tags of the first page; None for a file that is no TIFF, or a damaged one."""
    file.seek(0)
    if not file.read(4).startswith(TIFF):
        return None
    file.seek(0)
    try:
        return tiff_pages(file)[0]
    except Exception:  # a damaged directory: the caller has the decoder's reason
        return None


def _page(head: bytes, file: BinaryIO) -> Any:
    tags = ImageFileDirectory_v2(head)
    tags.load(file)
    return tags
