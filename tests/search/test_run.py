"""A recipe found on training images, held against the held-out ones; and what a search refuses.

The oracles are the public doors: a package that is exported from the recipe file and run by the reference runtime, and
eager PyTorch.
"""

import importlib.util
import json
import sys
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import torch
from PIL import Image

from swiftdeploy import bundle, mil
from swiftdeploy.errors import BudgetError, ConversionError, DependencyError, UsageError
from swiftdeploy.evaluation.decode import UnreadableImage
from swiftdeploy.pipeline import compressed, variants
from swiftdeploy.pipeline.export import export
from swiftdeploy.pipeline.subject import load_subject, prepare
from swiftdeploy.recipe import Override, Recipe, read_recipe
from swiftdeploy.schema import load_schema, make_schema
from swiftdeploy.search import candidates, trials
from swiftdeploy.search import run as search
from swiftdeploy.search.run import SearchRequest
from swiftdeploy.searches import Goal, SearchReport, read_report, text
from swiftdeploy.spec import ExportOptions

FP16_BYTES = 802_973
THIRD = FP16_BYTES // 3
CANDIDATES = ("pal4", "pal3", "pal2")
IMAGES, PROBE = 206, 8
IOS18 = ExportOptions(min_ios=18)


@pytest.fixture(scope="session")
def split():
    """(pixels (N, 32, 32) uint8, classes) of the digits that the checkpoint was trained on, and of those held out."""
    pytest.importorskip("sklearn")
    script = Path(__file__).parents[2] / "benchmarks" / "train_digits.py"
    spec = importlib.util.spec_from_file_location("train_digits", script)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    pixels, labels = module.images()
    return [(pixels[part], labels[part]) for part in module.split(labels)]


@pytest.fixture(scope="session")
def training(split, tmp_path_factory):
    """Every seventh of the images that the checkpoint was trained on, in class folders."""
    (pixels, labels), _ = split
    folder = tmp_path_factory.mktemp("training")
    for index in range(0, len(labels), 7):
        file = folder / str(labels[index]) / f"{index:04d}.png"
        file.parent.mkdir(exist_ok=True)
        Image.fromarray(pixels[index]).save(file)
    return folder


@pytest.fixture
def asked(digits, training, tmp_path):
    """asked(goal, ...) is a request for the digits."""

    def request(goal, **changes):
        plain = {
            "model": "swiftformer_digits",
            "checkpoint": str(digits / "swiftformer_digits.pth"),
            "attention": "token_l2",
            "images": training,
            "destination": tmp_path / "found",
            "candidates": CANDIDATES,
            "probe": PROBE,
            "options": IOS18,
        }
        return SearchRequest(goal=goal, **{**plain, **changes})

    return request


@pytest.fixture(scope="session")
def searched(shared, digits, training):
    """The folder of a search for a third of fp16's size."""

    def make(folder):
        request = SearchRequest(
            model="swiftformer_digits",
            checkpoint=str(digits / "swiftformer_digits.pth"),
            attention="token_l2",
            images=training,
            destination=folder / "found",
            goal=Goal(target_bytes=THIRD),
            candidates=CANDIDATES,
            probe=PROBE,
            options=IOS18,
        )
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(trials, "SPREAD", 3)  # a curve of three does for a test
            search.search(request)

    return shared("searched", make) / "found"


@pytest.fixture(scope="session")
def report(searched):
    return read_report(searched / "sensitivity.json")


@pytest.fixture(scope="session")
def exported(shared, searched, digits_request):
    """A verified bundle of what the recipe file that the search wrote makes."""

    def make(folder):
        recipe = read_recipe(searched / "mixed.toml")
        export(digits_request(folder / "bundle", precisions=("mixed.toml",), recipes=(recipe,), min_ios=18))

    return shared("searched-export", make) / "bundle"


# --- what was promised of the digits, on images that neither training nor search has seen (fp16, int8: compressed) ---


def test_the_images_of_the_search_are_not_the_held_out_ones(split, training, digits):
    _, (held, _) = split
    seen = {np.asarray(Image.open(path)).tobytes() for path in training.rglob("*.png")}
    shipped = {np.asarray(Image.open(path)).tobytes() for path in (digits / "images").rglob("*.png")}
    assert shipped == {image.tobytes() for image in held}
    assert (len(seen), len(shipped)) == (IMAGES, 360)
    assert not seen & shipped


def test_a_third_of_the_size_within_a_point_of_top1_on_the_held_out_digits(exported, held_out, scores):
    package = exported / "swiftformer_digits-mixed.mlpackage"
    assert sum(path.stat().st_size for path in package.rglob("*") if path.is_file()) <= THIRD
    pixels, classes = held_out
    found = run(package, pixels)
    oracle = 100 * (scores.argmax(1) == classes).mean()
    assert 100 * (found.argmax(1) == classes).mean() >= oracle - 1.0


