"""The rivals as libraries ship them, shrunk to ten CPU minutes: torchvision's two detectors and the
newest small YOLO.

Runs inside .venv-rivals. Every rival takes a batch and returns its own loss, or takes a scene and
returns boxes. No weights are read, nothing is looked up on a network. Trains and searches nothing
by itself.
"""

from __future__ import annotations

import os

os.environ |= {
    "YOLO_OFFLINE": "true",
    "YOLO_AUTOINSTALL": "false",
    "YOLO_VERBOSE": "false",
}  # before ultralytics

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.models import mobilenet_v3_large, resnet18
from torchvision.models.detection import FasterRCNN, RetinaNet
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.backbone_utils import BackboneWithFPN
from torchvision.models.detection.faster_rcnn import FastRCNNPredictor, TwoMLPHead
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.retinanet import RetinaNetHead
from torchvision.models.detection.rpn import RPNHead
from torchvision.models.resnet import BasicBlock
from torchvision.ops import nms
from torchvision.ops.feature_pyramid_network import LastLevelMaxPool
from ultralytics.cfg import get_cfg
from ultralytics.nn.modules import Detect
from ultralytics.nn.tasks import DetectionModel

LOWEST = 0.01  # score
# IoU above which two boxes are one aircraft; of 1,815 labels few overlap their neighbour so much
OVERLAP = 0.4
MOST = 1000  # boxes of a scene; the fullest has about 100 aircraft
FPN_CHANNELS = 128  # half of the default, which costs four times as much


def in_float(made: Any) -> Any:
    """Return what a head made, tensors in lists and the like, in float32."""
    if isinstance(made, Tensor):
        return made.float()
    if isinstance(made, dict):
        return {name: in_float(part) for name, part in made.items()}
    return type(made)(in_float(part) for part in made)


def _head_in_float(_: nn.Module, __: Any, made: Any) -> Any:
    return in_float(made)


class Anchors(AnchorGenerator):
    """Anchors in float32: in bfloat16, which features have here, a corner beyond 512 px is off by
    up to 2 px.
    """

    def forward(self, image_list: ImageList, feature_maps: list[Tensor]) -> list[Tensor]:
        boxes: list[Tensor] = super().forward(image_list, [part.float() for part in feature_maps])
        return boxes


class Torchvision(nn.Module):
    """A detector of torchvision, without its own resizing of what it is given."""

    def __init__(self, detector: nn.Module, label: int) -> None:
        super().__init__()
        self.detector, self.label = detector, label
        for part in detector.modules():
            if isinstance(part, RetinaNetHead | RPNHead | FastRCNNPredictor):
                part.register_forward_hook(_head_in_float)

    def loss(self, pixels: Tensor, boxes: Sequence[Tensor], done: float) -> Tensor:
        """Return the sum of the detector's losses.

        Args:
            pixels: (B, 3, S, S), 0 to 1.
            boxes: of each picture (N, 5) xyxy px, class from 0 on.
            done: share of the training done, 0 to 1; not used here.
        """
        targets = [{"boxes": one[:, :4], "labels": self.label + one[:, 4].long()} for one in boxes]
        losses: dict[str, Tensor] = self.detector(list(pixels), targets)
        return torch.stack([part.float() for part in losses.values()]).sum()

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes (N, 4) xyxy px and scores (N,) of one scene (1, 3, H, W)."""
        found = self.detector(list(pixels))[0]
        return found["boxes"], found["scores"]

    def make_ready(self) -> None:
        """Fold the batch norms of a ResNet into its convolutions: the same outputs, sooner."""
        for part in self.detector.modules():
            if isinstance(part, BasicBlock):
                part.conv1, part.bn1 = fuse_conv_bn_eval(part.conv1, part.bn1), nn.Identity()
                part.conv2, part.bn2 = fuse_conv_bn_eval(part.conv2, part.bn2), nn.Identity()
                if part.downsample is not None:
                    part.downsample = fuse_conv_bn_eval(part.downsample[0], part.downsample[1])


class FloatDetect(Detect):
    """YOLO's head with boxes and losses in float32, for the same reason."""

    def forward_head(
        self, x: list[Tensor], box_head: Any = None, cls_head: Any = None
    ) -> dict[str, Any]:
        found = super().forward_head(x, box_head, cls_head)
        return in_float(found)


