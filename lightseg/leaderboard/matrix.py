"""Models x data sets: the best row of each model under each protocol."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightseg.leaderboard.table import Group, Row


@dataclass(frozen=True)
class Matrix:
    """A row per model, a column per group. Models are sorted by the first column, those not in it by the next."""

    groups: tuple[Group, ...]
    models: tuple[tuple[str, str], ...]  # backbone and weights
    cells: tuple[tuple[Row | None, ...], ...]  # [models][groups]; the most accurate of heads and settings


def build_matrix(groups: Sequence[Group]) -> Matrix:
    columns = []
    for group in groups:
        best: dict[tuple[str, str], Row] = {}
        for row in group.rows:
            model = (row.backbone, row.weights)
            if model not in best or row.metrics[group.metric].mean > best[model].metrics[group.metric].mean:
                best[model] = row
        columns.append(best)

    def sort_key(model: tuple[str, str]) -> tuple[list[float], tuple[str, str]]:
        means = [
            column[model].metrics[group.metric].mean if model in column else -1.0
            for column, group in zip(columns, groups, strict=True)
        ]
        return [-mean for mean in means], model

    models = tuple(sorted({model for column in columns for model in column}, key=sort_key))
    cells = tuple(tuple(column.get(model) for column in columns) for model in models)
    return Matrix(tuple(groups), models, cells)
