"""A bundle's weights as a checkpoint, so that training can go on from a model of which only the
bundle is left: ``finetune --start-from``.

An export folds every batch norm into the convolution before it, and the scale that training needs
is lost with it.  Here the batch norms are put back: every filter before one gets a length of its
own again, mean and variance of what each norm sees are measured on training samples, and scale and
shift are chosen so that the network computes what the bundle computes.

The length is free, since a batch norm takes it out again, but it decides how fast a filter turns:
a step of one size turns a short filter further (van Laarhoven, arXiv 1706.05350).  Folded filters
are short; trained on as they are, at the rates that made them, the network forgets what it knew.
"""

import logging
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from inference.bundle_file import read_bundle
from training.checkpoint import save_weights
from training.configuration import write_config
from training.errors import CheckpointError
from training.half_weights import graph_weights
from training.model import PromptedSegmenter
from training.recipe import ModelConfig, UnfoldConfig

log = logging.getLogger(__name__)

Arrays = dict[str, NDArray[Any]]


def unfold(bundle: Path, store_dir: Path, run_dir: Path, config: UnfoldConfig) -> Path:
    """Write ``run_dir/last.pt`` and its config.toml; returns the checkpoint.

    The region of the decoder may be of another size than the bundle's (``model.region_size``): its
    weights do not depend on it.

    Raises:
        CheckpointError: the bundle has no such model, its graphs are no ONNX files, or they are not
            of this network.
    """
    from training.finetune import sample_set
    from training.samples import batches

    segmenter = PromptedSegmenter(config.start.model)
    load_folded(segmenter, stored_weights(bundle, config.name), bundle)
    samples = sample_set(store_dir, config.start)
    steps = range(config.batches)
    measure_norms(segmenter, batches(samples, steps, config.start.images_per_step, 0))
    lengthen(segmenter, config.filter_length)
    weights = segmenter.state_dict()
    run_dir.mkdir(parents=True, exist_ok=True)
    write_config(config.start, run_dir / "config.toml")
    return save_weights(weights, 0, run_dir)


def stored_weights(bundle: Path, name: str) -> dict[str, Arrays]:
    """The float32 weights of a model's ``encoder`` and ``decoder`` by the names that torch gave
    them.

    Raises:
        CheckpointError: there is no such model, or a graph is no ONNX file.
    """
    content = read_bundle(bundle)
    if name not in content.models:
        known = ", ".join(sorted(content.models))
        raise CheckpointError(f"{bundle}: expected one of the models {known}, found {name!r}")
    spec = content.models[name]
    found = {}
    for part, file in (("encoder", spec.encoder), ("decoder", spec.decoder)):
        if not file.endswith(".onnx"):
            raise CheckpointError(f"{bundle / file}: expected an ONNX graph, found another format")
        found[part] = graph_weights(bundle / file)
    return found


def load_folded(segmenter: PromptedSegmenter, stored: Mapping[str, Arrays], bundle: Path) -> None:
    """Put the weights of an export into a network that has its batch norms still, which pass on
    what they get but for the shift."""
    with torch.no_grad():
        for part in ("encoder", "decoder"):
            module: nn.Module = getattr(segmenter, part)
            left = dict(stored[part])
            for name, tensor in targets(module):
                if (part, name) == ("decoder", "stem.0.weight") and name in left:
                    left[name] = with_new_channels(left[name], segmenter.config)
                if name not in left or left[name].shape != tuple(tensor.shape):
                    found = left[name].shape if name in left else "none"
                    raise CheckpointError(
                        f"{bundle}: {part}: expected {name} of shape {tuple(tensor.shape)}, "
                        f"found {found}"
                    )
                tensor.copy_(torch.from_numpy(left.pop(name).copy()))
            unknown = [n for n in left if n.endswith((".weight", ".bias"))]
            if unknown:
                raise CheckpointError(
                    f"{bundle}: {part}: expected no weights beside this network's, "
                    f"found {unknown[0]}"
                )
    segmenter.eval()


