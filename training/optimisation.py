"""The loop that every kind of training shares: rates, mixed precision, running average,
checkpoints."""

import logging
import math
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from tqdm import tqdm

from training.checkpoint import load_state, save_state
from training.configuration import write_config
from training.devices import Place
from training.errors import CheckpointError, reason_of
from training.recipe import RunConfig
from training.run_log import append_line, keep_lines_until

log = logging.getLogger(__name__)

Weights = dict[str, Tensor]


class Objective(nn.Module):
    """A network and its loss, so that one forward pass gives what is to be made small; checkpoints
    hold the network alone: the objective has no weights of its own."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def state_dict(self, *args: Any, **kwargs: Any) -> dict[str, Any]:  # type: ignore[override]
        """The network's."""
        return self.network.state_dict(*args, **kwargs)

    def load_state_dict(
        self, state_dict: Mapping[str, Any], strict: bool = True, assign: bool = False
    ) -> Any:
        """Into the network."""
        return self.network.load_state_dict(state_dict, strict, assign)


class Task(Protocol):
    """What is trained."""

    @property
    def model(self) -> nn.Module:
        """Its forward pass gives the loss of a batch, so that it can be spread over processes."""

    def rates(self) -> list[tuple[list[nn.Parameter], float]]:
        """Parameters and the peak of their learning rate."""

    def batches(self, steps: range, place: Place) -> Iterator[dict[str, Tensor]]:
        """This process's batches of ``steps``, always the same for the same steps."""

    def validate(self, step: int, average: Weights) -> dict[str, Any] | None:
        """Scores of the averaged weights, ``score`` among them (larger is better); None: not
        now."""


def rate_at(step: int, config: RunConfig) -> float:
    """Learning-rate factor: linear warm-up, then half a cosine down to 1 %."""
    if step < config.warmup_steps:
        return (step + 1) / config.warmup_steps
    done = (step - config.warmup_steps) / max(1, config.steps - config.warmup_steps)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(done, 1.0)))


def fast_format(model: nn.Module) -> torch.memory_format:
    """Channels last, of pictures or of volumes by the model's convolutions."""
    in_3d = any(parameter.dim() == 5 for parameter in model.parameters())
    return torch.channels_last_3d if in_3d else torch.channels_last


