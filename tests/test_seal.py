"""The seal, against sha256sum's own idea of it."""

import json
import subprocess

import pytest

from swiftdeploy.seal import canonical, sealed

PLAIN = {"size": 1.5, "name": "größe", "jobs": [{"b": 1, "a": None}]}


def test_the_text_is_one_whatever_the_order_of_the_keys():
    assert canonical(dict(reversed(PLAIN.items()))) == canonical(PLAIN)
    assert json.loads(canonical(PLAIN)) == PLAIN
    assert canonical({"b": "ö", "a": {}}) == '{\n  "a": {},\n  "b": "ö"\n}\n'


def test_the_seal_is_the_digest_of_the_text_without_it(tmp_path):
    text = sealed(PLAIN)
    seal = json.loads(text)["seal"]
    (tmp_path / "empty.json").write_text(text.replace(seal, ""), encoding="utf-8")
    said = subprocess.run(["sha256sum", tmp_path / "empty.json"], capture_output=True, text=True, check=True).stdout
    assert said.split()[0] == seal
    assert sealed(json.loads(text)) == text
    assert sealed({**json.loads(text), "size": 2}) != text


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_what_json_lacks_is_never_written(number):
    with pytest.raises(ValueError, match="JSON compliant"):
        sealed({"x": number})
