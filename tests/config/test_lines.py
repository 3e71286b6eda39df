"""Lines of keys. The oracle for which keys there are is the standard library's parser."""

import json
import tomllib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swiftdeploy.config.lines import key_lines, line_of

HEADERS = ["[table{0}]", "[ table{0} . 'sub' ]", "[[tables]]", "[[tables]]\n[tables.part]"]
NAMES = st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"]), max_size=6)
SCALARS = st.one_of(
    st.booleans(),
    st.integers(-(10**6), 10**6),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(alphabet=st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n\"'#[]{}=,\\"), max_size=12),
)
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(NAMES, v, max_size=3), max_leaves=8)
TABLES = st.dictionaries(NAMES, VALUES, max_size=4)


def quoted(text, style=0):
    if style == 1 and "'" not in text and "\n" not in text:
        return f"'{text}'"
    escaped = json.dumps(text, ensure_ascii=False)
    return f'""{escaped[:-1]}{escaped[-1]}""'.replace("\\n", "\n") if style == 2 and '"' not in text else escaped


def value(plain, draw):
    if isinstance(plain, dict):
        return "{" + ", ".join(f"{quoted(k)} = {value(v, draw)}" for k, v in plain.items()) + "}"
    if isinstance(plain, list):
        gap = draw(st.sampled_from(["", " ", "\n  ", " # ]\n"]))
        return "[" + "".join(f"{gap}{value(v, draw)}{gap}," for v in plain) + gap + "]"
    if isinstance(plain, str):
        return quoted(plain, draw(st.integers(0, 2)))
    return str(plain).lower() if isinstance(plain, bool) else repr(plain)


def pair(key, plain, draw):
    before = draw(st.sampled_from(["", "  ", "\n", "# x = 1\n"]))
    after = draw(st.sampled_from(["", " # [a]"]))
    return f"{before}{quoted(key, draw(st.integers(0, 1)))} = {value(plain, draw)}{after}\n"


@st.composite
def documents(draw):
    text = "".join(pair(key, plain, draw) for key, plain in draw(TABLES).items())
    for number, table in enumerate(draw(st.lists(TABLES, max_size=3))):
        header = draw(st.sampled_from(HEADERS))
        text += header.format(number) + "\n" + "".join(pair(key, plain, draw) for key, plain in table.items())
    return text


def paths(plain, path=()):
    items = plain.items() if isinstance(plain, dict) else enumerate(plain) if isinstance(plain, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from paths(item, (*path, key))


@given(documents())
def test_every_key_that_the_parser_finds_has_a_line_and_no_other_has(text):
    assert set(key_lines(text)) == set(paths(tomllib.loads(text)))


@given(documents())
def test_a_keys_own_name_stands_on_its_line(text):
    plain, lines = tomllib.loads(text), text.split("\n")
    for path, line in key_lines(text).items():
        if isinstance(path[-1], str) and "'" not in path[-1] and '"' not in path[-1] and "\\" not in path[-1]:
            assert path[-1] in lines[line - 1]
    assert all(line_of(key_lines(text), path) >= 1 for path in paths(plain))


def test_lines():
    text = 'a = 1\n\n[models.x] # here\nsize = [\n 1,\n "two"]\nb.c = {d = 1, "e f" = """\n\n"""}\nlast = 1\n'
    lines = key_lines(text)
    assert lines == {
        ("a",): 1,
        ("models",): 3,
        ("models", "x"): 3,
        ("models", "x", "size"): 4,
        ("models", "x", "size", 0): 5,
        ("models", "x", "size", 1): 6,
        ("models", "x", "b"): 7,
        ("models", "x", "b", "c"): 7,
        ("models", "x", "b", "c", "d"): 7,
        ("models", "x", "b", "c", "e f"): 7,
        ("models", "x", "last"): 10,
    }
    assert line_of(lines, ("models", "x", "nothing", "deep")) == 3
    assert line_of(lines, ("nowhere",)) == 1


@pytest.mark.parametrize(
    "text", ['a = """"""\nb = 1', 'a = """x"""""\nb = 1', "a = '''x''''\nb = 1", 'a = "\\""\nb = 1']
)
def test_quotes_at_the_end_of_texts(text):
    assert tomllib.loads(text)["b"] == 1
    assert key_lines(text) == {("a",): 1, ("b",): 2}
