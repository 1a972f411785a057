"""Models x data sets: of each backbone its best row under each protocol."""

from collections.abc import Sequence
from dataclasses import dataclass

from lightseg.leaderboard.table import Group, Row


@dataclass(frozen=True)
class Matrix:
    """Models down, groups across. Models come in the order of the first column, those it lacks in that of the next."""

    groups: tuple[Group, ...]
    models: tuple[tuple[str, str], ...]  # backbone and weights
    cells: tuple[tuple[Row | None, ...], ...]  # [models][groups]; the most accurate of heads and settings


def matrix(groups: Sequence[Group]) -> Matrix:
    columns = []
    for group in groups:
        best: dict[tuple[str, str], Row] = {}
        for row in group.rows:
            model = (row.backbone, row.weights)
            if model not in best or row.metrics[group.metric].mean > best[model].metrics[group.metric].mean:
                best[model] = row
        columns.append(best)
    models = {model for column in columns for model in column}

    def place(model: tuple[str, str]) -> tuple[list[float], tuple[str, str]]:
        means = [
            column[model].metrics[g.metric].mean if model in column else -1.0
            for column, g in zip(columns, groups, strict=True)
        ]
        return [-mean for mean in means], model

    ranked = tuple(sorted(models, key=place))
    cells = tuple(tuple(column.get(model) for column in columns) for model in ranked)
    return Matrix(tuple(groups), ranked, cells)