def test_the_recipe_file_makes_the_bytes_that_were_measured(exported, searched, report):
    record = bundle.read_bundle(exported).manifest.artifacts[0]
    chosen = report.point(report.chosen)
    assert (record.bytes, record.sha256) == (chosen.bytes, chosen.sha256)
    assert record.compression.base_bytes == FP16_BYTES
    assert record.compression.recipe == read_recipe(searched / "mixed.toml") == report.recipe
    assert record.parity.verdict == "pass"


def run(package, pixels):
    """Logits of pixels (N, 3, 32, 32) by the public door of the reference runtime, one image at a time."""
    program = mil.load_program(package)
    images = ((pixels / 255 - 0.5) / 0.5).astype(program.inputs[0].dtype)
    return np.concatenate([program.predict({"image": image[None]})["logits"] for image in images])


def read(files):
    """Pixels (N, 3, 32, 32) of image files."""
    pixels = [np.asarray(Image.open(file).convert("RGB"), np.float32).transpose(2, 0, 1) for file in files]
    return np.stack(pixels)


# --- what a report says ---


def test_the_schema_that_ships_is_current():
    jsonschema.Draft202012Validator.check_schema(load_schema("sensitivity"))
    assert load_schema("sensitivity") == make_schema(SearchReport, "swiftdeploy search report")


def test_what_is_written(searched, report):
    assert sorted(path.name for path in searched.iterdir()) == [
        "mixed.toml",
        "pareto.png",
        "pareto.svg",
        "sensitivity.json",
        "sensitivity.png",
        "sensitivity.svg",
    ]
    jsonschema.validate(json.loads((searched / "sensitivity.json").read_text()), load_schema("sensitivity"))
    assert text(report) == (searched / "sensitivity.json").read_text()
    assert str(searched.parent) not in (searched / "sensitivity.json").read_text()


def test_points_and_choice(report):
    by_name = {point.name: point for point in report.points}
    assert by_name["fp16"].bytes == FP16_BYTES
    assert set(CANDIDATES) < set(by_name)
    assert (report.images, report.measure, report.sensitivity_images) == (IMAGES, "top1", PROBE)
    chosen = by_name[report.chosen]
    holding = [point for point in report.points if point.bytes <= THIRD]
    assert chosen in holding
    assert chosen.right == max(point.right for point in holding)
    assert chosen.kind == "mixed"
    assert sum(chosen.schemes.values()) == len(report.recipe.overrides)
    # A mix between two uniform ones, better than the smaller and smaller than the larger.
    assert by_name["pal2"].bytes <= chosen.bytes < by_name["pal3"].bytes
    assert chosen.drift_db > by_name["pal2"].drift_db
    for point in report.points:
        if point.kind == "mixed":
            assert abs(point.bytes - point.predicted_bytes) < 0.005 * point.bytes


@pytest.fixture(scope="module")
def bench(digits_request, tmp_path_factory):
    """(program, fp16 package to compress) of the digits, with a folder to write into."""
    folder = tmp_path_factory.mktemp("bench")
    subject = load_subject(digits_request(folder / "unused", min_ios=18, verify=False))
    pair = prepare(subject)
    return pair.real, variants.make_bases(subject, pair, folder).real, folder


def test_the_bases_figures_are_a_plain_loops(report, bench, training, oracle):
    files = sorted(training.rglob("*.png"))
    pixels, classes = read(files), np.array([int(file.parent.name) for file in files])
    with torch.no_grad():
        wanted = oracle(torch.from_numpy((pixels / 255 - 0.5) / 0.5)).numpy()
    found = run(bench[1].path, pixels)
    base = report.point("fp16")
    assert base.right == (found.argmax(1) == classes).sum()
    assert report.oracle_right == (wanted.argmax(1) == classes).sum()
    error = np.sqrt(np.mean(np.square(found.astype(np.float64) - wanted)))
    assert base.drift_db == pytest.approx(20 * np.log10(np.abs(wanted).max() / error), abs=0.1)


@pytest.mark.parametrize(("weight", "scheme"), [("network_5_proj_weight", "pal2"), ("network_1_proj_weight", "pal3")])
def test_a_sensitivity_is_that_of_a_package_with_one_weight_compressed(bench, report, training, weight, scheme):
    """The report's is of the fused torch module; here the package itself runs, by our kernels."""
    _, base, folder = bench
    recipe = Recipe(name=f"{weight}-{scheme}", default="fp16", overrides=(Override(weights=weight, scheme=scheme),))
    package = candidates.package(base, recipe, folder)[0]
    files = sorted(training.rglob("*.png"))
    chosen = np.linspace(0, len(files) - 1, PROBE).round().astype(int)
    answers = [run(path, read([files[row] for row in chosen])) for path in (base.path, package)]
    error = np.sqrt(np.mean(np.square(answers[1].astype(np.float64) - answers[0])))
    row = next(row for row in report.sensitivities if row.weight == weight)
    recorded = next(damage.psnr_db for damage in row.damages if damage.scheme == scheme)
    assert recorded == pytest.approx(20 * np.log10(np.abs(answers[0]).max() / error), abs=0.3)


