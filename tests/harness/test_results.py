"""What the importer accepts, and each thing that it refuses by name."""

import contextlib
import dataclasses
import hashlib
import json

import jsonschema
import numpy as np
import pytest

from swiftdeploy.errors import ArtifactError, UsageError
from swiftdeploy.harness import measurement as values
from swiftdeploy.harness.plan import Plan, ThermalPlan
from swiftdeploy.harness.results import ALLOWANCES, MAX_BYTES, read_result, sealed
from swiftdeploy.schema import load_schema


@pytest.fixture
def result(make_plan, measure):
    return measure(make_plan("a", "b"))


@pytest.fixture
def write(tmp_path):
    def make(measurement, edit=None):
        """A result file; `edit` changes the document, and the seal is made anew to get past it."""
        path = tmp_path / "result.json"
        if edit is None:
            path.write_bytes(sealed(measurement))
            return path
        document = json.loads(sealed(measurement))
        edit(document)
        document["seal"] = "0" * 64
        blank = json.dumps(document, sort_keys=True, separators=(",", ":")).encode()
        path.write_bytes(blank.replace(b"0" * 64, hashlib.sha256(blank).hexdigest().encode()))
        return path

    return make


def refuse(path, match, **options):
    with pytest.raises(ArtifactError, match=match) as caught:
        read_result(path, **options)
    assert caught.value.exit_code == 7
    assert path.name in str(caught.value)
    assert caught.value.hint
    assert "\n" not in str(caught.value)


def test_a_sound_result_comes_back_whole(result, write):
    read = read_result(write(result))
    assert dataclasses.replace(read, seal="") == dataclasses.replace(result, seal="")
    assert read.pair("b-fp16", "cpuOnly").label == "b-fp16"
    assert read.pair("b-fp16", "npu") is None


def test_it_may_be_what_was_expected(result, write):
    hashes = {model.label: model.sha256 for model in result.plan.models}
    read_result(write(result), models=hashes, plan=result.plan)
    read_result(write(result), plan=dataclasses.replace(result.plan, models=()))


def test_another_model_is_refused(result, write):
    hashes = {model.label: model.sha256 for model in result.plan.models}
    refuse(write(result), "measures another b-fp16", models=hashes | {"b-fp16": "1" * 64})
    refuse(write(result), "b-fp16, which is not in the bundle", models={"a-fp16": hashes["a-fp16"]})


@pytest.mark.parametrize(
    "changes",
    [{"rounds": 7}, {"seed": 1}, {"compute_units": ("all",)}, {"thermal": ThermalPlan(round_limit="critical")}],
)
def test_a_changed_plan_is_refused(result, write, changes):
    wanted = dataclasses.replace(result.plan, **changes, models=())
    refuse(write(result), f"changed plan: {next(iter(changes))}", plan=wanted)


def test_a_plan_that_names_other_models_is_refused(result, write, make_plan):
    refuse(write(result), "changed plan: models", plan=dataclasses.replace(result.plan, models=result.plan.models[:1]))


def test_an_edit_breaks_the_seal(result, write):
    path = write(result)
    data = path.read_bytes()
    for old, new in [(b'"estimate_ms":0', b'"estimate_ms":1'), (b'"charging":false', b'"charging":true ')]:
        if old in data:
            path.write_bytes(data.replace(old, new, 1))
            refuse(path, "was edited")
    path.write_bytes(data.replace(b',"schema"', b' ,"schema"'))
    refuse(path, "was edited")