class Run:
    """A training in its folder; goes on where it stopped."""

    def __init__(self, task: Task, config: RunConfig, place: Place, run_dir: Path) -> None:
        self.task, self.config, self.place, self.run_dir = task, config, place, run_dir
        self.model = task.model.to(place.device, memory_format=fast_format(task.model))  # type: ignore[call-overload]
        groups = [{"params": p, "lr": rate, "peak": rate} for p, rate in task.rates() if p]
        self.optimiser = torch.optim.AdamW(groups, weight_decay=config.weight_decay)
        self.scaler = place.scaler()
        self.average = {k: v.detach().clone() for k, v in self.model.state_dict().items()}
        self.step, self.seconds, self.best = 0, 0.0, -math.inf
        self.losses: list[float] = []

    def resume(self) -> None:
        """Load last.pt where there is one.

        Raises:
            CheckpointError: it is of another network.
        """
        path = self.run_dir / "last.pt"
        if not path.exists():
            return
        state = load_state(path)
        try:
            self.model.load_state_dict(state["model"])
            self.optimiser.load_state_dict(state["optimiser"])
        except (KeyError, RuntimeError, ValueError) as error:
            raise CheckpointError(
                f"{path}: expected this run's network, found: {reason_of(error)}"
            ) from error
        peaks = [rate for parameters, rate in self.task.rates() if parameters]
        for group, peak in zip(self.optimiser.param_groups, peaks, strict=True):
            group["peak"], group["weight_decay"] = peak, self.config.weight_decay
        if "scaler" in state and self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])
        self.average = {k: v.to(self.place.device) for k, v in state["average"].items()}
        self.step, self.seconds = state["step"], state.get("seconds", 0.0)
        self.best, self.losses = state.get("best", -math.inf), list(state.get("losses", []))
        log.info("going on at step %d", self.step)

    def state(self) -> dict[str, Any]:
        """Everything that going on needs."""
        return {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimiser": self.optimiser.state_dict(),
            "scaler": self.scaler.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "best": self.best,
            "losses": self.losses,
        }

    def finish(self) -> Path:
        """Run the remaining steps; returns the last checkpoint, written by the first process."""
        config, place, last = self.config, self.place, self.run_dir / "last.pt"
        self.resume()
        if place.is_first:
            self.run_dir.mkdir(parents=True, exist_ok=True)
            write_config(config, self.run_dir / "config.toml")
            keep_lines_until(self.run_dir / "log.jsonl", self.step)
        spread = place.spread(self.model)
        steps = range(self.step, config.steps)
        before, began = self.seconds, time.monotonic()
        batches = self.task.batches(steps, place)
        self.model.train()
        for step in tqdm(steps, "steps", initial=self.step, total=config.steps, delay=5,
                         disable=None if place.is_first else True):  # fmt: skip
            self.losses.append(self.advance(spread, next(batches), step))
            self.step, self.seconds = step + 1, before + time.monotonic() - began
            if place.is_first:
                self.report()
                self.validate()
                if self.step % config.checkpoint_every == 0 or self.step == config.steps:
                    save_state(self.state(), last)
        place.wait()
        if place.is_first:
            with suppress(ImportError):
                from training.plots import plot_run

                plot_run(self.run_dir)
        return last

    def advance(self, spread: nn.Module, batch: dict[str, Tensor], step: int) -> float:
        """One optimiser step; returns the loss of this process's batch.

        Where the gradient is not finite neither a weight nor a statistic is changed, and the
        average stays as it is: what is once infinite in it would be so for ever.
        """
        before = {k: v.clone() for k, v in self.model.named_buffers()}
        for group in self.optimiser.param_groups:
            group["lr"] = group["peak"] * rate_at(step, self.config)
        with self.place.autocast():
            loss = spread(self.place.put(batch))
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimiser)
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        is_sound = bool(norm.isfinite())  # of all processes' gradients, so that all agree
        if self.scaler.is_enabled() or is_sound:  # a scaler looks itself
            self.scaler.step(self.optimiser)
        self.scaler.update()
        if is_sound:
            self.average_weights(min(self.config.average_decay, (step + 1) / (step + 10)))
        else:
            log.warning("step %d: the gradient is not finite, nothing is changed", step)
            with torch.no_grad():
                for name, buffer in self.model.named_buffers():
                    buffer.copy_(before[name])
        return float(loss.detach())

    def average_weights(self, decay: float) -> None:
        """Move the running average; what is equal stays so to the bit (of -0 the average of two is
        0), so that a part that is kept is exported as it was."""
        with torch.no_grad():
            for name, value in self.model.state_dict().items():
                average = self.average[name]
                if value.dtype.is_floating_point:
                    moved = average.lerp(value, 1 - decay)
                    average.copy_(torch.where(average == value, average, moved))
                else:
                    average.copy_(value)

    def report(self) -> None:
        """A line of the log every ``log_every`` steps: the mean loss since the last."""
        if self.step % self.config.log_every and self.step != self.config.steps:
            return
        line = {
            "step": self.step,
            "loss": sum(self.losses) / len(self.losses),
            "seconds": self.seconds,
        }
        self.losses = []
        append_line(self.run_dir / "log.jsonl", line)
        log.info("step %(step)d loss %(loss).4f after %(seconds).0f s", line)

    def validate(self) -> None:
        """Where the task validates now: log the scores and keep the best weights in best.pt."""
        scores = self.task.validate(self.step, self.average)
        if scores is None:
            return
        append_line(self.run_dir / "log.jsonl", {"step": self.step, "validation": scores})
        log.info("step %d validation %s", self.step, scores)
        if scores["score"] > self.best:
            self.best = scores["score"]
            state = {"average": self.average, "step": self.step, "score": self.best}
            save_state(state, self.run_dir / "best.pt")
