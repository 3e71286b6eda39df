"""Where the images of a search come from: labelled as in an evaluation, or not at all."""

import numpy as np
import pytest
from PIL import Image

from swiftdeploy.errors import UsageError
from swiftdeploy.pipeline.album import find_images, read_album
from swiftdeploy.spec import Preprocessing

PREPROCESSING = Preprocessing(resize=8, crop=8)


@pytest.fixture
def pictures(tmp_path):
    """pictures("b/x.png", ...) writes one grey image a name, each of its own shade."""

    def write(*names):
        for shade, name in enumerate(names):
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (8, 8), (shade,) * 3).save(path)
        return tmp_path

    return write


def find(images, **changes):
    return find_images(images, **{"labels": "", "classes": 2, "needed": False, "limit": 9, "seed": 0, **changes})


def read(found):
    return read_album(found, (8, 8), PREPROCESSING)


def test_a_folder_of_classes(pictures):
    album = read(find(pictures("cat/2.png", "cat/1.png", "ant/9.png")))
    assert album.names == ("ant/9.png", "cat/1.png", "cat/2.png")
    assert album.labels.tolist() == [0, 1, 1]
    assert album.pixels[:, 0, 0, 0].tolist() == [2, 1, 0]
    assert album.pixels.shape == (3, 8, 8, 3)
    assert album.pixels.dtype == np.uint8


def test_a_plain_folder_has_no_labels(pictures):
    folder = pictures("b.png", "a.png")
    (folder / ".hidden").mkdir()
    album = read(find(folder))
    assert (album.names, album.labels) == (("a.png", "b.png"), None)
    with pytest.raises(UsageError, match="holds images and no class folders"):
        find(folder, needed=True)
    with pytest.raises(UsageError, match="holds images and no class folders"):
        find(folder, labels="sorted")


def test_a_table(pictures):
    folder = pictures("x.png", "y.png")
    (folder / "set.csv").write_text("file,label\ny.png,1\nx.png,0\n")
    assert read(find(folder / "set.csv")).labels.tolist() == [0, 1]
    with pytest.raises(UsageError, match="'1' is no class of the model"):
        find(folder / "set.csv", classes=1)


def test_names_of_classes_from_a_file(pictures):
    folder = pictures("images/b/1.png", "images/a/1.png")
    (folder / "names.txt").write_text("b\na\n")
    assert read(find(folder / "images", labels=str(folder / "names.txt"))).labels.tolist() == [1, 0]
    assert read(find(folder / "images", labels="sorted")).labels.tolist() == [0, 1]


def test_a_limit_takes_from_each_class(pictures):
    folder = pictures(*(f"{name}/{i}.png" for name in "ab" for i in range(6)))
    found = find(folder, limit=4)
    assert [example.label for example in found.examples] == [0, 0, 1, 1]
    assert found == find(folder, limit=4)
    assert read(found).digest != read(find(folder)).digest
    assert len(find(pictures(*(f"flat/{i}.png" for i in range(6))) / "flat", limit=4).examples) == 4