def test_a_truncated_file_is_refused_wherever_it_ends(result, write):
    path = write(result)
    data = path.read_bytes()
    for length in [*range(0, len(data) - 1, max(len(data) // 40, 1)), len(data) - 1]:
        path.write_bytes(data[:length])
        refuse(path, "no JSON|truncated")


@pytest.mark.parametrize("text", ["[]", "3", "null", '"x"', "[" * 100_000, "\x00", "{}", '{"kind":"other"}'])
def test_what_is_no_result_is_refused(tmp_path, text):
    path = tmp_path / "result.json"
    path.write_text(text)
    refuse(path, "JSON|no latency result")


def test_what_cannot_be_read_is_refused(tmp_path, monkeypatch):
    refuse(tmp_path / "gone.json", "cannot be read")
    monkeypatch.setattr("swiftdeploy.harness.results.MAX_BYTES", 1)
    (tmp_path / "big.json").write_text("{}")
    refuse(tmp_path / "big.json", "larger than")
    assert MAX_BYTES == 256 << 20


def set_at(path, value):
    def edit(document):
        *parents, last = path
        for key in parents:
            document = document[key]
        document[last] = value(document[last]) if callable(value) else value

    return edit


def remove(*path):
    def edit(document):
        for key in path[:-1]:
            document = document[key]
        del document[path[-1]]

    return edit


SAMPLES = ("pairs", 1, "rounds", 2, "samples_ns")

MANY = {"resamples": 10000, "confidence_percent": 95}

EDITS = {
    "another version": (set_at(["schema"], 2), "schema version 2"),
    "an unknown field": (set_at(["extra"], 1), "does not fit the schema"),
    "a lost field": (remove("device", "os_build"), r"schema at \$\.device"),
    "a text for a number": (set_at(["pairs", 0, "load", "cold_ns"], "1"), "does not fit the schema"),
    "a fraction of a nanosecond": (set_at([*SAMPLES, 0], 1.5), "does not fit the schema"),
    "a NaN sample": (set_at([*SAMPLES, 0], float("nan")), "holds NaN"),
    "an infinite sample": (set_at([*SAMPLES, 0], float("inf")), "holds Infinity"),
    "a sample of no time": (set_at([*SAMPLES, 0], 0), "sample of zero time"),
    "a negative sample": (set_at([*SAMPLES, 0], -5), "does not fit the schema"),
    "a faster sample": (set_at([*SAMPLES, 0], lambda ns: ns // 2), "its samples give"),
    "a lost sample": (remove(*SAMPLES, 0), r"holds 7 samples in round 2, not 8 \(a-fp16 on cpuOnly\)"),
    "a lost round": (remove("pairs", 1, "rounds", 2), "lacks round 2|holds 5 rounds"),
    "a lost pair": (remove("pairs", 3), "holds 3 pairs"),
    "swapped pairs": (lambda d: d["pairs"].reverse(), "where its plan has"),
    "another hash": (set_at(["pairs", 0, "sha256"], "2" * 64), "another hash for a-fp16"),
    "a better estimate": (set_at(["pairs", 0, "statistics", "estimate_ms"], 0.1), "states estimate_ms 0.1"),
    "a better p99": (set_at(["pairs", 0, "statistics", "p99_ms"], 0.1), "states p99_ms"),
    "a narrower interval": (
        set_at(["pairs", 0, "statistics", "estimate_interval", "low"], 0.99999), "estimate_interval.low",
    ),
    "another count": (set_at(["pairs", 0, "statistics", "n"], 47), "states n"),
    "no statistics": (remove("pairs", 0, "statistics"), "without statistics"),
    "a better PSNR": (set_at(["pairs", 0, "parity", 0, "psnr_db"], 90.0), "states a PSNR of 90"),
    "no PSNR": (remove("pairs", 0, "parity", 0, "psnr_db"), "states a PSNR of None"),
    "a failure hidden": (
        set_at(["pairs", 0, "parity", 0, "samples", 1, "non_finite"], 1), "errors give another verdict",
    ),
    "a flip hidden": (set_at(["pairs", 0, "parity", 0, "samples", 1, "top1"], False), "errors give another verdict"),
    "no parity": (set_at(["pairs", 0, "parity"], []), "one parity for each output"),
    "another seed": (set_at(["plan", "seed"], 5), "the seed says"),
    "more rounds planned": (set_at(["plan", "rounds"], 9), "holds 6 rounds, its plan 9"),
    "a rearranged round": (set_at(["pairs", 0, "rounds", 0, "position"], lambda p: (p + 1) % 4), "the seed says"),
    "a billion rounds planned": (set_at(["plan", "rounds"], 10**9), "does not fit the schema"),
    "too much to recompute": (
        lambda d: d["plan"].update(rounds=1000, predictions_per_round=10000, bootstrap=MANY),
        "more than can be computed again",
    ),
    "no rounds planned": (set_at(["plan", "rounds"], 0), "does not fit the schema"),
    "a unit twice": (set_at(["plan", "compute_units"], ["all", "all"]), "does not fit the schema"),
    "validity made up": (set_at(["invalid"], ["thermal"]), "its facts say"),
    "a debugger forgotten": (set_at(["process", "debugger_attached"], True), "its facts say"),
}  # fmt: skip


@pytest.mark.parametrize("name", EDITS)
def test_an_edit_with_a_seal_of_its_own_is_refused(result, write, name):
    edit, match = EDITS[name]
    refuse(write(result, edit), match)


def test_a_missing_seal_is_refused(result, write):
    path = write(result)
    document = json.loads(path.read_text())
    del document["seal"]
    path.write_text(json.dumps(document))
    refuse(path, "has no seal")


def spoil(result, reason):
    power = values.PowerReading(low_power_mode=True)
    changes = {
        "debug_build": {"process": values.ProcessFacts(debug_build=True, debugger_attached=False, host="app")},
        "debugger": {"process": values.ProcessFacts(debug_build=False, debugger_attached=True, host="app")},
        "simulator": {"device": dataclasses.replace(result.device, kind="simulator")},
        "low_power_mode": {"power": dataclasses.replace(result.power, after=power)},
        "thermal": {"pairs": heat(result.pairs)},
    }
    return dataclasses.replace(result, **changes[reason], invalid=(reason,))


def heat(pairs):
    rounds = pairs[0].rounds
    hot = (*rounds[:-1], dataclasses.replace(rounds[-1], thermal="serious"))
    return (dataclasses.replace(pairs[0], rounds=hot), *pairs[1:])


@pytest.mark.parametrize("reason", ALLOWANCES)
def test_what_spoils_a_measurement_is_refused_unless_allowed(result, write, reason):
    words = {"debug_build": "debug build", "debugger": "debugger", "simulator": "simulator",
             "low_power_mode": "Low Power", "thermal": "throttled"}  # fmt: skip
    path = write(spoil(result, reason))
    refuse(path, words[reason])
    refuse(path, words[reason], allow=[r for r in ALLOWANCES if r != reason])
    assert read_result(path, allow=[reason]).invalid == (reason,)


def test_fair_is_not_throttled(result, write):
    rounds = tuple(dataclasses.replace(r, thermal="fair") for r in result.pairs[0].rounds)
    pairs = (dataclasses.replace(result.pairs[0], rounds=rounds), *result.pairs[1:])
    read_result(write(dataclasses.replace(result, pairs=pairs)))


def test_an_unknown_allowance_is_a_usage_error(result, write):
    with pytest.raises(UsageError, match="everything"):
        read_result(write(result), allow=["everything"])


@pytest.mark.parametrize("status", ["failed", "timed_out", "crashed"])
def test_a_unit_that_failed_is_kept_with_its_reason(result, write, status):
    failed = values.PairResult(
        model="a", precision="fp16", sha256=result.pairs[0].sha256, unit="all", status=status, reason="because",
        placement=(), parity=(), rounds=(),
    )  # fmt: skip
    read = read_result(write(dataclasses.replace(result, pairs=(failed, *result.pairs[1:]))))
    assert (read.pairs[0].status, read.pairs[0].reason) == (status, "because")


@pytest.mark.parametrize("name", ["plan", "result"])
def test_schemas_are_valid_schemas(name):
    jsonschema.Draft202012Validator.check_schema(load_schema(f"harness/{name}"))


def test_the_plan_schema_knows_every_field_of_a_plan():
    import dataclasses as d

    assert set(load_schema("harness/plan")["properties"]) == {f.name for f in d.fields(Plan)}
    assert set(load_schema("harness/result")["properties"]) == {f.name for f in d.fields(values.Measurement)}


def places(value, path=()):
    """Every place of a JSON document."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


STRANGE = [None, True, -1, 0, 1.5, 1e308, 2**70, "", "x" * 50, [], {}, [[]], {"a": 1}, "0" * 64]


def test_no_document_makes_it_stumble(result, write):
    rng = np.random.default_rng(0)
    document = json.loads(sealed(result))
    every = [path for path in places(document) if path and path[0] != "seal"]
    accepted = 0
    for _ in range(250):
        place = every[rng.integers(len(every))]
        strange = STRANGE[rng.integers(len(STRANGE))]
        edit = remove(*place) if rng.random() < 0.3 else set_at(place, strange)
        path = write(result, edit)
        with contextlib.suppress(ArtifactError):  # and no other error
            read_result(path, allow=ALLOWANCES)
            accepted += 1
    assert accepted < 25  # a few places hold free text, such as the launch's id


def test_no_byte_may_change(result, write):
    path = write(result)
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(1)
    for _ in range(150):
        place = int(rng.integers(len(data)))
        changed = bytearray(data)
        changed[place] ^= int(rng.integers(1, 256))
        path.write_bytes(changed)
        with pytest.raises(ArtifactError):
            read_result(path)
