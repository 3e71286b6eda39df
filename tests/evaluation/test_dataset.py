"""Folders and tables of labelled images, and everything that can be wrong with them."""

import unicodedata

import numpy as np
import pytest
from PIL import ExifTags, Image

from swiftdeploy.errors import UsageError
from swiftdeploy.evaluation.classes import Classes
from swiftdeploy.evaluation.dataset import DataSet, Example, checked, read_csv, read_folder, subset
from swiftdeploy.evaluation.decode import UnreadableImage, read_pixels

NAMES = ("cat", "dog", "tree frog")


@pytest.fixture
def folder(tmp_path):
    """folder("cat/1.png", ...) holds these files; images are images."""

    def make(*files):
        for name in files:
            path = tmp_path / "set" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix in (".png", ".jpg"):
                Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(path)
            else:
                path.write_text("x")
        return tmp_path / "set"

    return make


def rows(dataset):
    return [(example.name, example.label) for example in dataset.examples]


def test_folders_are_found_by_name_whatever_their_order(folder):
    path = folder("tree frog/b.png", "tree frog/a.png", "cat/deep/er/1.jpg", ".hidden/x.png", "cat/._1.png", "top.txt")
    found = read_folder(path, Classes(count=3, names=NAMES))
    assert rows(found) == [("cat/deep/er/1.jpg", 0), ("tree frog/a.png", 2), ("tree frog/b.png", 2)]
    assert (found.names, found.notes) == (NAMES, ())
    assert found.examples[0].path == path / "cat/deep/er/1.jpg"


def test_an_accent_is_an_accent_on_every_system(folder):
    path = folder(unicodedata.normalize("NFD", "käfer") + "/1.png")
    classes = Classes(count=2, names=("x", unicodedata.normalize("NFC", "käfer")))
    assert [label for _, label in rows(read_folder(path, classes))] == [1]


def test_without_labels_sorted_order_is_taken_and_said(folder):
    found = read_folder(folder("b/1.png", "a/1.png", "c/1.png"), Classes(count=3))
    assert rows(found) == [("a/1.png", 0), ("b/1.png", 1), ("c/1.png", 2)]
    assert found.names == ("a", "b", "c")
    assert found.notes == ("folders in sorted order are taken for the classes: a is 0, c is 2",)


def test_sorted_order_can_be_asked_for_over_labels(folder):
    path = folder("n02/1.png", "n01/1.png", "n03/1.png")
    assert rows(read_folder(path, Classes(count=3, names=NAMES, in_order=True)))[0] == ("n01/1.png", 0)
    with pytest.raises(UsageError, match=r"3 of 3 class folders in .*set are no label") as caught:
        read_folder(path, Classes(count=3, names=NAMES))
    assert "--labels sorted" in caught.value.hint


def test_numbers_have_two_orders(folder):
    path = folder(*(f"{i}/1.png" for i in range(11)))
    with pytest.raises(
        UsageError, match="order of the class folders is not clear: 0, 1, 10, 2, 3 and 6 more"
    ) as caught:
        read_folder(path, Classes(count=11))
    assert "--labels" in caught.value.hint
    assert rows(read_folder(path, Classes(count=11, in_order=True)))[2] == ("10/1.png", 2)
    names = tuple(map(str, range(11)))
    assert rows(read_folder(path, Classes(count=11, names=names)))[2] == ("10/1.png", 10)


def test_ten_numbers_have_one(folder):
    assert len(rows(read_folder(folder(*(f"{i}/1.png" for i in range(10))), Classes(count=10)))) == 10


def test_other_files_are_said(folder):
    found = read_folder(folder("a/1.png", "a/2.heic", "b/1.png", "b/notes"), Classes(count=2))
    assert found.notes[1] == "files of other kinds are passed over: .heic, notes"


