"""Parameters of the `train` stage."""

from __future__ import annotations

from pydantic import Field, model_validator

from windhover.geometry.windows import STRIDE_PX, WINDOW_PX
from windhover.params import StageParams
from windhover.params.allowed_values import (
    Loss,
    Optimizer,
    SamplerStrategy,
    Schedule,
    SegmentationLossName,
    TrainingPrecision,
)


class BatchAugmentParams(StageParams):
    """Random changes of each picture on its device, new in every epoch; 0 switches one off.

    Null leaves a change of color to bands and classes: `training.choose_radiometry`.
    """

    d4: bool = Field(
        default=True, description="flips and rotations: the eight symmetries of the square"
    )
    border_prob: float = Field(
        default=0.35,
        ge=0,
        le=1,
        description="probability, across each axis, that the scene ends within the picture: "
        "borders are learned anywhere",
    )
    brightness: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="standard deviation of a shift, fraction of the full range",
    )
    contrast: float = Field(
        default=0.3,
        ge=0,
        le=2,
        description="standard deviation of the log of a factor about the picture's mean",
    )
    gamma: float = Field(
        default=0.15, ge=0, le=2, description="standard deviation of the log of an exponent"
    )
    per_band_gain: float = Field(
        default=0.06,
        ge=0,
        le=2,
        description="standard deviation of the log of a factor of each band",
    )
    per_band_contrast: float | None = Field(
        default=None,
        ge=0,
        le=2,
        description="largest standard deviation of a factor about each band's mean; 0.8 "
        "can invert a band, so that white becomes colored; null: 0.8 for one class in three "
        "bands, else 0.2",
    )
    highlight_darkening: float | None = Field(
        default=None,
        ge=0,
        le=4,
        description="strongest darkening of pixels brighter than their band's mean, in "
        "patches: white parts become colored or dark; null: 3 for one class in three bands, else "
        "0",
    )
    saturation: float | None = Field(
        default=None,
        ge=0,
        le=2,
        description="standard deviation of a factor about the mean of the bands; null: 0.2 for "
        "three bands, else 0",
    )
    sharpness: float = Field(
        default=0.3,
        ge=0,
        le=2,
        description="standard deviation of the weight of unsharp masking; negative weights blur",
    )
    blur_px: float = Field(
        default=2.0,
        ge=0,
        le=8,
        description="largest sigma of a Gaussian blur, px; most are far smaller",
    )
    noise: float = Field(
        default=0.02,
        ge=0,
        le=1,
        description="strongest white noise, fraction of the full range",
    )


class HardNegativeMiningParams(StageParams):
    """Rounds in which the model searches the training scenes for its own errors."""

    after: tuple[float, ...] = Field(
        default=(),
        description="fractions of the training after which a round is held, such as "
        "[0.4, 0.7]; [] for none",
    )
    max_per_scene: int = Field(
        default=60,
        ge=1,
        description="largest number of false alarms taken from one scene in one round",
    )
    min_score: float = Field(
        default=0.1,
        gt=0,
        lt=1,
        description="lowest score of a false alarm, of the model at that time",
    )
    patches_per_miss: int = Field(
        default=4, ge=0, le=100, description="patches cut for each object that the model misses"
    )
    scales: tuple[float, ...] = Field(
        default=(1.0,), min_length=1, description="GSDs searched, in units of the training GSD"
    )

    @model_validator(mode="after")
    def _check_ranges(self) -> HardNegativeMiningParams:
        if any(not 0 < fraction < 1 for fraction in self.after):
            raise ValueError("`after` must hold fractions between 0 and 1")
        if any(not 0.25 <= scale <= 4 for scale in self.scales):
            raise ValueError("`scales` must hold factors in 0.25..4")
        return self


class LargePatchesParams(StageParams):
    """Larger training pictures of many windows, cut from the scenes, used next to the patches."""

    per_batch: int = Field(
        default=12, ge=0, le=4096, description="large patches in a training step; 0 for none"
    )
    side_px: int = Field(
        default=128,
        ge=WINDOW_PX + STRIDE_PX,
        le=1024,
        description=f"side of a large patch, px: {WINDOW_PX} plus a multiple of {STRIDE_PX}",
    )
    count: int = Field(default=2400, ge=1, le=1_000_000, description="large patches that are cut")
    per_epoch: int = Field(
        default=1200,
        ge=1,
        le=1_000_000,
        description="large patches shown in an epoch; successive epochs go through all of them",
    )
    object_fraction: float = Field(
        default=0.6,
        ge=0,
        le=1,
        description="fraction of them that hold an object; the others are anywhere",
    )
    copy_paste_prob: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="probability that other objects of the scene are copied close to "
        "the object of a large patch; 0 for none",
    )
    negatives_per_positive: float = Field(
        default=3.0,
        ge=0,
        description="background windows that count per positive one, half of them the "
        "hardest; 0 counts all",
    )
    scales: tuple[float, ...] = Field(
        default=(0.8, 0.9, 1.0, 1.12, 1.25),
        min_length=1,
        description="GSDs of the large patches, in units of the training GSD",
    )

    @model_validator(mode="after")
    def _check_side(self) -> LargePatchesParams:
        if (self.side_px - WINDOW_PX) % STRIDE_PX:
            raise ValueError(
                f"side_px must be {WINDOW_PX} plus a multiple of {STRIDE_PX}, got {self.side_px}"
            )
        return self


