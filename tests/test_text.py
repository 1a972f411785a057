"""Lists and tables as text."""

from lightseg.text import align, shorten


def test_long_lists_are_shortened() -> None:
    assert shorten([]) == "" and shorten(["a"]) == "a"
    assert shorten(range(8)) == "0, 1, 2, 3, 4, 5, 6, 7"
    assert shorten(range(10)) == "0, 1, 2, 3, 4, 5, 6, 7 and 2 more"
    assert shorten("abc", 2) == "a, b and 1 more"


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    rows = [("name", "ms", "where"), ("a", "12.5", "here"), ("longer", "3", "")]
    assert align(rows, left=(0, 2)) == ["name      ms  where", "a       12.5  here", "longer     3"]
