"""The vectors that Swift and Python share: each stored figure is checked against somebody else's implementation.

`swift test` reads the same file and demands equality to the bit. Run this file as a script to write it anew.
"""

import base64
import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from swiftdeploy.harness import plan as plans
from swiftdeploy.harness import splitmix, statistics
from swiftdeploy.spec import to_plain

FILE = Path(plans.__file__).parent / "templates/BenchKit/Tests/BenchCoreTests/Fixtures/vectors.json"

# Published with the reference implementation in C (Vigna), and on Rosetta Code.
REFERENCE_SEED = 1234567
REFERENCE = [
    6457827717110365317,
    3203168211198807973,
    9817491932198370423,
    4593380528125082431,
    16408922859458223821,
]
TEXTS = ["", "abc", "a" * 55, "b" * 56, "c" * 64, "d" * 119, "e" * 1000]
TREE = {"Manifest.json": "{}", "Data/a.bin": "alpha", "Data/b/c.txt": "", "Data-x.txt": "dash sorts before slash"}


def rounds_of(name: str) -> list[list[int]]:
    rng = np.random.default_rng(len(name))
    shapes = {
        "one sample": [[1_234_567]],
        "constant": [[5_000] * 4] * 3,
        "two rounds": [[900_001, 900_002, 1_400_000], [800_000, 10_000_000, 800_003, 800_004]],
        "a round without samples": [[700_000, 710_000], [], [705_000, 707_000]],
        "log-normal": [(1e6 * np.exp(0.05 * rng.standard_normal(25))).astype(int).tolist() for _ in range(7)],
        "bimodal and drifting": [
            (1e6 * (1 + 0.03 * r) + 4e5 * rng.integers(0, 2, 16)).astype(int).tolist() for r in range(8)
        ],
    }
    return shapes[name]


NAMES = ["one sample", "constant", "two rounds", "a round without samples", "log-normal", "bimodal and drifting"]


def floats_for_half() -> list[float]:
    ties = [1 + 2**-11, 1 + 3 * 2**-11, 2**-25, 3 * 2**-25, 2**-24, 65504, 65519.996, 65520, 1e9, 6.1e-5, 5.9e-8]
    rng = np.random.default_rng(7)
    spread = (rng.standard_normal(60) * 10.0 ** rng.integers(-9, 6, 60)).tolist()
    return [0.0, -0.0, float("inf"), -float("inf"), *ties, *(-t for t in ties), *spread]


def golden_file() -> tuple[bytes, dict]:
    tensors = {
        "single": np.array([[1.5, -2.25]], dtype=np.float32),
        "half": np.array([0.1, 65504, 6e-8], dtype=np.float16),
        "int": np.array([[-1], [2**20]], dtype=np.int32),
        "byte": np.array([0, 255], dtype=np.uint8),
        "long": np.array([-3], dtype=np.int64),
    }
    data = safetensors.numpy.save(tensors, metadata={"made_by": "test"})
    return data, {
        name: {"shape": list(a.shape), "values": a.astype(float).ravel().tolist()} for name, a in tensors.items()
    }


def half_pairs() -> list[list[int]]:
    singles = np.array(floats_for_half(), dtype=np.float32)
    with np.errstate(over="ignore"):
        halves = singles.astype(np.float16)
    return [[int(a), int(b)] for a, b in zip(singles.view(np.uint32), halves.view(np.uint16), strict=True)]


def safetensors_case() -> dict:
    data, tensors = golden_file()
    named = [{"name": name, **tensor} for name, tensor in sorted(tensors.items())]
    return {"base64": base64.b64encode(data).decode(), "tensors": named}


def build() -> dict:
    cases = []
    for name in NAMES:
        rounds = rounds_of(name)
        made = statistics.summarize(rounds, resamples=200, confidence_percent=95, seed=99)
        cases.append(
            {
                "name": name,
                "rounds": rounds,
                "seed": 99,
                "resamples": 200,
                "confidence_percent": 95,
                "expected": to_plain(made),
            }
        )
    return {
        "splitmix": {"seed": REFERENCE_SEED, "values": REFERENCE},
        "indices": {"seed": 5, "below": 7, "values": splitmix.indices(splitmix.stream(5, 40), 7).tolist()},
        "schedule": {"seed": 2**64 - 1, "length": 8, "orders": [list(o) for o in splitmix.shuffles(2**64 - 1, 8, 5)]},
        "statistics": cases,
        "half": half_pairs(),
        "sha256": [[text, hashlib.sha256(text.encode()).hexdigest()] for text in TEXTS],
        "tree": {"files": [[k, v] for k, v in TREE.items()], "digest": tree_oracle(TREE)},
        "safetensors": safetensors_case(),
    }


def tree_oracle(files: dict[str, str]) -> str:
    lines = sorted((name.encode(), hashlib.sha256(text.encode()).hexdigest()) for name, text in files.items())
    return hashlib.sha256(b"".join(d.encode() + b"  " + n + b"\n" for n, d in lines)).hexdigest()


@pytest.fixture(scope="module")
def vectors():
    return json.loads(FILE.read_text())


