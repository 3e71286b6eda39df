"""Oracles: torch's interpolate, grid_sample and affine_grid, ONNX Runtime's Resize, and the written grid formulas."""

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from onnx import TensorProto, helper

from swiftdeploy.mil.kernels import image_resizing as ops

ALL_MODES = ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS", "DEFAULT", "OFFSET_CORNERS", "UNALIGN_CORNERS")


def image(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def documented_grid(mode, size, count):
    """The formulas of the op reference, one point at a time."""
    points = []
    for i in range(count):
        if mode in ("STRICT_ALIGN_CORNERS", "ALIGN_CORNERS"):
            lone = (size - 1) / 2 if mode == "ALIGN_CORNERS" else 0.0
            point = i * (size - 1) / (count - 1) if count > 1 else lone
        elif mode == "DEFAULT":
            point = i * (size - size / count) / (count - 1) if count > 1 else 0.0
        elif mode == "OFFSET_CORNERS":
            delta = max(1, size - 1) / count
            point = 0.5 * delta + i * delta
        else:
            point = i * size / count + 0.5 * size / count - 0.5
        points.append(min(size - 1, max(0, point)))
    return points


def onnx_resize(x, sizes, roi=None, **attributes):
    """ONNX Runtime's Resize of `x` to `sizes`; `roi` is (starts, ends), one of each per axis."""
    weights = [helper.make_tensor("sizes", TensorProto.INT64, [len(sizes)], sizes)]
    if roi is not None:
        weights.append(helper.make_tensor("roi", TensorProto.FLOAT, [len(roi)], roi))
    node = helper.make_node("Resize", ["x", "roi" if roi else "", "", "sizes"], ["y"], **attributes)
    values = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in (("x", x.shape), ("y", None))
    ]
    graph = helper.make_graph([node], "resize", values[:1], values[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


@pytest.mark.parametrize("mode", ALL_MODES)
@pytest.mark.parametrize(("size", "count"), [(2, 5), (2, 6), (5, 3), (4, 4), (7, 1), (1, 3), (1, 1), (9, 13)])
def test_resize_bilinear_reads_at_the_documented_points(mode, size, count):
    # A ramp returns the position itself, since linear interpolation of a line is the line.
    ramp = torch.arange(size, dtype=torch.float32).reshape(1, 1, size)
    found = ops.resize_bilinear(ramp, 1, count, mode)
    np.testing.assert_allclose(found.reshape(-1), documented_grid(mode, size, count), atol=1e-6)


@pytest.mark.parametrize(("mode", "corners"), [("STRICT_ALIGN_CORNERS", True), ("UNALIGN_CORNERS", False)])
@pytest.mark.parametrize("target", [(3, 5), (14, 8), (7, 6), (1, 1)])
def test_resize_bilinear_equals_interpolate(mode, corners, target):
    x = image(2, 3, 7, 6)
    expected = F.interpolate(x, size=target, mode="bilinear", align_corners=corners)
    torch.testing.assert_close(ops.resize_bilinear(x, *target, mode), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("target", [(3, 5), (14, 9)])
def test_resize_bilinear_default_equals_onnx_asymmetric(target):
    x = image(1, 2, 7, 6)
    attributes = {"mode": "linear", "coordinate_transformation_mode": "asymmetric"}
    expected = onnx_resize(x, [1, 2, *target], **attributes)
    torch.testing.assert_close(ops.resize_bilinear(x, *target, "DEFAULT"), expected, atol=1e-5, rtol=1e-5)


def test_resize_bilinear_refuses_an_unknown_mode():
    with pytest.raises(ValueError, match="SIDEWAYS"):
        ops.resize_bilinear(image(1, 2, 2), 2, 2, "SIDEWAYS")


@pytest.mark.parametrize("scales", [(2, 3), (2.5, 1.5), (0.5, 0.75), (1, 1)])
@pytest.mark.parametrize("corners", [True, False])
def test_upsample_bilinear_equals_interpolate(scales, corners):
    x = image(2, 3, 10, 8)
    expected = F.interpolate(
        x, scale_factor=scales, mode="bilinear", align_corners=corners, recompute_scale_factor=True
    )
    torch.testing.assert_close(ops.upsample_bilinear(x, *scales, corners), expected, atol=1e-5, rtol=1e-5)


def test_upsample_bilinear_without_half_pixels_starts_at_the_first_pixel():
    x = torch.tensor([[[1.0, 2.0]]])
    found = ops.upsample_bilinear(x, 1, 3, align_corners=False, half_pixel_centers=False)
    np.testing.assert_allclose(found.reshape(-1), [1, 4 / 3, 5 / 3, 2, 2, 2], atol=1e-6)


def test_upsample_infers_its_size_in_float32():
    # 3 · float32(2.3333333) is 6.99… in double and 7 in float32; the declared shape was inferred in float32.
    scale = float(np.float32(7 / 3))
    assert ops.upsample_bilinear(image(1, 3, 3), scale, scale).shape == (1, 7, 7)
    assert ops.upsample_nearest_neighbor(image(1, 3, 3), scale, scale).shape == (1, 7, 7)


@pytest.mark.parametrize("scales", [(2, 3), (2.5, 1.5), (0.5, 0.75)])
def test_upsample_nearest_equals_interpolate(scales):
    x = image(2, 3, 10, 8)
    expected = F.interpolate(x, scale_factor=scales, mode="nearest", recompute_scale_factor=True)
    assert torch.equal(ops.upsample_nearest_neighbor(x, *scales), expected)


@pytest.mark.parametrize("target", [(3, 5), (14, 9), (10, 8), (1, 1)])
def test_resize_nearest_equals_torchs_exact_mode(target):
    x = image(2, 3, 10, 8)
    expected = F.interpolate(x, size=target, mode="nearest-exact")
    assert torch.equal(ops.resize_nearest_neighbor(x, *target), expected)
    whole = ops.resize(x, (1, *target), 2, "NEAREST_NEIGHBOR")
    assert torch.equal(whole, expected)


def test_resize_nearest_takes_the_pixel_nearest_to_the_modes_point():
    ramp = torch.arange(5, dtype=torch.float32).reshape(1, 5)
    found = ops.resize(ramp, (3,), 1, "NEAREST_NEIGHBOR", "OFFSET_CORNERS")
    assert found.tolist() == [[1.0, 2.0, 3.0]]  # points 0.67, 2, 3.33


def test_resize_works_on_any_number_of_axes():
    x = image(1, 2, 3, 4, 5)
    found = ops.resize(x, (9, 6, 0, 10), 3, "LINEAR", "UNALIGN_CORNERS")
    expected = F.interpolate(x, size=(6, 4, 10), mode="trilinear", align_corners=False)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


def test_resize_keeps_the_dtype_of_integers_and_refuses_unknown_modes():
    x = torch.tensor([[0, 10]], dtype=torch.int32)
    assert ops.resize(x, (4,), 1).dtype is torch.int32
    assert ops.resize(x, (4,), 1).tolist() == [[0, 5, 10, 10]]
    with pytest.raises(ValueError, match="CUBIC"):
        ops.resize(x, (4,), 1, "CUBIC")


def test_crop_is_a_slice():
    x = image(1, 2, 6, 7)
    assert torch.equal(ops.crop(x, (1, 2), (0, 3)), x[:, :, 1:4, 0:4])


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("padding", ["constant", "border", "reflection"])
@pytest.mark.parametrize("sampling", ["bilinear", "nearest"])
def test_resample_equals_grid_sample(padding, corners, sampling):
    x = image(2, 3, 5, 4)
    grid = image(2, 6, 7, 2, seed=1) * 1.5
    torch_padding = "zeros" if padding == "constant" else padding
    ours = "symmetric" if padding == "reflection" and not corners else padding
    expected = F.grid_sample(x, grid, mode=sampling, padding_mode=torch_padding, align_corners=corners)
    found = ops.resample(x, grid, sampling, ours, 0.0, "normalized_minus_one_to_one", corners)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def test_resample_blends_the_padding_value_per_neighbour():
    x = torch.tensor([[[[11.0, 22.0], [33.0, 44.0]]]])
    # Half a pixel above the first one: half of it is padding.
    found = ops.resample(x, torch.tensor([[[[0.0, -0.5]]]]), "bilinear", "constant", 6.0, "unnormalized", True)
    assert found.item() == pytest.approx((11.0 + 6.0) / 2)


def test_resample_ignores_a_neighbour_of_weight_zero():
    x = torch.tensor([[[[1.0, float("inf")]]]])
    found = ops.resample(x, torch.tensor([[[[0.0, 0.0]]]]), "bilinear", "border", 0.0, "unnormalized", True)
    assert found.item() == 1.0


@pytest.mark.parametrize(
    ("mode", "corners", "expected"),
    [
        ("unnormalized", True, 1.0),
        ("normalized_zero_to_one", True, 3.0),
        ("normalized_zero_to_one", False, 3.0),
        ("normalized_minus_one_to_one", False, 3.0),
    ],
)
def test_resample_coordinate_modes(mode, corners, expected):
    row = torch.arange(4.0).reshape(1, 1, 1, 4)
    found = ops.resample(row, torch.tensor([[[[1, 0]]]], dtype=torch.int32), "nearest", "border", 0.0, mode, corners)
    assert found.item() == expected


@pytest.mark.parametrize("corners", [True, False])
@pytest.mark.parametrize("matrices", [1, 2])
def test_affine_equals_affine_grid(corners, matrices):
    x = image(2, 3, 5, 4)
    theta = image(matrices, 6, seed=2)
    grid = F.affine_grid(theta.reshape(-1, 2, 3).expand(2, 2, 3), (2, 3, 6, 7), align_corners=corners)
    expected = F.grid_sample(x, grid, align_corners=corners)
    found = ops.affine(x, theta, 6, 7, "bilinear", "constant", 0.0, "normalized_minus_one_to_one", corners)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def boxed(x, boxes, **options):
    return ops.crop_resize_ios17(x, torch.tensor(boxes), torch.zeros(len(boxes), dtype=torch.int32), **options)


def test_crop_resize_of_the_whole_image_is_resize_bilinear():
    x = image(1, 2, 6, 5)
    for mode in ALL_MODES:
        found = boxed(x, [[0.0, 0.0, 5.0, 4.0]], target_height=4, target_width=7, sampling_mode=mode)
        torch.testing.assert_close(found, ops.resize_bilinear(x, 4, 7, mode), atol=1e-5, rtol=1e-5)


def test_crop_resize_equals_onnx_tf_crop_and_resize():
    x = image(1, 2, 6, 5)
    roi = (0.1, 0.3, 1.3, 0.9)  # runs out of the image at the bottom
    expected = onnx_resize(
        x,
        [1, 2, 3, 4],
        roi=[0, 0, roi[0], roi[1], 1, 1, roi[2], roi[3]],
        mode="linear",
        coordinate_transformation_mode="tf_crop_and_resize",
        extrapolation_value=7.0,
    )
    options = {"target_height": 3, "target_width": 4, "normalized_coordinates": True, "pad_value": 7.0}
    found = boxed(x, [list(roi)], sampling_mode="ALIGN_CORNERS", **options)
    assert (found == 7.0).any()
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("mode", "box"),
    [
        ("CORNERS_HEIGHT_FIRST", [1.0, 2.0, 3.0, 4.0]),
        ("CORNERS_WIDTH_FIRST", [2.0, 1.0, 4.0, 3.0]),
        ("CENTER_SIZE_HEIGHT_FIRST", [2.0, 3.0, 2.0, 2.0]),
        ("CENTER_SIZE_WIDTH_FIRST", [3.0, 2.0, 2.0, 2.0]),
    ],
)
def test_crop_resize_box_conventions(mode, box):
    x = image(1, 2, 6, 5)
    options = {"target_height": 3, "target_width": 3, "sampling_mode": "ALIGN_CORNERS"}
    torch.testing.assert_close(boxed(x, [box], box_coordinate_mode=mode, **options), x[:, :, 1:4, 2:5])


def test_crop_resize_inverted_box_walks_backwards_and_scales():
    x = image(1, 1, 6, 5)
    options = {"target_height": 3, "target_width": 3, "sampling_mode": "ALIGN_CORNERS", "spatial_scale": 0.5}
    found = boxed(x, [[6.0, 8.0, 2.0, 4.0]], **options)
    torch.testing.assert_close(found, x[:, :, 1:4, 2:5].flip(2, 3))


def test_crop_resize_before_ios17_cuts_every_image_or_the_named_one():
    x = image(2, 3, 6, 5)
    boxes = torch.tensor([[0.0, 0.0, 2.0, 2.0], [1.0, 1.0, 3.0, 3.0]])
    options = {"target_height": 3, "target_width": 3, "sampling_mode": "ALIGN_CORNERS"}
    every = ops.crop_resize(x, boxes.reshape(2, 1, 4, 1, 1), **options)
    assert every.shape == (2, 2, 3, 3, 3)
    torch.testing.assert_close(every[1], x[:, :, 1:4, 1:4])
    named = torch.cat((torch.tensor([[1.0], [0.0]]), boxes), dim=1).reshape(2, 1, 5, 1, 1)
    found = ops.crop_resize(x, named, **options)
    assert found.shape == (2, 1, 3, 3, 3)
    torch.testing.assert_close(found[0, 0], x[1, :, 0:3, 0:3])


def test_crop_resize_defaults_and_a_wrong_image_index():
    x = image(2, 1, 4, 4)
    boxes = torch.tensor([[0.0, 0.0, 3.0, 3.0]] * 2)
    options = {"target_height": 4, "target_width": 4, "sampling_mode": "ALIGN_CORNERS"}
    torch.testing.assert_close(ops.crop_resize_ios17(x, boxes, **options), x)
    with pytest.raises(IndexError):
        ops.crop_resize_ios17(x, boxes, torch.tensor([0, 2]), **options)