def with_new_channels(weight: NDArray[Any], config: ModelConfig) -> NDArray[Any]:
    """A stem's weights (outputs, inputs, ...), with zeros for the channels that the bundle's
    decoder does not see yet: those of the other boxes (``model.others``), and before them those of
    contrast (``model.contrast``).  They begin without a say."""
    contrast, others = 3 * config.contrast, 2 * config.others
    lacking = 4 + contrast + others - weight.shape[1]
    if lacking <= 0 or lacking not in (others, contrast + others):
        return weight
    return np.pad(weight, [(0, 0), (0, lacking)] + [(0, 0)] * (weight.ndim - 2))


def targets(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    """Every tensor that an export stores, by its name there: a batch norm's shift is the bias of
    the convolution before it.  Its other numbers are set to pass everything on."""
    names = {}
    for name, _, norm in normed(module):
        norm.weight.fill_(1)
        norm.running_mean.zero_()  # type: ignore[union-attr]
        norm.running_var.fill_(1 - norm.eps)  # type: ignore[union-attr]
        names[id(norm.bias)], names[id(norm.weight)] = f"{name}.bias", ""
    for name, parameter in module.named_parameters():
        stored = names.get(id(parameter), name)
        if stored:
            yield stored, parameter


def normed(module: nn.Module) -> Iterator[tuple[str, nn.Conv2d, nn.BatchNorm2d]]:
    """Every convolution of a sequence with the batch norm behind it, and the sequence's name and
    the norm's place in it."""
    for name, child in module.named_modules():
        if isinstance(child, nn.Sequential):
            for (own, first), (_, second) in pairwise(child.named_children()):
                if isinstance(first, nn.Conv2d) and isinstance(second, nn.BatchNorm2d):
                    yield f"{name}.{own}", first, second


def lengthen(segmenter: PromptedSegmenter, length: float) -> None:
    """Give every filter before a batch norm the same length, and the norm's statistics what follows
    from it: the answers stay as they are."""
    with torch.no_grad():
        for _, convolution, norm in normed(segmenter):
            now = convolution.weight.flatten(1).norm(dim=1)
            factor = torch.where(now > 0, length / now.clamp(min=1e-12), 1.0)
            convolution.weight.mul_(factor[:, None, None, None])
            mean, variance = norm.running_mean, norm.running_var
            if mean is None or variance is None:
                raise TypeError("expected batch norms that keep their statistics")
            before = (variance + norm.eps).sqrt()
            mean.mul_(factor)
            variance.mul_(factor.square())
            # eps is not scaled with the rest
            norm.weight.mul_((variance + norm.eps).sqrt() / before / factor)


def measure_norms(segmenter: PromptedSegmenter, samples: Iterator[dict[str, Tensor]]) -> None:
    """Give every batch norm the mean and variance of what it sees, and the scale and shift with
    which it still does what it did."""
    norms = [m for m in segmenter.modules() if isinstance(m, nn.BatchNorm2d)]
    sums = {norm: torch.zeros(3, norm.num_features, dtype=torch.float64) for norm in norms}

    def see(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].double()
        count = torch.full((x.shape[1],), x.numel() / x.shape[1], dtype=torch.float64)
        sums[norm] += torch.stack([count, x.sum((0, 2, 3)), x.square().sum((0, 2, 3))])  # type: ignore[index]

    hooks = [norm.register_forward_pre_hook(see) for norm in norms]
    with torch.no_grad():
        for batch in samples:
            segmenter(batch)
        for hook in hooks:
            hook.remove()
        for norm in norms:
            count, first, second = sums[norm]
            mean = first / count
            variance = (second / count - mean.square()).clamp(min=0)
            norm.running_mean.copy_(mean)  # type: ignore[union-attr]
            norm.running_var.copy_(variance)  # type: ignore[union-attr]
            norm.weight.copy_((variance + norm.eps).sqrt())
            norm.bias.add_(mean.float())
    log.info("%d batch norms measured", len(norms))
