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
_TIMM_CSV = "timm results-imagenet.csv"


def _timm_accuracy(top1: float, top5: float) -> tuple[Published, ...]:
    return (
        Published(metric="top1_percent", value=top1, source=_TIMM_CSV),
        Published(metric="top5_percent", value=top5, source=_TIMM_CSV),
    )


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
            *_timm_accuracy(*timm_top),
            _on_iphone_14(milliseconds),
        ),
    )


def _mobilevit_v2(
    width: str, *, parameters: int, macs: int, timm_top: tuple[float, float], milliseconds: float | None = None
) -> ModelSpec:
    # The SwiftFormer paper measured three of the seven widths, on the same phone as its own models.
    latency = () if milliseconds is None else (_on_iphone_14(milliseconds),)
    return ModelSpec(
        name=f"mobilevitv2_{width}",
        factory=f"{_PACKAGE}.mobilevit_v2:mobilevitv2_{width}",
        reader=f"{_PACKAGE}.mobilevit_v2:read",
        family="mobilevit_v2",
        paper="https://arxiv.org/abs/2206.02680",
        input_size=256,
        parameters=parameters,
        macs=macs,
        # Trained on pixels in 0..1, without a mean or a std.
        preprocessing=Preprocessing(resize=288, crop=256, mean=(0.0,) * 3, std=(1.0,) * 3),
        published=(*_timm_accuracy(*timm_top), *latency),
    )


# Its table is one experiment: one phone, one converter, so these latencies compare with each other.
def _on_iphone_14(milliseconds: float) -> Published:
    return Published(metric="latency_ms", value=milliseconds, source=_SWIFTFORMER_SOURCE, device=_IPHONE_14)


MODELS: tuple[ModelSpec, ...] = (
    _swiftformer("xs", parameters=3_475_360, macs=602_434_988, top1=75.7, milliseconds=0.7, timm_top=(75.600, 92.314)),
    _swiftformer("s", parameters=6_092_128, macs=984_604_768, top1=78.5, milliseconds=0.8, timm_top=(78.462, 93.980)),
    _swiftformer(
        "l1", parameters=12_057_920, macs=1_595_988_480, top1=80.9, milliseconds=1.1, timm_top=(80.906, 95.374)
    ),
    _swiftformer(
        "l3", parameters=28_494_736, macs=4_008_367_872, top1=83.0, milliseconds=1.9, timm_top=(82.994, 96.236)
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
        macs=1_270_112,
        attention=("sum", "token_l2"),
        # The shipped images are 32 px already; grey, so the three channels share one mean and one std.
        preprocessing=Preprocessing(resize=32, crop=32, interpolation="bilinear", mean=(0.5,) * 3, std=(0.5,) * 3),
    ),
    _mobilevit_v2("050", parameters=1_370_593, macs=464_594_944, timm_top=(70.138, 89.920)),
    _mobilevit_v2("075", parameters=2_866_009, macs=1_027_980_288, timm_top=(75.608, 92.744)),
    _mobilevit_v2("100", parameters=4_901_841, macs=1_812_090_880, timm_top=(78.076, 94.170), milliseconds=1.7),
    _mobilevit_v2("125", parameters=7_478_089, macs=2_816_926_720, timm_top=(79.680, 94.858)),
    _mobilevit_v2("150", parameters=10_594_753, macs=4_042_487_808, timm_top=(80.370, 95.074), milliseconds=3.4),
    _mobilevit_v2("175", parameters=14_251_833, macs=5_488_774_144, timm_top=(80.860, 95.256)),
    _mobilevit_v2("200", parameters=18_449_329, macs=7_155_785_728, timm_top=(81.134, 95.362), milliseconds=5.0),
    ModelSpec(
        name="efficientnet_lite0",
        factory=f"{_PACKAGE}.efficientnet_lite:efficientnet_lite0",
        reader=f"{_PACKAGE}.efficientnet_lite:read",
        family="efficientnet_lite",
        paper="https://arxiv.org/abs/1905.11946",
        parameters=4_652_008,
        macs=385_187_552,
        # (x - 127) / 128. Both sides are resized at once, so the whole photograph is seen; the release's ImageNet
        # evaluation instead crops the centre (224 of 256 px, bicubic).
        preprocessing=Preprocessing(
            resize=224, crop=224, interpolation="bilinear", squash=True, mean=(127 / 255,) * 3, std=(128 / 255,) * 3
        ),
        published=(
            Published(metric="top1_percent", value=75.1, source="EfficientNet-Lite README (tensorflow/tpu)"),
            *_timm_accuracy(74.830, 92.172),
            Published(
                metric="latency_ms",
                value=12.0,
                source="EfficientNet-Lite README (tensorflow/tpu)",
                device="Pixel 4, CPU, 4 threads, fp32",
            ),
        ),
    ),
)
