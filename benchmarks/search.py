"""Memory and time of a training step of a super-network against its number of choices.

    python benchmarks/search.py                       # prints tables, writes search_steps.png to the working directory
    python benchmarks/search.py --write               # writes docs/search.md and docs/images/search_steps.png
    python benchmarks/search.py --blocks 1 --batch 2 --side 32 --steps 2 --counts 1 2      # a quick check, seconds

DMaskingNAS (arXiv:2004.05565) claims to search many widths and input sizes at nearly the cost of one. `masking` is
lightseg's super-network. `branches` is a super-network without masks: a block for every width, or a pass with its
feature maps for every input size, and their weighted sum. Both have the same blocks: a stem of stride 2 and inverted
residuals of expansion 3 whose n widths are 1/n, 2/n, ... of the widest; the n input sizes are evenly spaced from half
the largest. With a single choice they are the net of the largest width and input size.

Each figure is from a separate process, with a thread per core: the median time of a step (sampling of Gumbel weights,
forward, backward to weights and choices); the peak memory of its tensors, over the same number of further steps; and
the peak of resident memory above that before the net was built, which includes caches of malloc and oneDNN.
"""

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

COUNTS = (1, 2, 4, 8, 16)
KINDS = {"widths": "widths of every block", "sizes": "input sizes"}
SYSTEMS = ("masking", "branches")
UNITS = {"mb": "MB", "resident": "MB resident", "ms": "ms"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=int, nargs="+", default=COUNTS)
    parser.add_argument("--blocks", type=int, default=6)
    parser.add_argument("--width", type=int, default=64, help="channels of the widest choice, a multiple of 4 * counts")
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--side", type=int, default=128, help="pixels of the largest input")
    parser.add_argument("--steps", type=int, default=9)
    parser.add_argument("--write", action="store_true", help="into docs/search.md")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments)
        return
    results: dict[str, dict[str, list[dict[str, float]]]] = {}
    for kind in KINDS:
        results[kind] = {system: [measure(kind, system, count) for count in arguments.counts] for system in SYSTEMS}
    report(arguments, results)


def measure(kind: str, system: str, count: int) -> dict[str, float]:
    command = [sys.executable, __file__, *sys.argv[1:], "--worker", kind, system, str(count)]
    result = subprocess.run([text for text in command if text != "--write"], stdout=subprocess.PIPE, text=True)
    if result.returncode:
        sys.exit(f"{system} with {count} {kind} ended early; its error is above")
    figures = json.loads(result.stdout.splitlines()[-1])
    print(
        f"{kind} {system} {count}: {figures['mb']:.0f} MB ({figures['resident']:.0f} resident), {figures['ms']:.0f} ms",
        file=sys.stderr,
        flush=True,
    )
    return figures


# -- the process that is measured --------------------------------------------------------------------------------------


def work(arguments: argparse.Namespace) -> None:
    from lightseg import process_tuning

    process_tuning.tune_process()
    import torch

    from benchmarks.search_nets import branches, masking
    from lightseg.cpu_training import optimize_for_cpu
    from lightseg.profile.cost import LiveBytes

    kind, system, count = arguments.worker[0], arguments.worker[1], int(arguments.worker[2])
    torch.manual_seed(0)
    layout = torch.channels_last
    images = torch.randn(arguments.batch, 3, arguments.side, arguments.side).contiguous(memory_format=layout)
    torch.nn.Conv2d(3, 8, 3)(images).sum().backward()  # the libraries allocate their memory before
    before = peak_mb()
    build = {"masking": masking, "branches": branches}[system]
    net, forward = build(arguments, kind, count)
    net.to(memory_format=layout).train()
    optimize_for_cpu(net)
    times = []
    for _ in range(arguments.steps):
        start = time.perf_counter()
        net.zero_grad()
        forward(images).square().mean().backward()
        times.append(time.perf_counter() - start)
    resident, living = peak_mb() - before, 0
    for _ in range(arguments.steps):
        net.zero_grad()
        with LiveBytes() as memory:
            forward(images).square().mean().backward()
        living = max(living, memory.peak)
    ms = statistics.median(times[1:] or times) * 1e3
    print(json.dumps({"mb": living / 2**20, "resident": resident, "ms": ms}))


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


# -- report ------------------------------------------------------------------------------------------------------------


def report(arguments: argparse.Namespace, results: dict[str, dict[str, list[dict[str, float]]]]) -> None:
    from benchmarks.search_plot import draw_steps
    from benchmarks.sections import ROOT, write_section
    from lightseg.draw import save_image
    from lightseg.profile.machine import machine

    options = [text for text in sys.argv[1:] if text != "--write"]
    lines = [
        f"`{' '.join(['python benchmarks/search.py', *options])}` ({machine()}; {arguments.blocks} blocks of up to "
        f"{arguments.width} channels, {arguments.batch} images of {arguments.side}x{arguments.side}, load at the end "
        f"{os.getloadavg()[0]:.1f}):",
    ]
    for kind, systems in results.items():
        heads = [f"{system}: {unit}" for system in SYSTEMS for unit in UNITS.values()]
        lines += ["", f"| {KINDS[kind]} | {' | '.join(heads)} |", "|---" * (1 + len(heads)) + "|"]
        for index, count in enumerate(arguments.counts):
            cells = [f"{systems[s][index][u]:.0f}" for s in SYSTEMS for u in UNITS]
            lines.append(f"| {count} | {' | '.join(cells)} |")
        lines += ["", ratios(list(arguments.counts), systems)]
    text = "\n".join(lines)
    print(text)
    image = draw_steps(list(arguments.counts), {KINDS[kind]: results[kind] for kind in KINDS})
    if arguments.write:
        write_section("search.md", "benchmarks/search.py", text + "\n\n![](images/search_steps.png)")
    save_image(image, ROOT / "docs" / "images" / "search_steps.png" if arguments.write else Path("search_steps.png"))


def ratios(counts: list[int], systems: dict[str, list[dict[str, float]]]) -> str:
    """Growth from two choices to the largest number, and from one."""
    last, sentences = counts[-1], []
    for system in SYSTEMS:
        figures = dict(zip(counts, systems[system], strict=True))
        for first in (2, 1):
            if first in figures and first != last:
                growth = {unit: figures[last][unit] / figures[first][unit] for unit in UNITS}
                text = f"memory x{growth['mb']:.2f} (resident x{growth['resident']:.2f}), time x{growth['ms']:.2f}"
                sentences.append(f"{system} {first} -> {last}: {text}")
    if counts[0] == 1:
        mb, resident = (systems["masking"][-1][unit] / systems["branches"][0][unit] for unit in ("mb", "resident"))
        sentences.append(f"masking {last} against the plain net: memory x{mb:.2f} (resident x{resident:.2f})")
    return "; ".join(sentences) + "."


if __name__ == "__main__":
    main()
