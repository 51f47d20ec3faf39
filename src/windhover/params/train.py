"""Parameters of the `train` stage."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from windhover.params import StageParams

Share = Field(ge=0, le=1)


class BatchAugmentParams(StageParams):
    """Changes of each picture on its device, new in every epoch; standard deviations, 0 switches
    one off.
    """

    d4: bool = Field(description="turn and mirror: the eight symmetries of the square")
    brightness: float = Field(ge=0, le=1, description="shift, share of the full range")
    contrast: float = Field(
        ge=0, le=2, description="of the log of a factor about the picture's mean"
    )
    gamma: float = Field(ge=0, le=2, description="of the log of an exponent")
    per_band_gain: float = Field(
        ge=0, le=2, description="of the log of a factor of each band by itself"
    )
    per_band_contrast: float = Field(
        ge=0, le=2, description="of a factor about each band's mean, up to this; may invert"
    )
    highlight_darkening: float = Field(
        ge=0, le=4, description="how far what is brighter than its band is darkened, in spots"
    )
    saturation: float = Field(ge=0, le=2, description="of a factor about the mean over the bands")
    sharpness: float = Field(
        ge=0, le=2, description="of the weight of unsharp masking; its negative side blurs"
    )
    blur_px: float = Field(
        ge=0, le=8, description="largest sigma of a Gaussian blur, px; most are far smaller"
    )
    noise: float = Field(ge=0, le=1, description="white noise, up to this share of the full range")


class HardNegativeMiningParams(StageParams):
    """Rounds in which the model searches the training scenes for what it gets wrong."""

    after: tuple[float, ...] = Field(
        description="shares of the training after which a round is held; empty for none"
    )
    max_per_scene: int = Field(
        ge=1, description="at most this many false alarms of one scene in one round"
    )
    min_score: float = Field(
        gt=0, lt=1, description="a false alarm counts from this score, of the model as it then is"
    )
    patches_per_miss: int = Field(
        ge=0, le=100, description="patches cut for each object that the model misses"
    )
    scales: tuple[float, ...] = Field(
        min_length=1, description="GSDs searched, in units of the training GSD"
    )

    @model_validator(mode="after")
    def _within(self) -> HardNegativeMiningParams:
        if any(not 0 < share < 1 for share in self.after) or any(
            not 0.25 <= scale <= 4 for scale in self.scales
        ):
            raise ValueError(
                "`after` must hold shares between 0 and 1, `scales` factors in 0.25..4"
            )
        return self


class LargePatchesParams(StageParams):
    """Larger training pictures of many windows each, cut from the scenes when training begins."""

    per_batch: int = Field(
        ge=0, le=4096, description="crops in a step beside the patches; 0 for none"
    )
    side_px: int = Field(
        ge=72, le=1024, description="side of a crop as the network sees it; 64 plus a multiple of 8"
    )
    count: int = Field(ge=1, le=1_000_000, description="crops that are cut")
    per_epoch: int = Field(
        ge=1, le=1_000_000, description="crops shown in an epoch; epochs go through all in turn"
    )
    object_fraction: float = Field(
        ge=0, le=1, description="share of them that hold an object; the others lie anywhere"
    )
    copy_paste_prob: float = Field(
        ge=0,
        le=1,
        description="share of those cut about an object in which others of its scene are copied beside it",
    )
    negatives_per_positive: float = Field(
        ge=0, description="background windows that count per positive; 0 counts all"
    )
    scales: tuple[float, ...] = Field(
        min_length=1, description="GSDs of the crops, in units of the training GSD"
    )

    @model_validator(mode="after")
    def _on_the_lattice(self) -> LargePatchesParams:
        if (self.side_px - 64) % 8:
            raise ValueError(f"side_px must be 64 plus a multiple of 8, got {self.side_px}")
        return self


class TrainParams(StageParams):
    """How a detector is trained."""

    seed: int = Field(ge=0, description="of weights, order and every draw")
    network: str = Field(
        min_length=1, description="`valid64`, `course`, or a classifier of torchvision or timm"
    )
    options: dict[str, str | int | float | bool | None] = Field(description="of the network")
    start_from: str | None = Field(
        description="folder of a trained model to start from; null for random weights"
    )
    teacher: str | None = Field(
        description="folder of a finished model whose scores are learnt; null for none"
    )
    distillation_weight: float = Field(
        ge=0, le=1, description="of the teacher's word against the labels'"
    )
    freeze_fraction: float = Field(
        ge=0, le=1, description="share of the training over which only the heads learn"
    )
    trunk_lr_factor: float = Field(
        ge=0, le=1, description="factor on the learning rate of all but the heads"
    )
    layer_lr_decay: float = Field(
        gt=0,
        le=1,
        description="factor on the learning rate from each stage of the trunk to the one before it",
    )
    epochs: int = Field(ge=1, le=10000, description="planned epochs")
    max_minutes: float | None = Field(
        gt=0, description="fewer epochs are planned where they would not fit; null for no limit"
    )
    patience: int = Field(
        ge=0,
        description="epochs without a better AP on validation before training ends; 0 for never",
    )
    batch_size: int = Field(ge=2, le=65536, description="patches in a step")
    optimizer: Literal["adamw", "sgd"] = Field(description="which one")
    learning_rate: float = Field(gt=0, le=10, description="at its highest")
    weight_decay: float = Field(ge=0, le=1, description="of weights, not of biases and norms")
    momentum: float = Field(ge=0, lt=1, description="of sgd")
    schedule: Literal["cosine", "onecycle", "step", "exponential", "constant", "plateau"] = Field(
        description="of the rate"
    )
    warmup_fraction: float = Field(ge=0, lt=1, description="share of the training over which the rate rises")
    ema_decay: float = Field(
        ge=0,
        lt=1,
        description="of the moving average of the weights, which is what is kept; 0 for none",
    )
    gradient_clip_norm: float = Field(ge=0, description="largest norm of the gradient; 0 for no limit")
    training_precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        description="of the network's arithmetic while training"
    )
    loss: Literal["bce", "weighted_bce", "focal", "class_balanced", "logit_adjusted"] = Field(
        description="of the scores"
    )
    focal_alpha: float = Share
    focal_gamma: float = Field(ge=0, le=10)
    class_balanced_beta: float = Field(ge=0, lt=1, description="of the effective number of samples")
    logit_adjustment_tau: float = Field(ge=0, le=10, description="of the logit adjustment")
    label_smoothing: float = Field(
        ge=0, lt=0.5, description="share of a label given to its contrary"
    )
    offset_weight: float = Field(ge=0, description="of the Huber loss of centres")
    size_weight: float = Field(ge=0, description="of the Huber loss of log sizes")
    sampler: Literal["none", "under", "over"] = Field(description="how an epoch is drawn")
    negatives_per_positive: float = Field(ge=0, description="for `under` and `over`")
    balance_classes: bool = Field(
        description="whether rare classes are shown as often as common ones"
    )
    mined_fraction: float = Field(
        ge=0, le=1, description="at most this share of an `under` epoch's negatives are mined ones"
    )
    batch_augment: BatchAugmentParams
    hard_negative_mining: HardNegativeMiningParams
    large_patches: LargePatchesParams
    devices: int = Field(
        ge=0,
        le=64,
        description="GPUs, or processes on a CPU, that share every step; 0 for as many as there are GPUs",
    )
    threads: int = Field(ge=0, le=1024, description="CPU threads; 0 for as many as there are cores")
