"""Configurations as text."""

import pytest

from swiftdeploy.config import read_config


@pytest.fixture
def read(tmp_path):
    def parse(text):
        path = tmp_path / "swiftdeploy.toml"
        path.write_text(text, encoding="utf-8")
        return read_config(path)

    return parse
