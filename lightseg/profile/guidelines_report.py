"""The result of `guidelines` beside the published figures, as a text table and as a plot."""

from typing import Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from lightseg.text import align

HERE, ARM, GPU = (31, 95, 168), (214, 120, 32), (190, 190, 190)


def guidelines_table(report: dict[str, Any]) -> str:
    times = report["times"]
    load = "" if report["load"] is None else f" (load before: {report['load']})"
    threads = f"{report['threads']} thread{'s' * (report['threads'] > 1)}"
    lines = [
        f"ShuffleNetV2's experiments (arXiv:1807.11164, Tables 1 to 4) on {report['machine']}{load},",
        f"{threads}, medians of {report['rounds']} rounds, maps of {report['image_side']} pixels.",
        "Images a second at each width, here and as published (ARM, one image; GPU, batches of 8 of wider nets);",
        "in brackets in per cent of the first line.",
    ]
    for experiment in report["experiments"]:
        first, *_ = rows = experiment["rows"]
        heading = [experiment["guideline"]]
        for device in ("here", "ARM", "GPU"):
            heading += [f"{device} x{t}" for t in times]
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


def guidelines_plot(report: dict[str, Any]) -> np.ndarray:
    """A panel of bars per experiment, uint8 RGB [H, W, 3]: speeds in per cent of the first variant at each width."""
    font, bold = ImageFont.load_default(12), ImageFont.load_default(15)
    bar, gap, left, height, foot = 9, 14, 52, 220, 100
    counts = [len(experiment["rows"]) for experiment in report["experiments"]]
    group = 3 * bar + gap
    width = left + max(counts) * len(report["times"]) * group + (len(report["times"]) - 1) * 24 + 30
    panel = height + foot + 60
    sheet = Image.new("RGB", (width, 64 + panel * len(counts)), "white")
    draw = ImageDraw.Draw(sheet)
    title = (
        f"ShuffleNetV2's guidelines on {report['machine']}, {report['threads']} thread: speed, first variant = 100 %"
    )
    draw.text((8, 8), title, "black", bold)
    for number, (color, text) in enumerate(((HERE, "here"), (ARM, "published, ARM"), (GPU, "published, GPU"))):
        draw.rectangle((8 + 140 * number, 36, 20 + 140 * number, 48), fill=color)
        draw.text((26 + 140 * number, 42), text, "black", font, anchor="lm")
    for number, experiment in enumerate(report["experiments"]):
        top = 64 + panel * number
        rows = experiment["rows"]
        shares = {
            key: np.array([row[key] for row in rows]) / np.array(rows[0][key]) for key in ("images_per_s", "arm", "gpu")
        }  # [variants, widths]
        highest = max(1.2, *(float(share.max()) for share in shares.values()))
        base = top + 40 + height
        text = f"{experiment['guideline']} (Table {experiment['table']}): {experiment['claim']}"
        draw.text((8, top + 8), text, "black", bold)
        for per_cent in range(0, int(100 * highest) + 1, 50 if highest > 2 else 20):
            y = base - round(height * per_cent / 100 / highest)
            draw.line((left, y, width - 10, y), fill=(200, 200, 200) if per_cent == 100 else (232, 232, 232))
            draw.text((left - 6, y), f"{per_cent} %", "grey", font, anchor="rm")
        for width_index, times in enumerate(report["times"]):
            start = left + 8 + width_index * (len(rows) * group + 24)
            draw.text((start + len(rows) * group / 2, base + foot - 6), f"x{times}", "black", bold, anchor="mm")
            for i, row in enumerate(rows):
                x = start + i * group
                for j, (key, color) in enumerate((("images_per_s", HERE), ("arm", ARM), ("gpu", GPU))):
                    y = base - round(height * float(shares[key][i, width_index]) / highest)
                    draw.rectangle((x + j * bar, y, x + (j + 1) * bar - 2, base), fill=color)
                _upright(sheet, row["label"], x + 3 * bar // 2, base + 4, font)
    return np.asarray(sheet)


def _upright(sheet: Image.Image, text: str, middle: int, top: int, font: Any) -> None:
    """Draw text rotated by 90 degrees that ends at `top`, in a column around `middle`."""
    strip = Image.new("RGB", (round(font.getlength(text)) + 2, 16), "white")
    ImageDraw.Draw(strip).text((0, 8), text, fill="black", font=font, anchor="lm")
    sheet.paste(strip.rotate(90, expand=True), (middle - 8, top))
