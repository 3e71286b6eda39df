"""Peak memory of a block, measured where the system lets the mark be reset."""

import sys

import pytest

from swiftdeploy.matrix import memory

HUNDRED = 100 << 20


def test_a_block_that_takes_memory_has_a_higher_peak():
    with memory.watched() as before:
        pass
    with memory.watched() as peak:
        taken = bytearray(HUNDRED)
        taken[::4096] = b"x" * len(taken[::4096])
    assert peak.bytes - before.bytes > HUNDRED * 0.9


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux resets the mark")
def test_the_mark_is_reset_before_each_block():
    with memory.watched() as high:
        taken = bytearray(HUNDRED)
        taken[::4096] = b"x" * len(taken[::4096])
        del taken
    with memory.watched() as low:
        pass
    assert high.bytes - low.bytes > HUNDRED * 0.9


def test_elsewhere_the_processs_own_figure_has_to_do(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_STATUS", tmp_path / "nothing")
    monkeypatch.setattr(memory, "_RESET", tmp_path / "no" / "such")
    with memory.watched() as peak:
        pass
    assert peak.bytes > 1 << 20


def test_a_guess_grows_with_the_weights():
    assert memory.guess(0) > 0
    assert memory.guess(10**8) > memory.guess(10**7)