def test_a_swap_is_undone(bench):
    truth, base, _ = bench
    module = truth.built.module
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    where = compressed.places(module, truth.built, base.constants)
    doubled = {"network_5_proj_weight": base.constants["network_5_proj_weight"] * 2}
    with compressed.swapped(where, base.constants, doubled):
        changed = [name for name, tensor in module.state_dict().items() if not torch.equal(tensor, before[name])]
    assert [name.replace(".", "_") for name in changed] == ["network_5_proj_weight"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in module.state_dict().items())
    stranger = {"no_such_weight": np.zeros(3)}
    with pytest.raises(ConversionError, match="no constant"), compressed.swapped(where, base.constants, stranger):
        pytest.fail("it was swapped")


def test_without_labels_agreement_is_measured(asked, training, tmp_path, monkeypatch):
    monkeypatch.setattr(trials, "SPREAD", 1)
    flat = tmp_path / "flat"
    flat.mkdir()
    for file in sorted(training.rglob("*.png"))[::20]:
        (flat / file.name).write_bytes(file.read_bytes())
    found = search.search(asked(Goal(target_bytes=THIRD), images=flat, candidates=("pal2",), probe=1, name="tiny"))
    assert (found.measure, found.images, found.oracle_right) == ("agreement", 11, 11)
    assert found.point(found.chosen).bytes <= THIRD
    assert (tmp_path / "found" / "tiny.toml").is_file()


# --- what is refused, and when ---


@pytest.fixture
def quick(monkeypatch):
    """Whatever fuses, converts or compresses is the slow part."""

    def slow(*_):
        pytest.fail("this is the slow part")

    monkeypatch.setattr(search, "prepare", slow)
    monkeypatch.setattr(candidates, "make_candidates", slow)


@pytest.mark.parametrize(
    ("goal", "changes", "words"),
    [
        (Goal(), {}, "a search needs one target"),
        (Goal(target_bytes=1, max_drop=1.0), {}, "a search needs one target"),
        (Goal(target_bytes=0), {}, "--target-size 0 is no size"),
        (Goal(max_drop=-0.5), {}, "is no loss of top-1"),
        (Goal(max_drop=float("nan")), {}, "is no loss of top-1"),
        (Goal(max_drop=1.0), {"limit": 0}, "--limit 0 leaves no image"),
        (Goal(max_drop=1.0), {"probe": 0}, "--probe 0 leaves no image"),
        (Goal(max_drop=1.0), {"name": "no/name"}, "is not known"),
        (Goal(max_drop=1.0), {"candidates": ("w8a8",)}, "'w8a8' is no way to store weights"),
        (Goal(max_drop=1.0), {"candidates": ("fp16",)}, "fp16 is what a search begins with"),
        (
            Goal(max_drop=1.0),
            {"candidates": ("pal4", "int4"), "options": ExportOptions(min_ios=15)},
            "'pal4' needs iOS 16, and the artifact is for iOS 15",
        ),
        (
            Goal(max_drop=1.0),
            {"candidates": ("int4",), "options": ExportOptions(min_ios=15)},
            "'int4' needs iOS 18, and the artifact is for iOS 15",
        ),
        (
            Goal(max_drop=1.0),
            {"candidates": (), "options": ExportOptions(min_ios=15)},
            "no compressed weights are read by iOS 15",
        ),
    ],
)
def test_a_request_that_cannot_be(asked, goal, changes, words):
    with pytest.raises(UsageError, match=words):
        asked(goal, **changes)


def test_what_is_tried_depends_on_the_system(asked):
    def tried(ios):
        return asked(Goal(max_drop=1.0), candidates=(), options=ExportOptions(min_ios=ios)).schemes

    assert tried(16) == tried(17) == ("int8", "pal8", "pal6", "pal4", "pal2")
    assert set(tried(18)) - set(tried(17)) == {"pal3", "int4", "pal4g16"}