@pytest.mark.parametrize(
    ("files", "classes", "fact", "hint"),
    [
        ((), {"count": 2}, "is no folder", "CSV|csv"),
        (("1.png",), {"count": 2}, "holds images and no class folders", "one subfolder a class"),
        (("notes.txt",), {"count": 2}, "holds no class folders", "one subfolder a class"),
        (("a/1.png", "b/x.txt"), {"count": 2}, "class folder .*b holds no images", ".png"),
        (("a/1.png", "b/1.png"), {"count": 3}, "has 2 class folders, the model 3 classes", "--labels FILE"),
        (("a/1.png", "b/1.png"), {"count": 3, "in_order": True, "names": NAMES}, "2 class folders", "--labels"),
        (("cat/1.png", "dgo/1.png"), {"count": 3, "names": NAMES}, "1 of 2 class folders .* no label.*: dgo", "dog"),
        (("cat/1.png", "zzz/1.png"), {"count": 3, "names": NAMES}, "no label of the model: zzz", "begin with cat"),
    ],
)
def test_a_folder_that_does_not_fit(folder, files, classes, fact, hint):
    with pytest.raises(UsageError, match=fact) as caught:
        read_folder(folder(*files), Classes(**classes))
    assert caught.value.exit_code == 2
    assert any(word in caught.value.hint for word in hint.split("|"))


def test_labels_that_do_not_match_the_class_count():
    with pytest.raises(UsageError, match="3 labels for a model of 4 classes"):
        Classes(count=4, names=NAMES)


def table(folder, text):
    path = folder("a/1.png", "a/2.png") / "set.csv"
    path.write_bytes(text.encode())
    return path


@pytest.mark.parametrize(
    "text",
    [
        "file,label\na/2.png,tree frog\na/1.png,0\n",
        "\ufefffile,label\r\na/2.png,2\r\na/1.png,cat\r\n",
        'note,label,file\n"x, ""y""",tree frog,a/2.png\n,cat, a/1.png\n',
        "note,file,note,label\nx,a/2.png,y,2\nx,a/1.png,,0\n",
    ],
)
def test_a_table_of_names_and_indexes(folder, text):
    found = read_csv(table(folder, text), Classes(count=3, names=NAMES))
    assert rows(found) == [("a/1.png", 0), ("a/2.png", 2)]


def test_a_name_comes_before_an_index(folder):
    path = table(folder, "file,label\na/1.png,1\na/2.png,0\n")
    assert [label for _, label in rows(read_csv(path, Classes(count=3, names=("1", "x", "y"))))] == [0, 0]
    assert [label for _, label in rows(read_csv(path, Classes(count=3)))] == [1, 0]


def test_a_path_may_be_absolute(folder, tmp_path):
    path = table(folder, "file,label\n")
    other = tmp_path / "elsewhere.csv"
    other.write_text(f"file,label\n{path.parent / 'a/1.png'},1\n")
    assert rows(read_csv(other, Classes(count=2))) == [(str(path.parent / "a/1.png"), 1)]


@pytest.mark.parametrize(
    ("text", "fact"),
    [
        ("", "lacks the column 'file'"),
        ("file,class\na/1.png,0\n", "lacks the column 'label'"),
        ("file,label,label\na/1.png,0,1\n", "has several columns 'label'"),
        ("file,label,file\na/1.png,0,a/1.png\n", "has several columns 'file'"),
        ("file,label\n", "lists no images"),
        ("file,label\na/1.png,0\na/3.png,0\n", "row 3: a/3.png does not exist"),
        ("file,label\na/1.png,0\na/1.png,1\n", "row 3: a/1.png is listed twice"),
        ("file,label\na/1.png,0\na/./1.png,1\n", "row 3: a/./1.png is listed twice"),
        ("file,label\na/1.png,dgo\n", "row 2: 'dgo' is no class"),
        ("file,label\na/1.png,3\n", "row 2: '3' is no class"),
        ("file,label\na/1.png,-1\n", "row 2: '-1' is no class"),
        ("file,label\na/1.png,\n", "row 2 has no label"),
        ("file,label\na/1.png\n", "row 2 has no label"),
        ("file,label\n,0\n", "row 2 has no file"),
        ('file,label\n"a/1.png,0\n', "row "),
    ],
)
def test_a_table_that_is_wrong(folder, text, fact):
    with pytest.raises(UsageError, match=fact) as caught:
        read_csv(table(folder, text), Classes(count=3, names=NAMES))
    assert "set.csv" in caught.value.fact