class Yolo(nn.Module):
    """A YOLO of ultralytics, built from its yaml."""

    def __init__(self, name: str, end2end: bool, n_classes: int = 1) -> None:
        super().__init__()
        self.detector = DetectionModel(f"{name}.yaml", nc=n_classes, verbose=False)
        self.detector.model[-1].__class__ = FloatDetect
        self.detector.args = get_cfg(
            overrides={"epochs": 101}
        )  # gains of the losses; "epochs" are hundredths here
        self.detector.end2end = self.end2end = end2end

    def loss(self, pixels: Tensor, boxes: Sequence[Tensor], done: float) -> Tensor:
        """Return the sum of the detector's losses, meaned over the batch; arguments as for
        `Torchvision.loss`.
        """
        objects = torch.cat(list(boxes))  # (M, 5)
        corners = objects[:, :4] / pixels.shape[-1]  # share of the side
        centers, sides = (corners[:, :2] + corners[:, 2:]) / 2, corners[:, 2:] - corners[:, :2]
        owner = torch.repeat_interleave(
            torch.arange(len(boxes)), torch.tensor([len(one) for one in boxes])
        )
        batch = {
            "img": pixels,
            "cls": objects[:, 4:],
            "bboxes": torch.cat([centers, sides], 1),
            "batch_idx": owner.float(),
        }
        losses: Tensor = self.detector.loss(batch)[0]
        criterion = self.detector.criterion
        if hasattr(criterion, "update") and criterion.updates < int(100 * done):
            criterion.updates = int(100 * done) - 1
            criterion.update()
        return losses.sum() / len(boxes)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return boxes (N, 4) xyxy px and scores (N,) of one scene (1, 3, H, W), H and W multiples
        of 32.
        """
        found = self.detector(pixels)[0][0].float()
        if self.end2end:  # (MOST, 6): x, y, x, y, score, class
            return found[:, :4], found[:, 4]
        x, y, width, height, score = found[:, found[4] >= LOWEST]  # each (N,)
        boxes = torch.stack([x - width / 2, y - height / 2, x + width / 2, y + height / 2], 1)
        kept = nms(boxes, score, OVERLAP)[:MOST]
        return boxes[kept], score[kept]

    def by_head(self, pixels: Tensor) -> dict[str, Tensor]:
        """Return what each of the two heads finds in pictures (B, 3, H, W), before any merging.

        `one2many` wants its duplicates merged, `one2one` has learned to give none: (B, 4 + classes,
        M) each, middle and sides of the box in px, then the scores.
        """
        made, head = self.detector(pixels)[1], self.detector.model[-1]
        return {name: head._inference(made[name]).float() for name in ("one2many", "one2one")}

    def make_ready(self) -> None:
        """Fold the batch norms and drop the head that is not asked."""
        self.detector.fuse(verbose=False)


def _group_norm(channels: int) -> nn.GroupNorm:
    return nn.GroupNorm(16, channels)


def _resnet(levels: Sequence[int], extra: nn.Module | None) -> BackboneWithFPN:
    """Return ResNet-18 under a pyramid of its stages `levels` (1: stride 4, to 4: stride 32)."""
    return BackboneWithFPN(
        resnet18(weights=None),
        {f"layer{level}": str(number) for number, level in enumerate(levels)},
        [64 * 2 ** (level - 1) for level in levels],
        FPN_CHANNELS,
        extra,
        nn.BatchNorm2d,
    )


def _mobilenet() -> BackboneWithFPN:
    """Return MobileNetV3-Large under a pyramid of strides 4, 8, 16."""
    taken = {3: 24, 6: 40, 12: 112}  # block of the network: its channels
    layers = {str(block): str(number) for number, block in enumerate(taken)}
    features = mobilenet_v3_large(weights=None).features
    return BackboneWithFPN(
        features, layers, list(taken.values()), FPN_CHANNELS, LastLevelMaxPool(), nn.BatchNorm2d
    )


def _retinanet() -> Torchvision:
    """Anchors of 16 to 102 px at strides 8, 16, 32: aircraft are 12 to 92 px long at 1.25 m."""
    sizes = tuple(tuple(base * 2 ** (part / 3) for part in range(3)) for base in (16, 32, 64))
    anchors = Anchors(sizes, ((0.7, 1.0, 1.4),) * 3)
    head = RetinaNetHead(
        FPN_CHANNELS, anchors.num_anchors_per_location()[0], 1, norm_layer=_group_norm
    )
    backbone = _resnet((2, 3, 4), _NoExtra())
    return Torchvision(
        RetinaNet(
            backbone,
            1,
            anchor_generator=anchors,
            head=head,
            score_thresh=LOWEST,
            nms_thresh=OVERLAP,
            detections_per_img=MOST,
            topk_candidates=2 * MOST,
            _skip_resize=True,
        ),
        0,
    )


class _NoExtra(LastLevelMaxPool):
    """A pyramid without further levels: nothing is larger than the anchors of the last."""

    def forward(
        self, x: list[Tensor], y: list[Tensor], names: list[str]
    ) -> tuple[list[Tensor], list[str]]:
        return x, names


def _faster_rcnn(backbone: BackboneWithFPN) -> Torchvision:
    """Anchors of 12 to 136 px at strides 4, 8, 16 and the one pooled after it."""
    anchors = Anchors(((12, 17), (24, 34), (48, 68), (96, 136)), ((0.7, 1.0, 1.4),) * 4)
    return Torchvision(
        FasterRCNN(
            backbone,
            None,
            rpn_anchor_generator=anchors,
            box_head=TwoMLPHead(FPN_CHANNELS * 49, 256),
            box_predictor=FastRCNNPredictor(256, 2),
            box_score_thresh=LOWEST,
            box_nms_thresh=OVERLAP,
            box_detections_per_img=MOST,
            box_batch_size_per_image=128,
            rpn_pre_nms_top_n_train=500,
            rpn_post_nms_top_n_train=300,
            _skip_resize=True,
        ),
        1,
    )


RIVALS = {
    "retinanet": _retinanet,
    "faster-rcnn": lambda: _faster_rcnn(_resnet((1, 2, 3), LastLevelMaxPool())),
    "faster-rcnn-mobilenet": lambda: _faster_rcnn(_mobilenet()),
    "yolo26n": partial(Yolo, "yolo26n", False),
    "yolo26n-end2end": partial(Yolo, "yolo26n", True),
    "yolo26s": partial(Yolo, "yolo26s", False),
}
