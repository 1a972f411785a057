"""The loop of `search=netadapt` and its files, from which an interrupted search is resumed."""

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
from lightseg.search.netadapt.channel_graph import adjustable_widths, with_widths
from lightseg.search.netadapt.channel_selection import Axes, build_model, select_channels
from lightseg.search.netadapt.cost import METRICS, Latency, Madds
from lightseg.search.netadapt.proposals import check_target, child, choose, parents, proposals, ratio
from lightseg.search.netadapt.steps_table import markdown

from ..data import DataModule
from ..run.checkpoints import AtomicCheckpointIO
from .proxy_training import ProxyTraining


class Search:
    """The state of a search. `content`: of steps.json; `current`: the narrowest net so far, trained."""

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
        self.proxy = ProxyTraining(config, data, options["steps"], options["lr"], options["holdout"])
        self.full_cost = self.cost(self.arch)
        self.target, self.delta = options["target"] * self.full_cost, options["delta"] * self.full_cost
        self.current = model
        self.content: dict[str, Any] = self._read() or self._begin((height, width))
        print(
            f"search=netadapt: {self.arch.name}, {self.full_cost:.6g} {METRICS[options['cost']]}, to "
            f"{options['target']:g} of it in {folder}",
            flush=True,
        )

    # -- NetAdapt ------------------------------------------------------------------------------------------------------

    def adapt(self) -> Model:
        """NetAdapt: take the best proposal of each step until the cost reaches the target. Returns the trained net."""
        done = [step for step in self.content["steps"] if "val" in step]
        if done:
            self.current = self._load(done[-1])
        arch = self._arch(done[-1]) if done else self.arch
        last = done[-1] if done else self.content["seed"]
        while last["cost"] > self.target:
            step = self._step(len(done) + 1)
            candidates = proposals(arch, self.cost, self.delta, self.target)
            if not candidates:
                raise LightsegError(
                    f"no width of the net can be cut any more at {last['cost'] / self.full_cost:.3f} of its cost"
                )
            before = (last["held"], last["cost"])
            axes = Axes(self.current)
            for number in range(len(step["tried"]), len(candidates)):
                proposal = candidates[number]
                change = f"{proposal.label} {proposal.before} to {proposal.after}"
                model = select_channels(self.current, proposal.arch, axes)
                self._try(step, change, model, proposal.arch, proposal.cost, before)
            chosen = choose(before, [(net["held"], net["cost"]) for net in step["tried"]])
            last = self._conclude(step, step["tried"][chosen])
            arch, done = self._arch(last), [*done, last]
        return self.current

    # -- evolution -----------------------------------------------------------------------------------------------------

    def evolve(self) -> Model:
        """Evolution over generations; every net starts with the weights of the trained net. Returns the best net."""
        best = None
        for generation in range(1, self.options["generations"] + 1):
            step = self._step(generation)
            previous = [other for other in self.content["steps"] if other["number"] < generation]
            earlier = [net for other in previous for net in other["tried"]]
            pool = parents([(net["held"], self._arch(net)) for net in earlier], self.options["parents"])
            for number in range(len(step["tried"]), self.options["population"]):
                rng = random.Random(f"{self.config['seed']} {generation} {number}")
                parent = rng.choice(pool) if pool else self.arch
                arch = child(self.arch, parent, self.cost, self.target, self.delta, rng)
                self._try(
                    step,
                    f"child {number + 1}",
                    select_channels(self.model, arch, self.axes),
                    arch,
                    self.cost(arch),
                    None,
                )
            best = max([*([best] if best else []), *step["tried"]], key=lambda net: net["held"])
            if "val" not in step:
                self._conclude(step, best)
        assert best is not None
        return self._load(best)

    # -- a net --------------------------------------------------------------------------------------------------------

    def _try(
        self,
        step: dict[str, Any],
        change: str,
        model: Model,
        arch: Arch,
        cost: float,
        before: tuple[float, float] | None,
    ) -> None:
        """Train a net briefly, record its accuracy, and save its weights if it is the best so far.

        before: (accuracy, cost) of the net it was narrowed from; None in an evolution.
        """
        number = len(step["tried"]) + 1
        model, held = self.proxy.train(model, step["number"])
        net: dict[str, Any] = {
            "what": change,
            "sizes": adjustable_widths(arch),
            "cost": cost,
            "params": count_params(model),
        }
        net |= {"held": held, "score": ratio(before, (held, cost)) if before else held}
        rivals = [other["score"] for other in step["tried"]]
        if before is None:  # nets of all generations compete
            rivals = [other["score"] for earlier in self.content["steps"] for other in earlier["tried"]]
        if not rivals or net["score"] > max(rivals):
            net["weights"] = f"step-{step['number']:03d}-{number:03d}.ckpt"
            self._save(model, self.folder / "checkpoints" / net["weights"])
        step["tried"].append(net)
        self._write()
        fraction = cost / self.full_cost
        print(
            f"step {step['number']}, net {number}: {change}: {fraction:.3f} of the cost, "
            f"{self.content['metric']} {held:.4f} held out",
            flush=True,
        )

    def _conclude(self, step: dict[str, Any], best: dict[str, Any]) -> dict[str, Any]:
        """Record the result of a step and delete the weights of the other nets."""
        self.current = self._load(best)
        step |= {key: best[key] for key in ("what", "sizes", "cost", "params", "held", "weights")}
        step["val"] = self.proxy.evaluate(self.current)
        self._write()
        for path in (self.folder / "checkpoints").glob("step-*.ckpt"):
            if path.name != best["weights"]:
                path.unlink()
        print(
            f"step {step['number']}: {step['what']}, {step['cost'] / self.full_cost:.3f} of the cost, "
            f"{self.content['metric']} {step['val']:.4f} on {self.data.evaluation_split}",
            flush=True,
        )
        return step

    # -- files ---------------------------------------------------------------------------------------------------------

    def _begin(self, image_size: tuple[int, int]) -> dict[str, Any]:
        task = self.proxy.task(self.model)
        seed = {"cost": self.full_cost, "params": count_params(self.model), "sizes": adjustable_widths(self.arch)}
        seed |= {"held": self.proxy.evaluate_held_out(self.model), "val": self.proxy.evaluate(self.model)}
        return {
            "backbone": self.arch.name,
            "pretrained": self.config["pretrained"],
            "metric": task.monitor.partition("/")[2],
            "split": self.data.evaluation_split,
            "held_out": len(self.proxy.held_out),
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

    def _arch(self, net: dict[str, Any]) -> Arch:
        arch = with_widths(self.arch, net["sizes"])
        assert arch is not None
        return arch

    def _load(self, net: dict[str, Any]) -> Model:
        path = self.folder / "checkpoints" / net["weights"]
        model = build_model(self.model.spec, self._arch(net))
        model.load_state_dict(AtomicCheckpointIO().load_checkpoint(path)["state_dict"])
        return model

    def _save(self, model: Model, path: Path) -> None:
        AtomicCheckpointIO().save_checkpoint({"state_dict": model.state_dict()}, path)