class SegmentationParams(StageParams):
    """Crops with their class maps, from which a network of masks learns (`network: unet`)."""

    side_px: int = Field(
        default=128,
        ge=64,
        le=1024,
        multiple_of=32,
        description="side of a crop, px: a multiple of 32",
    )
    per_epoch: int = Field(
        default=800, ge=1, le=1_000_000, description="crops drawn from the scenes in an epoch"
    )
    per_batch: int = Field(default=8, ge=2, le=4096, description="crops in a training step")
    class_fraction: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="fraction of the crops that are drawn to hold a class, each class as often; "
        "the others are anywhere",
    )
    loss: SegmentationLossName = Field(
        default="dice_bce",
        description="bce, dice, focal, lovasz, dice_bce, dice_focal or lovasz_bce",
    )


class TrainParams(StageParams):
    """How a detector is trained."""

    seed: int = Field(default=3, ge=0, description="random seed of weights, order and all sampling")
    network: str = Field(
        default="valid64",
        min_length=1,
        description="valid64, baseline_cnn, or a classifier of torchvision or timm, as resnet18; "
        "of coverage also unet",
    )
    options: dict[str, str | int | float | bool | None] = Field(
        default={"width": "small", "stem": "pooled"},
        description="options of the network; width base takes three times as long",
    )
    start_from: str | None = Field(
        default=None,
        description="folder of a trained model of the same network to start from; null "
        "for random weights",
    )
    teacher: str | None = Field(
        default=None,
        description="folder of a trained model whose scores are learned too "
        "(distillation); null for none",
    )
    distillation_weight: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="weight of the teacher's scores against the labels, 0 to 1",
    )
    freeze_fraction: float = Field(
        default=0.0,
        ge=0,
        le=1,
        description="fraction of the training in which only the heads learn",
    )
    trunk_lr_factor: float = Field(
        default=1.0,
        ge=0,
        le=1,
        description="factor on the learning rate of all layers but the heads",
    )
    layer_lr_decay: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="further factor from each stage of the trunk to the one before it",
    )
    epochs: int = Field(default=40, ge=1, le=10000, description="planned epochs")
    max_minutes: float | None = Field(
        default=4.5,
        gt=0,
        description="time budget, min: fewer epochs are planned if they would not fit; "
        "null for no limit",
    )
    patience: int = Field(
        default=0,
        ge=0,
        description="epochs without a better AP on val before training ends; 0 for never",
    )
    batch_size: int = Field(default=16, ge=2, le=65536, description="patches in a training step")
    optimizer: Optimizer = Field(default="adamw", description="adamw or sgd")
    learning_rate: float = Field(default=0.003, gt=0, le=10, description="highest learning rate")
    weight_decay: float = Field(
        default=0.05, ge=0, le=1, description="weight decay of weights, not of biases and norms"
    )
    momentum: float = Field(default=0.9, ge=0, lt=1, description="momentum of sgd")
    schedule: Schedule = Field(
        default="cosine",
        description="learning-rate schedule: cosine, onecycle, step, exponential, "
        "constant, plateau",
    )
    warmup_fraction: float = Field(
        default=0.08,
        ge=0,
        lt=1,
        description="fraction of the training in which the learning rate rises",
    )
    ema_decay: float = Field(
        default=0.995,
        ge=0,
        lt=1,
        description="decay of the moving average of the weights, which is what is "
        "saved; 0 for none",
    )
    gradient_clip_norm: float = Field(
        default=5.0, ge=0, description="largest norm of the gradient; 0 for no limit"
    )
    training_precision: TrainingPrecision = Field(
        default="auto",
        description="number format of training: fp32, bf16, fp16; auto takes bf16 if "
        "the device has it",
    )
    loss: Loss = Field(
        default="bce",
        description="loss of the scores: bce, weighted_bce, focal, class_balanced, logit_adjusted",
    )
    focal_alpha: float = Field(default=0.25, ge=0, le=1, description="alpha of the focal loss")
    focal_gamma: float = Field(default=2.0, ge=0, le=10, description="gamma of the focal loss")
    class_balanced_beta: float = Field(
        default=0.999,
        ge=0,
        lt=1,
        description="beta of the class_balanced loss (effective number)",
    )
    logit_adjustment_tau: float = Field(
        default=1.0, ge=0, le=10, description="tau of the logit_adjusted loss"
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=0.5, description="fraction of a label given to the other label"
    )
    offset_weight: float = Field(
        default=0.1, ge=0, description="weight of the Huber loss of object centers"
    )
    size_weight: float = Field(
        default=0.1, ge=0, description="weight of the Huber loss of log sizes"
    )
    sampler: SamplerStrategy = Field(
        default="under",
        description="how an epoch is sampled: none (all patches), under (fewer "
        "negatives), over (repeated positives)",
    )
    negatives_per_positive: float = Field(
        default=1.0, ge=0, description="negatives per positive of the samplers under and over"
    )
    balance_classes: bool = Field(
        default=True, description="whether rare classes are shown as often as common ones"
    )
    mined_fraction: float = Field(
        default=0.5,
        ge=0,
        le=1,
        description="largest fraction of mined ones in an epoch's negatives",
    )
    batch_augment: BatchAugmentParams = Field(
        default=BatchAugmentParams(),
        description="random changes of each picture on its device, new in every epoch",
    )
    hard_negative_mining: HardNegativeMiningParams = Field(
        default=HardNegativeMiningParams(),
        description="rounds in which the model searches the training scenes for its own errors",
    )
    large_patches: LargePatchesParams = Field(
        default=LargePatchesParams(),
        description="larger training pictures of many windows, used next to the patches",
    )
    segmentation: SegmentationParams = Field(
        default=SegmentationParams(),
        description="crops with their class maps, from which a network of masks learns "
        "(network: unet)",
    )
    devices: int = Field(
        default=1,
        ge=0,
        le=64,
        description="GPUs that share every step, 0 for all there are; on a CPU, processes",
    )
    threads: int = Field(default=0, ge=0, le=1024, description="CPU threads; 0 for one per core")
