"""Configs of transformers and timm, as those libraries write them."""

import pytest
from swiftdeploy_models.provenance import hf_preprocessing, origin_of, timm_preprocessing

from swiftdeploy.errors import CheckpointError


@pytest.mark.parametrize(
    ("config", "origin"),
    [
        (None, None),
        ({}, None),
        ({"anything": 1}, None),
        ({"preprocessor_config": {"size": 224}}, None),
        ({"model_type": "swiftformer"}, "hf"),
        ({"architectures": ["SwiftFormerForImageClassification"]}, "hf"),
        ({"architecture": "swiftformer_xs"}, "timm"),
        ({"pretrained_cfg": {"mean": [0, 0, 0]}, "model_type": "x"}, "timm"),
    ],
)
def test_origin(config, origin):
    assert origin_of(config) == origin


def test_hf_reads_preprocessor_config():
    stored = {
        "size": {"shortest_edge": 256},
        "do_center_crop": True,
        "crop_size": {"height": 224, "width": 224},
        "resample": 3,
        "image_mean": [0.1, 0.2, 0.3],
        "image_std": [0.4, 0.5, 0.6],
    }
    found = hf_preprocessing({"preprocessor_config": stored})
    assert (found.resize, found.crop, found.squash, found.interpolation) == (256, 224, False, "bicubic")
    assert (found.mean, found.std) == ((0.1, 0.2, 0.3), (0.4, 0.5, 0.6))
    squashed = hf_preprocessing({"preprocessor_config": {"size": {"height": 192, "width": 192}, "crop_size": 160}})
    assert (squashed.resize, squashed.crop, squashed.squash) == (192, 192, True)
    assert hf_preprocessing({"preprocessor_config": {"size": 128}}).resize == 128


def test_hf_defaults():
    found = hf_preprocessing(None)
    assert (found.resize, found.crop, found.squash, found.interpolation) == (224, 224, True, "bilinear")
    assert found.mean == (0.485, 0.456, 0.406)


def test_hf_refuses_other_filters():
    with pytest.raises(CheckpointError, match="filter 1"):
        hf_preprocessing({"preprocessor_config": {"resample": 1}})


def test_timm_reads_pretrained_cfg():
    stored = {
        "input_size": [3, 288, 288],
        "crop_pct": 0.9,
        "interpolation": "bilinear",
        "mean": [0, 0, 0],
        "std": [1] * 3,
    }
    found = timm_preprocessing({"pretrained_cfg": stored})
    assert (found.resize, found.crop, found.squash, found.interpolation) == (320, 288, False, "bilinear")
    assert (found.mean, found.std) == ((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))


def test_timm_defaults_and_refusal():
    assert timm_preprocessing(None).resize == 235
    assert timm_preprocessing(None, size=256, crop_pct=0.888).resize == 288
    with pytest.raises(CheckpointError, match="nearest"):
        timm_preprocessing({"pretrained_cfg": {"interpolation": "nearest"}})
