"""The plot of a search, by what is on its axes and in its files."""

import dataclasses
import itertools
import sys
import xml.etree.ElementTree as ET

import pytest
from matplotlib.text import Text
from PIL import Image

from swiftdeploy.errors import DependencyError
from swiftdeploy.reporting import sensitivity
from swiftdeploy.reporting.figures import check_library, save
from swiftdeploy.reporting.tradeoff import figure_of
from swiftdeploy.searches import Goal


def draw(report, folder):
    return save(lambda: figure_of(report), folder, "pareto")


@pytest.fixture(scope="module")
def drawn(tradeoff, tmp_path_factory):
    folder = tmp_path_factory.mktemp("plot")
    assert [path.name for path in draw(tradeoff, folder)] == ["pareto.png", "pareto.svg"]
    return folder


def test_the_same_report_gives_the_same_bytes(tradeoff, drawn, tmp_path):
    for path in draw(tradeoff, tmp_path):
        assert path.read_bytes() == (drawn / path.name).read_bytes()


def test_the_picture_is_large_enough_to_read(drawn):
    with Image.open(drawn / "pareto.png") as image:
        assert image.size == (1290, 1110)
        assert len(image.convert("RGB").getcolors(1 << 24)) > 100
        assert "Software" not in image.info


def test_what_the_text_says(drawn, tradeoff):
    said = [element.text for element in ET.parse(drawn / "pareto.svg").iter() if element.tag.endswith("text")]
    assert "tiny: mixed is 250 kB, 31 % of fp16, with 98.61 % top-1 (96.6 to 99.6)" in said
    for name in ("pal2", "pal4", "pal4g16", "int4", "int8", "pal8", "fp16", "mixed"):
        assert said.count(name) >= 2, f"{name} is named in both"
    assert "top-1 on 360 images, %" in said
    assert {"Pareto front", "target", "oracle", "chosen"} <= set(said)
    assert "mix-30" not in said, "other mixes are dots"


def test_no_label_covers_another_or_a_point(tradeoff):
    figure = figure_of(tradeoff)
    renderer = figure._get_renderer()
    for axes in figure.axes:
        words = [Text.get_window_extent(text, renderer) for text in axes.texts]  # an annotation's is with its leader
        assert len(words) == 8
        assert not any(a.overlaps(b) for a, b in itertools.combinations(words, 2))
        for point in tradeoff.points:
            value = point.percent if axes is figure.axes[0] else point.drift_db
            assert not any(box.contains(*axes.transData.transform((point.bytes, value))) for box in words)


def test_what_is_drawn_are_the_reports_numbers(tradeoff):
    upper, lower = figure_of(tradeoff).axes
    lines = {line.get_label(): line for line in upper.lines}
    assert list(lines["Pareto front"].get_xdata()) == [240_000, 250_000, 290_000, 332_000, 495_000]
    assert list(lines["mixed"].get_xdata()) == [250_000, 290_000]
    assert list(lines["chosen"].get_xydata()[0]) == [250_000, pytest.approx(355 / 3.6)]
    assert set(lines["target"].get_xdata()) == {260_000}
    assert set(lines["oracle"].get_ydata()) == {100.0}
    drift = {line.get_label(): line for line in lower.lines}
    assert list(drift["uniform"].get_ydata()) == [14.0, 35.0, 36.0, 43.0, 65.0, 66.0]


def test_a_loss_of_top1_is_a_level(tradeoff):
    asked = dataclasses.replace(tradeoff, goal=Goal(max_drop=2.0))
    upper, lower = figure_of(asked).axes
    assert [set(line.get_ydata()) for line in upper.lines if line.get_label() == "target"] == [{98.0}]
    assert "target" not in {line.get_label() for line in lower.lines}


def test_without_labels_it_is_agreement(tradeoff):
    assert "agreement on 360" in figure_of(dataclasses.replace(tradeoff, measure="agreement")).axes[0].get_ylabel()


def test_without_matplotlib(monkeypatch, tradeoff, tmp_path):
    check_library()
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(DependencyError, match="matplotlib does not import") as caught:
        draw(tradeoff, tmp_path)
    assert (caught.value.exit_code, caught.value.hint) == (8, "pip install -c constraints.txt '.[plot]'")
    assert list(tmp_path.iterdir()) == []


def test_the_map_of_sensitivities(tradeoff, tmp_path):
    figure = sensitivity.figure_of(tradeoff)
    axes = figure.axes[0]
    columns = [label.get_text() for label in axes.get_xticklabels()]
    assert columns == ["int8", "pal4g16", "pal4", "pal2"]
    assert [label.get_text() for label in axes.get_yticklabels()] == [
        "network_4_1_local_representation_pwconv1",
        "head",
    ]
    said = {text.get_position(): text.get_text() for text in axes.texts}
    assert [said[x, 0] for x in range(4)] == ["equal", "52.5", "51.2", "31.0"]
    framed = {(round(patch.get_x() + 0.46), round(patch.get_y() + 0.44)) for patch in axes.patches}
    assert framed == {(3, 0), (2, 1)}, "pal2 for the first weight, pal4 for the second"
    first = save(lambda: sensitivity.figure_of(tradeoff), tmp_path, "a")
    second = save(lambda: sensitivity.figure_of(tradeoff), tmp_path, "b")
    assert [path.read_bytes() for path in first] == [path.read_bytes() for path in second]