def test_a_table_that_is_no_text(folder):
    path = table(folder, "")
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UsageError, match="it is no UTF-8 text"):
        read_csv(path, Classes(count=2))


def test_broken_headers_stop_or_are_skipped_and_named(folder):
    path = folder("a/1.png", "a/2.png", "b/1.png")
    (path / "a/2.png").write_bytes(b"")
    found = read_folder(path, Classes(count=2))
    with pytest.raises(UnreadableImage, match=r"a/2\.png is no readable image") as caught:
        checked(found, skip=False)
    assert "--skip-unreadable" in caught.value.hint
    left, skipped, turned = checked(found, skip=True)
    assert rows(left) == [("a/1.png", 0), ("b/1.png", 1)]
    assert [(s.name, s.reason[:13]) for s in skipped] == [("a/2.png", "it is no JPEG")]
    assert turned == 0
    for name in ("a/1.png", "b/1.png"):
        (path / name).write_bytes(b"")
    with pytest.raises(UsageError, match="no image of the data set is readable"):
        checked(found, skip=True)


def test_turned_images_are_counted(folder):
    path = folder("a/1.jpg", "a/2.jpg", "a/3.tif")
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    Image.new("RGB", (4, 4)).save(path / "a/1.jpg", exif=exif)
    # Pillow itself turns a TIFF, whoever opens it: nothing is left to be said, or done.
    Image.new("RGB", (4, 8)).save(path / "a/3.tif", exif=exif)
    assert read_pixels(path / "a/3.tif", channels=3).size == (8, 4)
    assert read_pixels(path / "a/3.tif", channels=3, exif="apply").size == (8, 4)
    assert checked(read_folder(path, Classes(count=1)), skip=False)[2] == 1


def test_the_digest_covers_names_labels_and_contents(folder):
    path = folder("a/1.png", "b/1.png")
    first = read_folder(path, Classes(count=2)).digest()
    assert read_folder(path, Classes(count=2)).digest() == first
    other = read_folder(path, Classes(count=3, names=("b", "a", "c"))).digest()
    content = (path / "a/1.png").read_bytes()
    (path / "a/1.png").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))  # of the same size
    assert len({first, other, read_folder(path, Classes(count=2)).digest()}) == 3


def synthetic(counts):
    examples = [
        Example(name=f"{label}/{i:04d}.png", path=None, label=label) for label, n in counts.items() for i in range(n)
    ]
    return DataSet(examples=tuple(examples), names=())


@pytest.mark.parametrize("limit", [1, 7, 10, 99, 100, 149])
def test_a_subset_gives_each_class_its_share(limit):
    whole = synthetic({0: 100, 1: 40, 2: 10})
    chosen = subset(whole, limit, 0)
    assert len(chosen.examples) == limit
    assert set(chosen.examples) < set(whole.examples)
    assert list(chosen.examples) == sorted(chosen.examples, key=lambda e: e.name)
    for label, count in {0: 100, 1: 40, 2: 10}.items():
        assert abs(sum(e.label == label for e in chosen.examples) - limit * count / 150) < 1


def test_a_seed_decides():
    whole = synthetic({0: 100, 1: 100})
    assert subset(whole, 20, 1) == subset(whole, 20, 1) != subset(whole, 20, 2)
    assert set(subset(whole, 20, 1).examples) < set(subset(whole, 40, 1).examples)
    assert subset(whole, 200, 1) is whole
    shuffled = DataSet(examples=whole.examples[::-1], names=())
    assert subset(shuffled, 20, 1) == subset(whole, 20, 1)
