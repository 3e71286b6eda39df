"""The rows that swiftdeploy finds through the entry point `swiftdeploy.models`. Imports no torch.

Parameters and multiply-accumulates (convolutions, linear layers, matrix products; batch 1 at `input_size`) are
counted by the tests. Published figures are other people's, each with its source; latencies of different devices
are not comparable.
"""

from __future__ import annotations

from swiftdeploy.spec import ModelSpec, Preprocessing, Published

_PACKAGE = "swiftdeploy_models"
_SWIFTFORMER_PAPER = "https://arxiv.org/abs/2303.15446"
_SWIFTFORMER_SOURCE = "SwiftFormer paper (ICCV 2023), table 2"
_IPHONE_14 = "iPhone 14, Neural Engine, iOS 16"
_TIMM_CSV = "timm results-imagenet.csv, 224 px, crop 0.95"


def _swiftformer(
    variant: str, *, parameters: int, macs: int, top1: float, milliseconds: float, timm_top: tuple[float, float]
) -> ModelSpec:
    return ModelSpec(
        name=f"swiftformer_{variant}",
        factory=f"{_PACKAGE}.swiftformer:swiftformer_{variant}",
        reader=f"{_PACKAGE}.swiftformer_reader:read",
        family="swiftformer",
        paper=_SWIFTFORMER_PAPER,
        parameters=parameters,
        macs=macs,
        attention=("sum", "token_l2"),
        published=(
            Published(metric="top1_percent", value=top1, source=_SWIFTFORMER_SOURCE),
            Published(metric="top1_percent", value=timm_top[0], source=_TIMM_CSV),
            Published(metric="top5_percent", value=timm_top[1], source=_TIMM_CSV),
            Published(metric="latency_ms", value=milliseconds, source=_SWIFTFORMER_SOURCE, device=_IPHONE_14),
        ),
    )


MODELS: tuple[ModelSpec, ...] = (
    _swiftformer("xs", parameters=3_475_360, macs=602_430_000, top1=75.7, milliseconds=0.7, timm_top=(75.600, 92.314)),
    _swiftformer("s", parameters=6_092_128, macs=984_600_000, top1=78.5, milliseconds=0.8, timm_top=(78.462, 93.980)),
    _swiftformer(
        "l1", parameters=12_057_920, macs=1_595_990_000, top1=80.9, milliseconds=1.1, timm_top=(80.906, 95.374)
    ),
    _swiftformer(
        "l3", parameters=28_494_736, macs=4_008_370_000, top1=83.0, milliseconds=1.9, timm_top=(82.994, 96.236)
    ),
    ModelSpec(
        name="swiftformer_digits",
        factory=f"{_PACKAGE}.swiftformer:swiftformer_digits",
        reader=f"{_PACKAGE}.swiftformer_reader:read",
        family="swiftformer",
        paper=_SWIFTFORMER_PAPER,
        input_size=32,
        num_classes=10,
        parameters=339_764,
        attention=("sum", "token_l2"),
        # The shipped images are 32 px already; grey, so the three channels share one mean and one std.
        preprocessing=Preprocessing(resize=32, crop=32, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3),
    ),
)