def test_the_file_is_what_this_code_writes(vectors):
    assert vectors == json.loads(json.dumps(build()))


def test_generator_matches_its_published_numbers():
    assert splitmix.stream(REFERENCE_SEED, 5).tolist() == REFERENCE


def test_generator_matches_integer_arithmetic_by_definition():
    state, found = 2**64 - 3, []
    for _ in range(50):
        state = (state + 0x9E3779B97F4A7C15) % 2**64
        z = state
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        found.append(z ^ (z >> 31))
    assert splitmix.stream(2**64 - 3, 50).tolist() == found


def test_a_stream_can_be_taken_up_anywhere():
    whole = splitmix.stream(3, 100)
    assert splitmix.stream(3, 40, start=60).tolist() == whole[60:].tolist()


def test_a_bootstrap_in_pieces_is_the_same_bootstrap(monkeypatch):
    values = np.random.default_rng(2).random(33).tolist()
    whole = statistics.bootstrap_medians(values, resamples=101, seed=4)
    monkeypatch.setattr(statistics, "_DRAWS_AT_ONCE", 70)
    assert statistics.bootstrap_medians(values, resamples=101, seed=4).tolist() == whole.tolist()


def test_indices_cover_their_range_evenly():
    counts = np.bincount(splitmix.indices(splitmix.stream(1, 70_000), 7), minlength=7)
    assert counts.size == 7
    assert abs(counts - 10_000).max() < 500


@pytest.mark.parametrize("name", NAMES)
def test_figures_match_numpy(vectors, name):
    case = next(c for c in vectors["statistics"] if c["name"] == name)
    expected = case["expected"]
    rounds = [np.array(r, dtype=np.float64) / 1e6 for r in case["rounds"] if r]
    x = np.concatenate(rounds)
    for key, q in [("p5_ms", 5), ("p50_ms", 50), ("p90_ms", 90), ("p95_ms", 95), ("p99_ms", 99)]:
        assert expected[key] == pytest.approx(np.percentile(x, q), rel=1e-13)
    assert expected["n"] == x.size
    assert (expected["min_ms"], expected["max_ms"]) == (x.min(), x.max())
    assert expected["mean_ms"] == pytest.approx(x.mean(), rel=1e-13)
    assert expected["std_ms"] == pytest.approx(x.std(ddof=1) if x.size > 1 else 0, rel=1e-11, abs=1e-15)
    assert expected["mad_ms"] == pytest.approx(np.median(np.abs(x - np.median(x))), rel=1e-12)
    q1, q3 = np.percentile(x, [25, 75])
    assert expected["outliers"] == int(np.sum((x < q1 - 3 * (q3 - q1)) | (x > q3 + 3 * (q3 - q1))))
    assert expected["estimate_ms"] == pytest.approx(np.median([np.median(r) for r in rounds]), rel=1e-13)
    quarter = max(x.size // 4, 1)
    drift = np.median(x[-quarter:]) / np.median(x[:quarter]) - 1
    assert expected["drift"] == pytest.approx(drift, rel=1e-12, abs=1e-15)


def test_bootstrap_matches_a_loop_over_the_definition(vectors):
    case = next(c for c in vectors["statistics"] if c["name"] == "log-normal")
    x = np.concatenate([np.array(r) / 1e6 for r in case["rounds"]])
    draws = iter(splitmix.stream(99, 200 * x.size).tolist())
    medians = [np.median([x[(next(draws) >> 32) * x.size >> 32] for _ in range(x.size)]) for _ in range(200)]
    interval = case["expected"]["median_interval"]
    assert interval["low"] == pytest.approx(np.percentile(medians, 2.5), rel=1e-13)
    assert interval["high"] == pytest.approx(np.percentile(medians, 97.5), rel=1e-13)


def test_bootstrap_interval_covers_the_truth_as_often_as_it_says():
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(300):
        interval = statistics.bootstrap_median(
            np.exp(0.1 * rng.standard_normal(40)).tolist(), resamples=400, confidence_percent=95, seed=trial
        )
        hits += interval.low <= 1 <= interval.high
    assert 0.90 <= hits / 300 <= 0.99


def test_half_bits_match_struct(vectors):
    for bits, half in vectors["half"]:
        value = struct.unpack("<f", struct.pack("<I", bits))[0]
        try:
            assert struct.unpack("<H", struct.pack("<e", value))[0] == half
        except OverflowError:
            assert half & 0x7FFF == 0x7C00  # struct refuses what numpy rounds to infinity


def test_schedule_is_a_permutation_each_round_and_not_always_the_same(vectors):
    orders = vectors["schedule"]["orders"]
    assert all(sorted(o) == list(range(8)) for o in orders)
    assert len({tuple(o) for o in orders}) > 1


def test_no_samples_have_no_statistics():
    assert statistics.summarize([[], []], resamples=10, confidence_percent=95, seed=0) is None


if __name__ == "__main__":
    FILE.parent.mkdir(parents=True, exist_ok=True)
    FILE.write_text(json.dumps(build(), indent=1) + "\n")