def test_images_are_refused_before_the_slow_part(asked, tmp_path, quick):
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(UsageError, match="holds no images"):
        search.search(asked(Goal(target_bytes=THIRD), images=empty))
    with pytest.raises(UsageError, match="is no folder"):
        search.search(asked(Goal(target_bytes=THIRD), images=tmp_path / "nowhere"))
    Image.new("RGB", (8, 8)).save(empty / "a.png")
    with pytest.raises(UsageError, match="holds images and no class folders"):
        search.search(asked(Goal(max_drop=1.0), images=empty))
    Image.effect_noise((64, 64), 99).save(empty / "b.png")
    (empty / "b.png").write_bytes((empty / "b.png").read_bytes()[:999])
    with pytest.raises(UnreadableImage, match=r"b\.png is no readable image"):
        search.search(asked(Goal(target_bytes=THIRD), images=empty))
    assert not (tmp_path / "found").exists()


def test_labels_that_do_not_match_the_classes(asked, tmp_path, quick):
    for name in ("0", "1", "2"):
        (tmp_path / "three" / name).mkdir(parents=True)
        Image.new("RGB", (8, 8)).save(tmp_path / "three" / name / "a.png")
    with pytest.raises(UsageError, match="has 3 class folders, the model 10 classes"):
        search.search(asked(Goal(max_drop=1.0), images=tmp_path / "three"))
    (tmp_path / "nine.txt").write_text("\n".join("abcdefghi"))
    with pytest.raises(UsageError, match="has 9 labels, the model has 10 classes"):
        search.search(asked(Goal(max_drop=1.0), labels=str(tmp_path / "nine.txt")))


@pytest.mark.parametrize(
    ("module", "words"),
    [("sklearn.cluster", "scikit-learn does not import"), ("matplotlib.figure", "ends with a plot")],
)
def test_a_missing_library_is_known_at_once(asked, monkeypatch, quick, module, words):
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(search, "load_subject", lambda _: pytest.fail("loaded"))
    with pytest.raises(DependencyError, match=words):
        search.search(asked(Goal(target_bytes=THIRD)))


def test_a_size_that_no_mix_has_is_refused_before_anything_is_compressed(asked, tmp_path, monkeypatch, report):
    monkeypatch.setattr(candidates, "make_candidates", lambda *_: pytest.fail("compressed"))
    with pytest.raises(BudgetError, match=r"no mix of pal4, pal3, pal2 has 200,000 bytes") as caught:
        search.search(asked(Goal(target_bytes=200_000)))
    # The bound is no guess: below the smallest package there is, and close to it.
    bound = int(str(caught.value).rpartition(" ")[2].replace(",", ""))
    least = min(point.bytes for point in report.points)
    assert 0.95 * least < bound <= least
    with pytest.raises(UsageError, match=r"fp16 has 802,973 bytes, and the target is 900,000"):
        search.search(asked(Goal(target_bytes=900_000)))
    assert list(tmp_path.iterdir()) == []


def test_a_size_a_little_below_the_smallest_is_refused_before_anything_runs(asked, tmp_path, monkeypatch, report):
    """Here only the package itself can tell; one is written, and nothing measured."""
    monkeypatch.setattr(search, "judge", lambda *_, **__: pytest.fail("measured"))
    least = min(point.bytes for point in report.points)
    with pytest.raises(BudgetError, match=f"the smallest has {least:,}$"):
        search.search(asked(Goal(target_bytes=least - 1), candidates=("pal2",)))
    assert list(tmp_path.iterdir()) == []


def test_a_destination_that_is_something_else(asked, tmp_path, quick):
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "thesis.txt").write_text("years of work")
    for force in (False, True):
        with pytest.raises(UsageError, match="is no search's folder"):
            search.search(asked(Goal(max_drop=1.0), force=force))
    (tmp_path / "found" / "sensitivity.json").write_text("{}")
    with pytest.raises(UsageError, match="exists already"):
        search.search(asked(Goal(max_drop=1.0)))
    assert (tmp_path / "found" / "thesis.txt").read_text() == "years of work"


def test_force_replaces_an_earlier_search(asked, tmp_path, monkeypatch, report):
    def found(request, subject, album, folder):
        folder.mkdir()
        return report

    monkeypatch.setattr(search, "_search", found)
    search.search(asked(Goal(max_drop=1.0), name="first"))
    with pytest.raises(UsageError, match="exists already"):
        search.search(asked(Goal(max_drop=1.0)))
    search.search(asked(Goal(max_drop=1.0), name="second", force=True))
    assert sorted(path.name for path in (tmp_path / "found").glob("*.toml")) == ["second.toml"]
    assert [path.name for path in tmp_path.iterdir()] == ["found"]


def test_an_interruption_leaves_nothing(asked, tmp_path, monkeypatch):
    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(search, "damages", interrupted)
    with pytest.raises(KeyboardInterrupt):
        search.search(asked(Goal(target_bytes=THIRD), candidates=("pal2",)))
    assert list(tmp_path.iterdir()) == []
