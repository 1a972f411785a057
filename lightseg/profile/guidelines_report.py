"""What `guidelines` found, beside the published figures: a text table and a plot."""

from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lightseg.text import align

HERE, ARM, GPU = (31, 95, 168), (214, 120, 32), (190, 190, 190)


def guidelines_table(found: dict[str, Any]) -> str:
    times = found["times"]
    load = "" if found["load"] is None else f" (load before: {found['load']})"
    threads = f"{found['threads']} thread{'s' * (found['threads'] > 1)}"
    lines = [
        f"ShuffleNetV2's experiments (arXiv:1807.11164, Tables 1 to 4) on {found['machine']}{load},",
        f"{threads}, medians of {found['rounds']} rounds, maps of {found['image_side']} pixels.",
        "Images a second at each width, here and as published (ARM, one image; GPU, batches of 8 of wider nets);",
        "in brackets in per cent of the first line.",
    ]
    for experiment in found["experiments"]:
        first, *_ = rows = experiment["rows"]
        heading = [experiment["guideline"]]
        for whose in ("here", "ARM", "GPU"):
            heading += [f"{whose} x{t}" for t in times]
        heading += [f"MAdds M x{times[0]}"]
        cells = [
            [
                row["label"],
                *(
                    f"{speed:.{0 if key == 'gpu' else 1}f} ({100 * speed / base:.0f})"
                    for key in ("images_per_s", "arm", "gpu")
                    for speed, base in zip(row[key], first[key], strict=True)
                ),
                f"{row['madds'][0] / 1e6:.1f}",
            ]
            for row in rows
        ]
        lines += ["", f"{experiment['guideline']} (Table {experiment['table']}): {experiment['claim']}"]
        lines += [*align([heading, *cells], range(1)), f"-> {experiment['verdict']}"]
    return "\n".join(lines)


def guidelines_picture(found: dict[str, Any]) -> np.ndarray:
    """uint8 RGB [H, W, 3]: a panel an experiment; for each width the speed of each variant in per cent of the first
    one's, here, on ARM and on the GPU."""
    font, bold = ImageFont.load_default(12), ImageFont.load_default(15)
    bar, gap, left, height, foot = 9, 14, 52, 220, 100
    counts = [len(experiment["rows"]) for experiment in found["experiments"]]
    group = 3 * bar + gap
    width = left + max(counts) * len(found["times"]) * group + (len(found["times"]) - 1) * 24 + 30
    panel = height + foot + 60
    sheet = Image.new("RGB", (width, 64 + panel * len(counts)), "white")
    draw = ImageDraw.Draw(sheet)
    title = f"ShuffleNetV2's guidelines on {found['machine']}, {found['threads']} thread: speed, first variant = 100 %"
    draw.text((8, 8), title, "black", bold)
    for number, (colour, text) in enumerate(((HERE, "here"), (ARM, "published, ARM"), (GPU, "published, GPU"))):
        draw.rectangle((8 + 140 * number, 36, 20 + 140 * number, 48), fill=colour)
        draw.text((26 + 140 * number, 42), text, "black", font, anchor="lm")
    for number, experiment in enumerate(found["experiments"]):
        top = 64 + panel * number
        rows = experiment["rows"]
        shares = {
            key: np.array([row[key] for row in rows]) / np.array(rows[0][key]) for key in ("images_per_s", "arm", "gpu")
        }  # [variants, widths]
        most = max(1.2, *(float(one.max()) for one in shares.values()))
        base = top + 40 + height
        text = f"{experiment['guideline']} (Table {experiment['table']}): {experiment['claim']}"
        draw.text((8, top + 8), text, "black", bold)
        for per_cent in range(0, int(100 * most) + 1, 50 if most > 2 else 20):
            y = base - round(height * per_cent / 100 / most)
            draw.line((left, y, width - 10, y), fill=(200, 200, 200) if per_cent == 100 else (232, 232, 232))
            draw.text((left - 6, y), f"{per_cent} %", "grey", font, anchor="rm")
        for place, times in enumerate(found["times"]):
            start = left + 8 + place * (len(rows) * group + 24)
            draw.text((start + len(rows) * group / 2, base + foot - 6), f"x{times}", "black", bold, anchor="mm")
            for i, row in enumerate(rows):
                x = start + i * group
                for j, (key, colour) in enumerate((("images_per_s", HERE), ("arm", ARM), ("gpu", GPU))):
                    y = base - round(height * float(shares[key][i, place]) / most)
                    draw.rectangle((x + j * bar, y, x + (j + 1) * bar - 2, base), fill=colour)
                _upright(sheet, row["label"], x + 3 * bar // 2, base + 4, font)
    return np.asarray(sheet)


def _upright(sheet: Image.Image, text: str, middle: int, top: int, font: Any) -> None:
    """Text read from below that ends at `top`, in a column around `middle`."""
    strip = Image.new("RGB", (round(font.getlength(text)) + 2, 16), "white")
    ImageDraw.Draw(strip).text((0, 8), text, fill="black", font=font, anchor="lm")
    sheet.paste(strip.rotate(90, expand=True), (middle - 8, top))
