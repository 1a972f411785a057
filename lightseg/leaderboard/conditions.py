"""Where latencies were measured: those of one place (processor or device, number of threads, platform) may be ranked
with each other, those of two places may not."""

from collections import Counter
from collections.abc import Sequence

from lightseg.leaderboard.table import Row


def places(rows: Sequence[Row]) -> dict[str, int]:
    """The places of latencies with their numbers, that of the most rows first."""
    found = Counter(row.latency_how for row in rows if row.latency_ms is not None)
    return {place: i for i, place in enumerate(sorted(found, key=lambda place: (-found[place], place)))}


def short_places(rows: Sequence[Row]) -> tuple[list[str], str]:
    """Each row's place, without what all have in common at the end, and that."""
    parts = [row.latency_how.split(", ") if row.latency_how else [] for row in rows]
    measured = [place for place in parts if place]
    shared = 0
    while measured and all(
        len(place) > shared and place[-1 - shared] == measured[0][-1 - shared] for place in measured
    ):
        shared += 1
    common = measured[0][len(measured[0]) - shared :] if measured else []
    return [", ".join(place[: len(place) - shared]) or "-" for place in parts], ", ".join(common)
