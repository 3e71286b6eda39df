"""Text that any report may hold, and how figures are written."""

import unicodedata

import pytest

from swiftdeploy.reporting.text import figure, percent, plural, replaced, shortened, signed, visible


def test_no_character_of_all_is_hidden_or_refused_by_xml():
    # Both planes with most scripts, and the one with tags; the rest is unassigned or private.
    everything = [*range(0x20000), *range(0xE0000, 0xE1000)]
    shown = "".join(replaced(chr(code)) for code in everything)
    assert len(shown) == len(everything)
    assert not {unicodedata.category(char) for char in set(shown)} & {"Cc", "Cs", "Cf"}
    assert not set(shown) & {"\ufffe", "\uffff"}
    shown.encode("utf-8")


def test_what_people_write_stays():
    assert visible("größe 模型 🚀 a|b") == "größe 模型 🚀 a|b"
    assert visible("  a\n\tb\u2028c ") == "a b c"
    assert replaced(" a ") == " a "


def test_long_text_is_cut_with_a_sign():
    assert shortened("a" * 300) == "a" * 300
    assert shortened("a" * 301) == "a" * 299 + "…"
    assert shortened("one two three", 8) == "one two…"


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (None, "dB", "—"),
        (0, "bytes", "0 B"),
        (99_999, "bytes", "99,999 B"),
        (13_250_000, "bytes", "13.250 MB"),
        (1_890_000_000, "bytes", "1,890.000 MB"),
        (0.7706, "share", "77.06 %"),
        (71.24, "dB", "71.2 dB"),
        (float("inf"), "dB", "exact"),
        (0.71, "ms", "0.710 ms"),
        (214, "tensors", "214 tensors"),
        (3_475_360, "", "3,475,360"),
    ],
)
def test_figures(value, unit, text):
    assert figure(value, unit) == text


def test_changes_have_a_sign():
    assert signed(0.014, "share") == "+1.40 pt"
    assert signed(-2e6, "bytes") == "\u22122.000 MB"
    assert signed(0, "ms") == "="
    assert percent(100, 102) == "+2.00 %"
    assert percent(100, 50) == "\u221250.00 %"
    assert percent(7, 7) == "="
    assert percent(0, 7) == "new"


def test_plurals():
    assert [plural(n, "check") for n in (0, 1, 2000)] == ["0 checks", "1 check", "2,000 checks"]
