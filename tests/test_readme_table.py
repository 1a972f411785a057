"""The README's table of results is what `python -m tools.readme_table` writes from the measured pages."""

import pytest

from tools.readme_table import END, PAGES, ROOT, START, current_section, section, with_section

README = (ROOT / "README.md").read_text(encoding="utf-8")
PAGE = r"""
### seg mini_seg

val, 80 images, resolution: the label's own
Cost: cpu, 1 thread, Linux x86_64; 1x3x128x256 uint8

| backbone | head | weights | mIoU % | params M | MAdds M | latency ms |
| --- | --- | --- | ---: | ---: | ---: | ---: |
| small | lraspp | scratch | 9.5 ± 0.1 | **0.74** | **18.5** | 16.2 |
| middle | lraspp | scratch | 60.0 | 0.8 | 80.5 | 5.0 |
| large | lraspp | pretrained | **66.9** | 2.03 | 162.1 | **14.9** |

### models x data sets

| backbone | seg mini_seg mIoU % |
| --- | ---: |
| small | 9.5 |
"""
FIGURES = """
Machine: a CPU, 2 cores, 2026-11-22.
`python train.py x=1`: **val/mIoU 0.5** on mini_seg (80 images), in 9 s and 1 MB
"""


def test_it_is_what_the_pages_say():
    assert with_section(README, current_section()) == README
    assert README.index(START) < 300  # the first screen


def test_every_measured_task_is_in_it():
    table = README[README.index(START) : README.index(END)]
    for title in ("Semantic segmentation", "Image classification", "Object detection", "Pose estimation"):
        assert table.count(f"| {title} |") >= 1
    assert all(f"docs/{page}" in table for page in PAGES)


def test_the_best_row_and_the_cheapest_are_taken():
    rows = [line for line in section({"a.md": PAGE}, FIGURES).splitlines() if "| Semantic" in line]
    assert rows == [
        "| Semantic segmentation | large, lraspp, ImageNet weights | 2.03 M | 162.1 M | 14.9 ms | mIoU 66.9 % "
        "| [mini_seg](docs/a.md), 80 images, input 128x256 |",
        "| Semantic segmentation | small, lraspp | 0.74 M | 18.5 M | 16.2 ms | mIoU 9.5 ± 0.1 % "
        "| [mini_seg](docs/a.md), 80 images, input 128x256 |",
    ]
    one_row = "\n".join(line for line in PAGE.splitlines() if "middle" not in line and "large" not in line)
    assert section({"a.md": one_row}, FIGURES).count("| Semantic") == 1
    text = " ".join(section({"a.md": PAGE}, FIGURES).split())
    assert "took 9 s for val/mIoU 0.5 on mini_seg (a CPU, 2 cores;" in text and "image on cpu, 1 thread, Linux" in text


@pytest.mark.parametrize(
    ("page", "figures", "message"),
    [
        ("# nothing", FIGURES, "no tables in a.md"),
        (PAGE.replace("val, 80", "80"), FIGURES, "docs/a.md: the table seg mini_seg says nothing like"),
        (PAGE, "nothing", "docs/figures.md does not say"),
    ],
)
def test_a_page_with_another_wording_is_refused(page, figures, message):
    with pytest.raises(ValueError, match=message):
        section({"a.md": page}, figures)


def test_a_readme_without_the_comments_is_refused():
    with pytest.raises(ValueError, match=r"README\.md needs"):
        with_section("# lightseg", "text")
