"""Modules in the place of packages that published programs import and do not need."""

import importlib
import sys
from collections.abc import Callable
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any
from unittest.mock import MagicMock

import torch
from torch import nn

STAND_INS = (
    *("torchvision", "timm", "matplotlib", "pandas", "monai", "wandb", "hydra", "rootutils"),
    "omegaconf",
)
"""Packages that the programs import without need; each of their modules has every name."""


TRAINING = "src.models.efficientvit.apps"
"""MedficientSAM's copy of EfficientViT's training code, which its networks import."""


class Idle:
    """An object that does nothing, and a class to inherit from."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        return MagicMock(name=name)


class StandIn(ModuleType):
    """A module in which everything exists and does nothing."""

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return type(name, (Idle,), {}) if name[0].isupper() else MagicMock(name=name)


class StandInFinder(MetaPathFinder, Loader):
    """Imports :data:`STAND_INS` and everything below them."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        """See :class:`importlib.abc.MetaPathFinder`."""
        if fullname.split(".")[0] not in STAND_INS and not fullname.startswith(TRAINING):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """See :class:`importlib.abc.Loader`."""
        module = StandIn(spec.name)
        if spec.name.startswith("timm"):
            vars(module).update(timm_parts())
        if spec.name == "matplotlib.pyplot":
            module.subplots = lambda *_, **__: (MagicMock(), [MagicMock(), MagicMock()])  # type: ignore[attr-defined]
        return module

    def exec_module(self, module: ModuleType) -> None:
        """See :class:`importlib.abc.Loader`."""


def stand_in() -> None:
    """Take the place of those packages whether they are installed or not."""
    sys.meta_path.insert(0, StandInFinder())
    importlib.import_module("matplotlib.pyplot")  # else the package makes an attribute of it up


def timm_parts() -> dict[str, Any]:
    """The few names of timm that the networks are built of; DropPath does nothing here."""

    class Excite(nn.Module):
        def __init__(self, channels: int, ratio: float = 0.25) -> None:
            super().__init__()
            reduced = max(8, int(channels * ratio + 4) // 8 * 8)
            reduced += 8 if reduced < 0.9 * channels * ratio else 0
            self.fc1, self.fc2 = nn.Conv2d(channels, reduced, 1), nn.Conv2d(reduced, channels, 1)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            s = torch.relu(self.fc1(x.mean((2, 3), keepdim=True)))
            return x * torch.sigmoid(self.fc2(s))

    class DropPath(nn.Module):
        def __init__(self, drop_prob: float = 0.0, **_: Any) -> None:
            super().__init__()
            self.drop_prob = drop_prob

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    register: Callable[[Any], Any] = lambda f: f  # noqa: E731
    return {
        "DropPath": DropPath,
        "SqueezeExcite": Excite,
        "to_2tuple": lambda x: x if isinstance(x, tuple) else (x, x),
        "trunc_normal_": nn.init.trunc_normal_,
        "register_model": register,
    }
