"""The loop of `search=netadapt` and what it leaves on the disk, so that it goes on where it was cut off."""

import json
import random
from pathlib import Path
from typing import Any

from lightseg.atomic_io import write_json
from lightseg.catalog.arch import Arch
from lightseg.catalog.cost_table import METRIC
from lightseg.errors import LightsegError
from lightseg.model import Model
from lightseg.profile import count_params
from lightseg.search.netadapt.channel_graph import adjustable, resized
from lightseg.search.netadapt.channel_selection import Axes, built, truncated
from lightseg.search.netadapt.cost import METRICS, Latency, Madds
from lightseg.search.netadapt.proposals import check_target, child, choose, parents, proposals, ratio
from lightseg.search.netadapt.report import markdown

from ..data import DataModule
from ..run.checkpoints import AtomicCheckpointIO
from .proxy_training import Bench


class Search:
    """The state of a search. `content` is what steps.json holds, `current` the narrowest net so far, trained."""

    def __init__(
        self, model: Model, data: DataModule, config: dict[str, Any], options: dict[str, Any], folder: Path
    ) -> None:
        self.model, self.data, self.config, self.options, self.folder = model, data, config, options, folder
        self.axes = Axes(model)
        self.arch = self.axes.arch
        height, width = config["profile"]["image_size"]
        table = Path(options["table"] or folder / "latency_table.json")
        self.cost: Madds | Latency = (
            Latency(model, (height, width), table, self.axes)
            if options["cost"] == METRIC
            else Madds(model, (height, width), self.axes)
        )
        check_target(self.arch, options["target"], self.cost, METRICS[options["cost"]])
        self.bench = Bench(config, data, options["steps"], options["lr"], options["holdout"])
        self.whole = self.cost(self.arch)
        self.target, self.delta = options["target"] * self.whole, options["delta"] * self.whole
        self.current = model
        self.content: dict[str, Any] = self._read() or self._begin((height, width))
        print(
            f"search=netadapt: {self.arch.name}, {self.whole:.6g} {METRICS[options['cost']]}, to {options['target']:g} "
            f"of it in {folder}",
            flush=True,
        )

    # -- NetAdapt ------------------------------------------------------------------------------------------------------

    def adapt(self) -> Model:
        """Step by step, the best proposal of each."""
        done = [step for step in self.content["steps"] if "val" in step]
        if done:
            self.current = self._load(done[-1])
        arch = self._arch(done[-1]) if done else self.arch
        last = done[-1] if done else self.content["seed"]
        while last["cost"] > self.target:
            step = self._step(len(done) + 1)
            found = proposals(arch, self.cost, self.delta, self.target)
            if not found:
                raise LightsegError(
                    f"no width of the net can be cut any more at {last['cost'] / self.whole:.3f} of its cost"
                )
            before = (last["held"], last["cost"])
            axes = Axes(self.current)
            for number in range(len(step["tried"]), len(found)):
                one = found[number]
                what = f"{one.what} {one.before} to {one.after}"
                self._try(step, what, truncated(self.current, one.arch, axes), one.arch, one.cost, before)
            chosen = choose(before, [(each["held"], each["cost"]) for each in step["tried"]])
            last = self._conclude(step, step["tried"][chosen])
            arch, done = self._arch(last), [*done, last]
        return self.current

    # -- evolution -----------------------------------------------------------------------------------------------------

    def evolve(self) -> Model:
        """Generation after generation; every net begins with the trained one's weights."""
        best = None
        for generation in range(1, self.options["generations"] + 1):
            step = self._step(generation)
            earlier = [each for one in self.content["steps"] if one["number"] < generation for each in one["tried"]]
            pool = parents([(each["held"], self._arch(each)) for each in earlier], self.options["parents"])
            for number in range(len(step["tried"]), self.options["population"]):
                draw = random.Random(f"{self.config['seed']} {generation} {number}")
                parent = draw.choice(pool) if pool else self.arch
                arch = child(self.arch, parent, self.cost, self.target, self.delta, draw)
                self._try(
                    step, f"child {number + 1}", truncated(self.model, arch, self.axes), arch, self.cost(arch), None
                )
            best = max([*([best] if best else []), *step["tried"]], key=lambda each: each["held"])
            if "val" not in step:
                self._conclude(step, best)
        assert best is not None
        return self._load(best)

    # -- one net -------------------------------------------------------------------------------------------------------

    def _try(
        self,
        step: dict[str, Any],
        what: str,
        model: Model,
        arch: Arch,
        cost: float,
        before: tuple[float, float] | None,
    ) -> None:
        """Train a net, note how good it is, and keep its weights while no other is better."""
        number = len(step["tried"]) + 1
        model, held = self.bench.trained_shortly(model, step["number"])
        one: dict[str, Any] = {"what": what, "sizes": adjustable(arch), "cost": cost, "params": count_params(model)}
        one |= {"held": held, "score": ratio(before, (held, cost)) if before else held}
        rivals = [each["score"] for each in step["tried"]]
        if before is None:  # generations compete
            rivals = [each["score"] for earlier in self.content["steps"] for each in earlier["tried"]]
        if not rivals or one["score"] > max(rivals):
            one["weights"] = f"step-{step['number']:03d}-{number:03d}.ckpt"
            self._save(model, self.folder / "checkpoints" / one["weights"])
        step["tried"].append(one)
        self._write()
        share = cost / self.whole
        print(
            f"step {step['number']}, net {number}: {what}: {share:.3f} of the cost, "
            f"{self.content['metric']} {held:.4f} held out",
            flush=True,
        )

    def _conclude(self, step: dict[str, Any], best: dict[str, Any]) -> dict[str, Any]:
        """The step's result, then the weights of the others are not needed any more."""
        self.current = self._load(best)
        step |= {key: best[key] for key in ("what", "sizes", "cost", "params", "held", "weights")}
        step["val"] = self.bench.validation(self.current)
        self._write()
        for path in (self.folder / "checkpoints").glob("step-*.ckpt"):
            if path.name != best["weights"]:
                path.unlink()
        print(
            f"step {step['number']}: {step['what']}, {step['cost'] / self.whole:.3f} of the cost, "
            f"{self.content['metric']} {step['val']:.4f} on {self.data.evaluation_split}",
            flush=True,
        )
        return step

    # -- what is on the disk -------------------------------------------------------------------------------------------

    def _begin(self, image_size: tuple[int, int]) -> dict[str, Any]:
        task = self.bench.task(self.model)
        seed = {"cost": self.whole, "params": count_params(self.model), "sizes": adjustable(self.arch)}
        seed |= {"held": self.bench.held_out(self.model), "val": self.bench.validation(self.model)}
        return {
            "backbone": self.arch.name,
            "pretrained": self.config["pretrained"],
            "metric": task.monitor.partition("/")[2],
            "split": self.data.evaluation_split,
            "held_out": len(self.bench.held),
            "cost": self.options["cost"],
            "image_size": list(image_size),
            "options": self.options,
            "seed": seed,
            "steps": [],
        }

    def _step(self, number: int) -> dict[str, Any]:
        steps = self.content["steps"]
        if len(steps) < number:
            steps.append({"number": number, "tried": []})
        return steps[number - 1]

    def _read(self) -> dict[str, Any] | None:
        path = self.folder / "steps.json"
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise LightsegError(
                f"{path} cannot be read ({type(error).__name__}): move its folder away to search anew"
            ) from error

    def _write(self) -> None:
        write_json(self.folder / "steps.json", self.content)
        (self.folder / "steps.md").write_text(markdown(self.content), encoding="utf-8")

    def _arch(self, one: dict[str, Any]) -> Arch:
        arch = resized(self.arch, one["sizes"])
        assert arch is not None
        return arch

    def _load(self, one: dict[str, Any]) -> Model:
        path = self.folder / "checkpoints" / one["weights"]
        model = built(self.model.spec, self._arch(one))
        model.load_state_dict(AtomicCheckpointIO().load_checkpoint(path)["state_dict"])
        return model

    def _save(self, model: Model, path: Path) -> None:
        AtomicCheckpointIO().save_checkpoint({"state_dict": model.state_dict()}, path)
