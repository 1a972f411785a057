"""What timm's nets have besides `forward`, for the nets here: intermediate maps, checkpointing and no pooling."""

from collections.abc import Iterator, Sequence
from typing import Any

from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lightseg.errors import LightsegError


class TimmNet(nn.Module):
    """A net whose `forward_features` runs the children `TRUNK` in order.

    A subclass has `feature_info`, whose modules are parts of the trunk, `num_classes` and `num_features`, and
    `reset_classifier`. Without pooling (`global_pool=""`) it has no classes, and `forward` returns the last map.
    """

    TRUNK: tuple[str, ...] = ()
    feature_info: Any
    num_classes: int
    global_pool = "avg"
    grad_checkpointing = False

    def set_grad_checkpointing(self, enable: bool = True) -> None:
        """Whether training keeps only the input of each block of the trunk and computes the rest again in backward."""
        self.grad_checkpointing = enable

    def set_global_pool(self, global_pool: str | None) -> None:
        """global_pool: "avg", "" or None, which changes nothing. Call it once `num_classes` is set."""
        if global_pool is None:
            return
        if global_pool not in ("avg", ""):
            raise LightsegError(f"{type(self).__name__} has no global_pool {global_pool!r}: choose 'avg' or ''")
        if not global_pool and self.num_classes:
            raise LightsegError(f"{type(self).__name__} without global_pool has no classifier: give num_classes=0")
        self.global_pool = global_pool

    def forward_features(self, x: Tensor) -> Tensor:
        """x: normalized images [B, in_chans, H, W]. Returns the last map [B, num_features, h, w]."""
        for _, layer in self._steps(()):
            x = self._run(layer, x)
        return x

    def forward_intermediates(
        self,
        x: Tensor,
        indices: int | Sequence[int] | None = None,
        norm: bool = False,
        stop_early: bool = False,
        output_fmt: str = "NCHW",
        intermediates_only: bool = False,
    ) -> list[Tensor] | tuple[Tensor, list[Tensor]]:
        """As in timm: the maps of `feature_info` at `indices` (None: all; n: the last n), and the last map before them
        unless `intermediates_only`. `norm` has no meaning for these nets. stop_early: the last map is then that of the
        last index."""
        if output_fmt != "NCHW":
            raise LightsegError(f"no output_fmt {output_fmt!r}: choose NCHW")
        info = self.feature_info
        modules = [level["module"] for level in (info if isinstance(info, list) else info.get_dicts())]
        taken = _taken(len(modules), indices)
        maps: dict[str, Tensor] = {}
        for path, layer in self._steps(modules):
            x = self._run(layer, x)
            maps[path] = x
            if stop_early and path == modules[max(taken)]:
                break
        intermediates = [maps[modules[index]] for index in taken]
        return intermediates if intermediates_only else (x, intermediates)

    def _steps(self, modules: Sequence[str]) -> Iterator[tuple[str, nn.Module]]:
        """The layers of the trunk by path, in order; a sequence that has one of `modules` inside by its layers."""
        for name in self.TRUNK:
            yield from _parts(name, self.get_submodule(name), modules)

    def _run(self, layer: nn.Module, x: Tensor) -> Tensor:
        if not self.grad_checkpointing or not self.training:
            return layer(x)
        if type(layer) is nn.Sequential and any(_is_block(child) for child in layer):
            for child in layer:
                x = self._run(child, x)
            return x
        return checkpoint(layer, x, use_reentrant=False) if _is_block(layer) else layer(x)  # type: ignore[return-value]


def _is_block(layer: nn.Module) -> bool:
    return any(True for _ in layer.children())


def _parts(path: str, layer: nn.Module, modules: Sequence[str]) -> Iterator[tuple[str, nn.Module]]:
    if path not in modules and any(module.startswith(f"{path}.") for module in modules):
        for name, child in layer.named_children():
            yield from _parts(f"{path}.{name}", child, modules)
    else:
        yield path, layer


def _taken(count: int, indices: int | Sequence[int] | None) -> list[int]:
    if indices is None or isinstance(indices, int):
        return list(range(count - (count if indices is None else min(indices, count)), count))
    if not indices or any(not -count <= index < count for index in indices):
        raise LightsegError(f"indices={list(indices)}: give numbers from 0 to {count - 1}")
    return [index % count for index in indices]
