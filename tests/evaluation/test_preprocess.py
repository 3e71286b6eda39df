"""Resizing and cropping to the pixel, against torchvision's definition written out and Hugging Face's own code."""

import numpy as np
import pytest
import torch
from PIL import Image
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from swiftdeploy.evaluation.preprocess import fit, resized_size
from swiftdeploy.parity.samples import to_input
from swiftdeploy.spec import Preprocessing

SIZES = [(40, 40), (64, 48), (48, 64), (37, 91), (101, 53), (33, 32), (32, 33), (20, 200), (15, 17), (7, 5)]
RESAMPLE = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}


def picture(size, mode="RGB"):
    generator = np.random.Generator(np.random.PCG64(size[0] * 1000 + size[1]))
    small = generator.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC).convert(mode)


def torchvision_pixels(image, resize, crop, resample):
    """transforms.Resize(resize) and CenterCrop(crop) on a PIL image, as their source states them."""
    short, long = sorted(image.size)
    new_short, new_long = resize, int(resize * long / short)
    width, height = (new_short, new_long) if image.width <= image.height else (new_long, new_short)
    image = image.resize((width, height), resample)
    if crop > width or crop > height:
        left, top = ((crop - side) // 2 if crop > side else 0 for side in (width, height))
        right, bottom = ((crop - side + 1) // 2 if crop > side else 0 for side in (width, height))
        padded = Image.new(image.mode, (width + left + right, height + top + bottom))
        padded.paste(image, (left, top))
        image, width, height = padded, padded.width, padded.height
        if (width, height) == (crop, crop):
            return np.asarray(image)
    top, left = round((height - crop) / 2.0), round((width - crop) / 2.0)
    return np.asarray(image.crop((left, top, left + crop, top + crop)))


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize(("resize", "crop"), [(32, 32), (36, 32), (37, 32), (35, 31), (28, 32), (27, 32)])
@pytest.mark.parametrize("size", SIZES)
def test_torchvisions_definition(size, resize, crop, interpolation):
    preprocessing = Preprocessing(resize=resize, crop=crop, interpolation=interpolation)
    found = fit(picture(size), (crop, crop), preprocessing)
    assert found.dtype == np.uint8
    assert np.array_equal(found, torchvision_pixels(picture(size), resize, crop, RESAMPLE[interpolation]))


@pytest.mark.parametrize("size", SIZES)
def test_grey(size):
    preprocessing = Preprocessing(resize=36, crop=32, mean=(0.5,), std=(0.5,))
    expected = torchvision_pixels(picture(size, "L"), 36, 32, RESAMPLE["bicubic"])
    assert np.array_equal(fit(picture(size, "L"), (32, 32), preprocessing), expected[:, :, None])


@pytest.mark.parametrize("squash", [True, False])
@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(40, 40), (64, 48), (48, 64), (96, 40)])
def test_hugging_faces_processor(size, interpolation, squash):
    """Where offsets are whole: theirs round down, torchvision's half to even."""
    shape = {"height": 32, "width": 32} if squash else {"shortest_edge": 40}
    cropping = {} if squash else {"do_center_crop": True, "crop_size": {"height": 32, "width": 32}}
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    processor = ViTImageProcessorPil(
        size=shape, resample=RESAMPLE[interpolation], image_mean=mean, image_std=std, **cropping
    )
    expected = processor(picture(size), return_tensors="np")["pixel_values"]
    preprocessing = Preprocessing(
        resize=32 if squash else 40, crop=32, squash=squash, interpolation=interpolation, mean=mean, std=std
    )
    found = to_input([fit(picture(size), (32, 32), preprocessing)], preprocessing, "tensor")
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_normalising_is_to_tensor_and_normalize_to_the_bit():
    preprocessing = Preprocessing(resize=36, crop=32)
    pixels = fit(picture((50, 40)), (32, 32), preprocessing)
    tensor = torch.from_numpy(pixels.transpose(2, 0, 1).copy()).to(torch.float32).div(255)
    mean, std = (torch.tensor(v).view(-1, 1, 1) for v in (preprocessing.mean, preprocessing.std))
    expected = tensor.sub_(mean).div_(std).numpy()
    assert np.array_equal(to_input([pixels], preprocessing, "tensor")[0], expected)


@pytest.mark.parametrize(
    ("image", "size", "expected"),
    [
        ((500, 375), (224, 224), (341, 256)),  # torchvision's own case: 256 * 500 / 375 = 341.3
        ((375, 500), (224, 224), (256, 341)),
        ((500, 375), (192, 192), (292, 219)),  # another size keeps the margin: int(192 * 256 / 224) = 219
        ((500, 375), (320, 224), (487, 365)),  # not square: both sides reach their target
        ((900, 375), (224, 448), (614, 256)),
    ],
)
def test_sizes(image, size, expected):
    assert resized_size(image, size, Preprocessing(resize=256, crop=224)) == expected


def test_a_squash_ignores_the_images_shape():
    squash = Preprocessing(resize=224, crop=224, squash=True, interpolation="bilinear")
    assert resized_size((500, 100), (224, 224), squash) == (224, 224)
    expected = np.asarray(picture((64, 20)).resize((224, 224), Image.Resampling.BILINEAR))
    assert np.array_equal(fit(picture((64, 20)), (224, 224), squash), expected)


def test_a_squash_with_a_margin_is_cropped():
    squash = Preprocessing(resize=40, crop=32, squash=True)
    expected = np.asarray(picture((64, 20)).resize((40, 40), Image.Resampling.BICUBIC))[4:36, 4:36]
    assert np.array_equal(fit(picture((64, 20)), (32, 32), squash), expected)
