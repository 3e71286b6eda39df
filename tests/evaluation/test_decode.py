"""Files of every kind to 8-bit pixels; Pillow's and numpy's own reading of the same pixels is the oracle."""

import numpy as np
import pytest
from PIL import ExifTags, Image, ImageOps
from transformers.image_utils import load_image

from swiftdeploy.evaluation.decode import UnreadableImage, read_header, read_pixels

GENERATOR = np.random.Generator(np.random.PCG64(1))
COLOURS = GENERATOR.integers(0, 256, (9, 14, 3), dtype=np.uint8)


def written(tmp_path, name, image, **options):
    image.save(tmp_path / name, **options)
    return tmp_path / name


@pytest.mark.parametrize("mode", ["RGB", "L", "1", "P", "RGBA", "LA", "CMYK", "YCbCr"])
@pytest.mark.parametrize("channels", [1, 3])
def test_every_mode_becomes_what_training_saw(tmp_path, mode, channels):
    """TIFF holds them all; torchvision and timm call `convert` on what Pillow opens."""
    path = written(tmp_path, "x.tiff", Image.fromarray(COLOURS).convert(mode))
    wanted = "L" if channels == 1 else "RGB"
    with Image.open(path) as opened:
        assert opened.mode == mode
        expected = np.asarray(opened.convert(wanted))
    found = read_pixels(path, channels=channels)
    assert found.mode == wanted
    if mode == "P" and channels == 1:  # through RGB, since a grey palette entry need not be grey
        expected = np.asarray(Image.fromarray(COLOURS).convert("P").convert("RGB").convert("L"))
    assert np.array_equal(np.asarray(found), expected)


@pytest.mark.parametrize("suffix", ["png", "bmp", "jpg", "webp", "tif"])
def test_every_kind_of_file(tmp_path, suffix):
    path = written(tmp_path, f"x.{suffix}", Image.fromarray(COLOURS))
    with Image.open(path) as opened:
        expected = np.asarray(opened.convert("RGB"))
    assert np.array_equal(np.asarray(read_pixels(path, channels=3)), expected)
    assert read_header(path).size == (14, 9)


def test_the_content_decides_not_the_suffix(tmp_path):
    path = written(tmp_path, "x.JPEG", Image.fromarray(COLOURS), format="PNG")
    assert np.array_equal(np.asarray(read_pixels(path, channels=3)), COLOURS)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_keeps_its_high_byte(tmp_path, suffix):
    values = GENERATOR.integers(0, 1 << 16, (5, 7), dtype=np.uint16)
    path = written(tmp_path, f"x.{suffix}", Image.fromarray(values))
    found = np.asarray(read_pixels(path, channels=3))
    assert np.array_equal(found, np.repeat((values // 256)[:, :, None], 3, axis=2))


@pytest.mark.parametrize("transparency", [3, bytes(range(256))])
def test_a_transparent_palette_keeps_its_colours_and_warns_of_nothing(tmp_path, transparency):
    image = Image.fromarray(COLOURS).quantize(200)
    path = written(tmp_path, "x.png", image, transparency=transparency)
    assert np.array_equal(np.asarray(read_pixels(path, channels=3)), np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("values", [np.float32([[0.5]]), np.int32([[-1]]), np.int32([[1 << 20]])])
def test_pixels_that_are_no_colours(tmp_path, values):
    with pytest.raises(UnreadableImage, match=r"x\.tif is no readable image: its pixels"):
        read_pixels(written(tmp_path, "x.tif", Image.fromarray(values)), channels=3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_is_ignored_as_torchvision_and_timm_do_or_applied_as_hugging_face_does(tmp_path, orientation):
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    path = written(tmp_path, "x.jpg", Image.fromarray(COLOURS), exif=exif)
    with Image.open(path) as opened:
        bare = np.asarray(opened.convert("RGB"))
        turned = np.asarray(ImageOps.exif_transpose(opened).convert("RGB"))
    assert np.array_equal(np.asarray(read_pixels(path, channels=3)), bare)
    applied = np.asarray(read_pixels(path, channels=3, exif="apply"))
    assert np.array_equal(applied, turned)
    assert np.array_equal(applied, np.asarray(load_image(str(path))))
    assert read_header(path).turned == (orientation > 1)


def broken(tmp_path, kind):
    path = written(tmp_path, "x.png", Image.fromarray(np.repeat(COLOURS, 20, axis=0)))
    content = path.read_bytes()
    path.write_bytes({"empty": b"", "text": b"no image", "truncated": content[: len(content) // 2]}[kind])
    return path


@pytest.mark.parametrize("kind", ["empty", "text"])
def test_a_broken_header(tmp_path, kind):
    path = broken(tmp_path, kind)
    for read in (read_header, lambda p: read_pixels(p, channels=3)):
        with pytest.raises(UnreadableImage, match=r"x\.png is no readable image: it is no JPEG") as caught:
            read(path)
        assert caught.value.exit_code == 2


def test_a_truncated_image_has_a_header_and_no_pixels(tmp_path):
    path = broken(tmp_path, "truncated")
    assert read_header(path).size == (14, 180)
    with pytest.raises(UnreadableImage, match="no readable image"):
        read_pixels(path, channels=3)


def test_a_file_that_is_gone(tmp_path):
    with pytest.raises(UnreadableImage, match="No such file"):
        read_header(tmp_path / "x.png")


def test_a_large_photograph_warns_of_nothing(tmp_path, monkeypatch):
    path = written(tmp_path, "x.png", Image.fromarray(COLOURS))
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    assert read_pixels(path, channels=3).size == (14, 9)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    with pytest.raises(UnreadableImage, match="exceeds limit"):
        read_pixels(path, channels=3)
