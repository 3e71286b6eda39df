"""`swiftdeploy search` at the terminal: what it prints, what it writes, how it fails."""

import dataclasses

import pytest

from swiftdeploy import console
from swiftdeploy.cli import tradeoff as tables
from swiftdeploy.recipe import read_recipe
from swiftdeploy.search import run as search
from swiftdeploy.search import trials
from swiftdeploy.searches import SearchReport
from swiftdeploy.spec import from_plain


@pytest.fixture
def wanted(digits, tmp_path):
    checkpoint = digits / "swiftformer_digits.pth"
    model = ("-m", "swiftformer_digits", "--attention", "token_l2")
    return ("search", checkpoint, *model, "--images", digits / "images", "-o", tmp_path / "found")


@pytest.fixture
def answered(monkeypatch, tradeoff):
    """The requests that were made, each answered with the same report."""
    asked = []

    def answer(request):
        asked.append(request)
        return tradeoff

    monkeypatch.setattr(search, "search", answer)
    return asked


def test_a_loss_of_top1_from_the_command_line(cli, wanted, monkeypatch, tmp_path):
    monkeypatch.setattr(trials, "SPREAD", 2)
    some = ("--limit", "40", "--probe", "4", "-p", "pal4", "-p", "pal2", "--min-top1-drop", "5", "--name", "small")
    answer = cli(*wanted, *some, "--input", "image", "--json")
    assert answer.code == 0, answer.err
    report = from_plain(SearchReport, answer.document)
    assert sorted(path.name for path in (tmp_path / "found").iterdir()) == [
        "pareto.png",
        "pareto.svg",
        "sensitivity.json",
        "sensitivity.png",
        "sensitivity.svg",
        "small.toml",
    ]
    assert read_recipe(tmp_path / "found" / "small.toml") == report.recipe
    assert report.images == 40
    # With pixels in, the package's names have a word before them that a recipe need not know.
    names = [override.weights for override in report.recipe.overrides]
    assert not any(name.startswith("module_") for name in (*names, *report.kept))
    chosen = report.point(report.chosen)
    holding = [p for p in report.points if p.kind != "base" and report.oracle_right - p.right <= 2]
    assert chosen in holding
    assert chosen.bytes == min(point.bytes for point in holding)


def test_what_is_asked(cli, wanted, answered):
    more = ("--target-size", "2MB", "--min-ios", "18", "--size", "64", "-p", "pal4", "-p", "int4", "--labels", "sorted")
    assert cli(*wanted, *more, "--probe", "7", "--seed", "3").code == 0
    assert cli(*wanted, "--target-size", "267658", "--input", "image").code == 0
    first, second = answered
    assert (first.goal.target_bytes, second.goal.target_bytes) == (2_000_000, 267_658)
    assert (first.options.min_ios, first.options.input_size, second.options.input_kind) == (18, (64, 64), "image")
    assert (first.candidates, first.labels, first.probe, first.seed) == (("pal4", "int4"), "sorted", 7, 3)
    assert second.schemes == ("int8", "pal8", "pal6", "pal4", "pal2")


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        ((), 2, "error: a search needs one target"),
        (("--target-size", "2MB", "--min-top1-drop", "1"), 2, "error: a search needs one target"),
        (("--target-size", "much"), 2, "error: --target-size 'much' is no size"),
        (("--target-size", "-5"), 2, "error: --target-size '-5' is no size"),
        (("--target-size", "2MB", "--min-ios", "15", "-p", "int4"), 2, "error: 'int4' needs iOS 18"),
        (("--min-top1-drop", "-1"), 2, "error: --min-top1-drop -1.0 is no loss of top-1"),
        (("--target-size", "2MB", "--min-ios", "14"), 2, "error: --min-ios 14 is not known"),
        (("--target-size", "2MB", "--name", "pal4"), 2, "pal4.toml has the name of the precision"),
    ],
)
def test_what_is_refused(cli, wanted, tmp_path, more, code, words):
    answer = cli(*wanted, *more)
    assert answer.code == code
    assert words in answer.err
    assert not (tmp_path / "found").exists()


@pytest.mark.parametrize("columns", [60, 80])
def test_the_tables_fit(cli, wanted, answered, monkeypatch, columns, tmp_path):
    monkeypatch.setenv("COLUMNS", str(columns))
    answer = cli(*wanted, "--target-size", "260kB")
    assert answer.code == 0
    paths = str(tmp_path)
    lines = [line for line in answer.out.splitlines() if paths not in line and not line.startswith("chosen")]
    assert max(map(len, lines)) <= columns
    assert lines[0].split()[:2] == ["weight", "alone"]
    assert lines[1].split()[-1] == "31.0*"
    assert lines[1].split()[0].endswith("_pwconv1")
    assert lines[2].split()[0] == "head"
    assert "51.2*" in lines[2]
    row = next(line for line in lines if line.startswith("mix-40"))
    assert row.split() == ["mix-40", "0.250", "31%", "98.61", "96.6-99.6", "24.0", "chosen"]
    assert "right on 355 of 360 images, the oracle on 360 (1.39 points less)" in " ".join(answer.out.split())


def test_without_labels_nothing_is_called_right(tradeoff):
    unlabelled = dataclasses.replace(tradeoff, measure="agreement")
    (said,) = tables.conclusion(unlabelled)
    assert "355 of 360 images are answered as the oracle does" in said
    assert "right" not in said
    assert "answered as the oracle does" in tables.legend(unlabelled, every=False)


def test_many_weights_are_cut_short_unless_asked_for(tradeoff):
    many = dataclasses.replace(
        tradeoff,
        sensitivities=tuple(dataclasses.replace(tradeoff.sensitivities[1], weight=f"w{i}_weight") for i in range(30)),
    )
    assert len(tables.sensitivities(many, width=80, every=False).rows) == tables.SHOWN
    assert len(tables.sensitivities(many, width=80, every=True).rows) == 30
    assert "18 more weights with -v" in tables.legend(many, every=False)
    assert "more weights" not in tables.legend(many, every=True)


def test_no_noise_of_libraries(command, wanted):
    done = command(*wanted, "--target-size", "0kB", "-q")
    assert done.returncode == 2
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == ["error", "hint"]
    assert console.verbosity() == 0
