"""Words and figures that any report may hold: no control character, no trick of direction, one way to write a unit."""

from __future__ import annotations

import math
import re
import unicodedata

from swiftdeploy.axis import number

MINUS = "\u2212"
EXACT = "exact"
NOTHING = "—"
# Besides the categories below: what XML 1.0 refuses although it is no control character.
_REFUSED = re.compile("[\ufffe\uffff]")
_HIDDEN = {"Cc", "Cs", "Cf"}  # controls, lone surrogates, and marks without a glyph (direction, joiners, tags)


def visible(text: str) -> str:
    """`text` on one line, with U+FFFD for every character that a reader cannot see or an XML parser refuses."""
    return " ".join(replaced(text).split())


def replaced(text: str) -> str:
    """`text` with its spaces as they are, but for line breaks and tabs, and U+FFFD for hidden characters."""
    if text.isprintable():  # nearly every text; what it calls printable holds no character of either kind
        return text
    shown = "".join(
        " " if char in "\t\n\r" else "\ufffd" if unicodedata.category(char) in _HIDDEN else char for char in text
    )
    return _REFUSED.sub("\ufffd", shown)


def shortened(text: str, limit: int = 300) -> str:
    """`visible` text of at most `limit` characters, with an ellipsis where some were left out."""
    shown = visible(text)
    return shown if len(shown) <= limit else shown[: limit - 1].rstrip() + "…"


def figure(value: float | None, unit: str) -> str:
    """A value with its unit, as people read it; a dash for None. Infinitely many dB are equality to the bit."""
    if value is None:
        return NOTHING
    if unit == "bytes":
        return f"{value / 1e6:,.3f} MB" if value >= 1e5 else f"{value:,.0f} B"
    if unit == "share":
        return f"{100 * value:.2f} %"
    if unit == "dB":
        return EXACT if value == math.inf else f"{value:.1f} dB"
    if unit == "ms":
        return f"{number(value)} ms"
    return f"{value:,.15g} {unit}".strip()


def signed(change: float, unit: str) -> str:
    """A change in its unit, with its sign; points for shares, "=" for none."""
    if not change:
        return "="
    size = f"{100 * abs(change):.2f} pt" if unit == "share" else figure(abs(change), unit)
    return f"{'+' if change >= 0 else MINUS}{size}"


def percent(before: float, after: float) -> str:
    """The change in percent, with its sign; "=" for none, "new" where there was nothing before."""
    if after == before:
        return "="
    if not before:
        return "new"
    change = 100 * (after / before - 1)
    return f"{'+' if change >= 0 else MINUS}{abs(change):.2f} %"


def plural(count: int, noun: str) -> str:
    """A count with its noun: 1 check, 2 checks."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"
