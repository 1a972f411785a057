"""Images of confusion matrices and class predictions show the numbers."""

import numpy as np

from lightseg.draw import classification_row, confusion_image, contact_sheet


def cells(image: np.ndarray, classes: int, cell: int) -> np.ndarray:
    """The color in the upper left corner of each cell, [C, C, 3]."""
    top = image.shape[0] - 8 - classes * cell
    left = image.shape[1] - 8 - classes * cell
    return image[top + 2 :: cell, left + 2 :: cell][:classes, :classes]


def test_a_confusion_matrix_is_darkest_at_the_maximum_of_a_row():
    confusion = np.array([[90, 10, 0], [0, 0, 0], [1, 2, 1]])
    image = confusion_image(confusion, ["ant", "bee", "a wasp with a name that is far too long"])
    assert image.dtype == np.uint8 and image.ndim == 3
    brightness = cells(image, 3, 40).astype(int).sum(-1)
    assert (brightness[1] == 3 * 255).all() and brightness[0, 2] == 3 * 255
    assert brightness[0, 0] < brightness[2, 1] < brightness[2, 0] == brightness[2, 2] < brightness[0, 1] < 3 * 255


def test_the_number_of_classes_decides_about_numbers_and_names():
    with_numbers, with_names, with_neither = (
        confusion_image(np.eye(n, dtype=int), [f"class {i}" for i in range(n)]) for n in (20, 80, 200)
    )
    inner = with_numbers[-8 - 40 * 20 : -8, -8 - 40 * 20 : -8]
    assert (inner[:40, :40] == 255).all(-1).any()  # white digits on dark blue
    assert with_names.shape[0] - 80 * 12 > 40 and with_neither.shape[0] - 200 * 4 < 40
    assert max(with_neither.shape) < 900


def test_bars_are_as_long_as_their_probability():
    image = np.zeros((64, 64, 3), np.uint8)
    same, panel = classification_row(image, ["bee"], [("ant", 0.5), ("bee", 0.25), ("wasp", 0.0)])
    assert same is image and panel.dtype == np.uint8
    lower_edges = panel[[42 + 33, 84 + 33, 126 + 33]]  # of the bars, below the text
    lengths = (lower_edges < 255).all(-1).sum(1)
    assert abs(lengths[0] - 240) <= 2 and abs(lengths[1] - 120) <= 2 and lengths[2] <= 3
    assert lower_edges[1, 50, 1] > lower_edges[1, 50, 0] and lower_edges[0, 50, 1] == lower_edges[0, 50, 0]
    rows = [[same, panel], classification_row(image, None, [("ant", 1.0)])]
    assert contact_sheet(rows, ["image", "prediction"]).shape[1] == 964
