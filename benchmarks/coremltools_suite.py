"""coremltools' own tests, run against the reference runtime: how many of its numeric comparisons hold.

    python benchmarks/coremltools_suite.py --sample 1000 --seed 0 --jobs 2     what CI runs (make suite)
    python benchmarks/coremltools_suite.py --all --jobs 2                      everything, in hours
    python benchmarks/coremltools_suite.py --all --shard 1/8 --record 1.jsonl  an eighth; then: --whole --merge *.jsonl

Prints one JSON document. Exit code 1 if a case disagrees that coremltools_suite_exceptions.toml does not list, if a
listed one agrees, or if a case was lost.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import tomllib
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

SUITES = (
    "coremltools.converters.mil.mil.ops.tests",
    "coremltools.converters.mil.frontend.torch.test.test_torch_ops",
)
OUTCOMES = ("agreed", "disagreed", "error", "unreached", "skipped")
EXCEPTIONS = Path(__file__).with_name("coremltools_suite_exceptions.toml")
_ENVIRONMENT = {
    "PYMIL_TEST_TARGETS": "mlprogram",
    "INCLUDE_MIL_FP32_UNIT_TESTS": "1",
    "PYTHONHASHSEED": "0",
    "OMP_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TQDM_DISABLE": "1",
    "TOKENIZERS_PARALLELISM": "false",
}


def main(arguments: list[str] | None = None) -> int:
    """Run what the command line says; the exit code."""
    options = _parser().parse_args(arguments)
    if options.worker:
        return _work(options)
    if options.merge:
        lines = [line for path in options.merge for line in _lines(path)]
        names = sorted({line["case"] for line in lines})
    else:
        with tempfile.TemporaryDirectory(prefix="coremltools-suite-") as folder:
            names = _chosen(options, Path(folder))
            # Absolute, since the workers run in the folder of their own.
            record = (options.record or Path(folder) / "record.jsonl").resolve()
            lines = _run(names, options, record, Path(folder))
    partial = options.shard or options.select or options.suite
    whole = options.whole or bool(options.all and not partial)
    document = summarise(lines, names, read_exceptions(EXCEPTIONS), whole=whole)
    if options.brief:
        document.pop("ops")
    json.dump(document, sys.stdout, indent=1)
    sys.stdout.write("\n")
    return 0 if document["holds"] else 1


def choose(names: Iterable[str], *, count: int, seed: int) -> list[str]:
    """A fixed sample of `count` cases: each test function gets its share in turn, its cases drawn by `seed`."""
    strata: dict[str, list[str]] = defaultdict(list)
    for name in sorted(names):
        strata[name.partition("[")[0]].append(name)
    draw = random.Random(seed)
    queues = [draw.sample(stratum, len(stratum)) for _, stratum in sorted(strata.items())]
    draw.shuffle(queues)
    picked: list[str] = []
    while len(picked) < count and queues:
        for queue in queues:
            picked.append(queue.pop())
        queues = [queue for queue in queues if queue]
    return sorted(picked[:count])


def read_exceptions(path: Path) -> dict[str, Mapping[str, Any]]:
    """The listed exceptions: a case's name, or the start of several names, to its evidence."""
    tables: dict[str, Mapping[str, Any]] = {}
    for entry in tomllib.loads(path.read_text(encoding="utf-8")).get("exception", []):
        for case in entry["cases"]:
            tables[case] = entry
    return tables


def summarise(
    lines: Iterable[Mapping[str, Any]], names: Iterable[str], exceptions: Mapping[str, Any], *, whole: bool
) -> dict[str, Any]:
    """The result document of the recorded `lines` for the cases `names`; `whole` asks that no exception is stale."""
    final = {line["case"]: line for line in lines}
    counts = Counter(line["outcome"] for line in final.values())
    disagreed = {name: line.get("reason", "") for name, line in sorted(final.items()) if line["outcome"] == "disagreed"}
    listed = {name: _exception(name, exceptions) for name in final}
    unlisted = {name: reason for name, reason in disagreed.items() if listed[name] is None}
    passing = sorted(name for name, line in final.items() if listed[name] and line["outcome"] == "agreed")
    stale = sorted(set(exceptions) - {key for key in listed.values() if key}) if whole else []
    lost = sorted(set(names) - set(final))
    reached = counts["agreed"] + counts["disagreed"]
    return {
        "schema": 1,
        "versions": _versions(),
        "cases": len(final),
        **{outcome: counts[outcome] for outcome in OUTCOMES},
        "reached_a_prediction": reached,
        "share_that_agrees": round(counts["agreed"] / reached, 6) if reached else None,
        "listed_exceptions": len(disagreed) - len(unlisted),
        "ops": _by_op(final.values(), listed),
        "seconds": round(sum(line["seconds"] for line in final.values()), 1),
        "unlisted_disagreements": unlisted,
        "listed_but_agreeing": passing,
        "listed_but_absent": stale,
        "lost": lost,
        "errors_before_a_prediction": _grouped_errors(final.values()),
        "holds": bool(counts["agreed"]) and not (unlisted or passing or lost or stale),
    }


def _exception(name: str, exceptions: Mapping[str, Any]) -> str | None:
    if name in exceptions:
        return name
    # A key that ends in "*" covers every name that starts with it.
    return next((key for key in exceptions if key.endswith("*") and name.startswith(key[:-1])), None)


def _by_op(lines: Iterable[Mapping[str, Any]], listed: Mapping[str, str | None]) -> dict[str, dict[str, int]]:
    """For each op, how many predicting cases hold it: those that agree, those that are listed, and all."""
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        if line["outcome"] in ("agreed", "disagreed"):
            for op in line.get("ops", ()):
                counts[op].update(("all", "agreed") if line["outcome"] == "agreed" else ("all",))
                counts[op]["listed"] += line["outcome"] == "disagreed" and listed[line["case"]] is not None
    return {op: {key: counts[op][key] for key in ("agreed", "listed", "all")} for op in sorted(counts)}


def _grouped_errors(lines: Iterable[Mapping[str, Any]]) -> dict[str, int]:
    """How often each reason stopped a case before it reached a prediction; most frequent first."""
    reasons = Counter(line.get("reason", "").partition("\n")[0][:160] for line in lines if line["outcome"] == "error")
    return dict(reasons.most_common())


def _versions() -> dict[str, str]:
    from importlib.metadata import version

    return {name: version(name) for name in ("coremltools", "torch", "numpy", "swiftdeploy-toolchain")}


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()] if path.exists() else []


def _chosen(options: argparse.Namespace, folder: Path) -> list[str]:
    listing = folder / "names.txt"
    _worker(["--list", str(listing)], options.suite, folder).wait()
    names = listing.read_text(encoding="utf-8").splitlines()
    names = [name for name in names if all(text in name for text in options.select)]
    if options.sample is not None:
        names = choose(names, count=options.sample, seed=options.seed)
    if options.shard:
        index, count = (int(part) for part in options.shard.split("/"))
        names = names[index - 1 :: count]
    if options.resume and options.record:
        known = {line["case"] for line in _lines(options.record)}
        names = [name for name in names if name not in known]
    return names


def _run(names: list[str], options: argparse.Namespace, record: Path, folder: Path) -> list[dict[str, Any]]:
    """The record of `names` run by `options.jobs` processes. One that dies costs its current case, not the others."""
    todo, jobs = list(names), options.jobs
    while todo:
        workers = []
        for index in range(jobs):
            keep = folder / f"keep-{index}.txt"
            keep.write_text("\n".join(todo[index::jobs]), encoding="utf-8")
            if todo[index::jobs]:
                workers.append(_worker(["--keep", str(keep), "--record", f"{record}"], options.suite, folder))
        for worker in workers:
            worker.wait()
        known = {line["case"] for line in _lines(record)}
        left = [name for name in todo if name not in known]
        if len(left) == len(todo) or all(worker.returncode in (0, 1, 5) for worker in workers):
            break
        todo = left
    wanted = set(names)
    return [line for line in _lines(record) if line["case"] in wanted]


def _worker(arguments: list[str], suites: list[str] | None, folder: Path) -> subprocess.Popen[bytes]:
    environment = {**os.environ, **_ENVIRONMENT}
    arguments = [*arguments, *(part for suite in suites or SUITES for part in ("--suite", suite))]
    log = (folder / "worker.log").open("ab")
    return subprocess.Popen(
        [sys.executable, __file__, "--worker", *arguments], env=environment, stdout=log, stderr=log, cwd=folder
    )


def _work(options: argparse.Namespace) -> int:
    """Inside a worker: collect, and list the names or run those to keep."""
    import pytest

    sys.path.insert(0, str(Path(__file__).parent))
    import coremltools_suite_gate as gate

    gate.open_gate()
    empty = Path.cwd() / "empty.ini"
    empty.write_text("[pytest]\n", encoding="utf-8")
    common = ["-c", str(empty), "-p", "no:cacheprovider", "-W", "ignore", "-q", "--tb=no", "--no-header", "--pyargs"]
    if options.list:
        lister = _Lister(options.list)
        return int(pytest.main([*common, "--collect-only", "-qqq", *options.suite], plugins=[lister]))
    keep = Path(options.keep).read_text(encoding="utf-8").splitlines()
    return int(pytest.main([*common, *options.suite], plugins=[gate.Recorder(options.record, keep)]))


class _Lister:
    """A pytest plugin that writes the names of all collected cases."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def pytest_collection_finish(self, session: Any) -> None:
        import coremltools_suite_gate as gate

        self._path.write_text("\n".join(gate.case_name(item) for item in session.items), encoding="utf-8")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="coremltools' own tests against the reference runtime")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--sample", type=int, metavar="N", help="a stratified sample of N cases")
    what.add_argument("--all", action="store_true", help="every case")
    what.add_argument("--merge", type=Path, nargs="+", metavar="RECORD", help="summarise records of earlier runs")
    what.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--seed", type=int, default=0, help="of the sample (default 0)")
    parser.add_argument("--shard", metavar="I/N", help="the I-th of N parts")
    parser.add_argument(
        "--suite", action="append", metavar="MODULE", help="a module or package of tests (default: both)"
    )
    parser.add_argument(
        "--select", action="append", default=[], metavar="TEXT", help="only cases whose name contains (each) TEXT"
    )
    parser.add_argument("--jobs", type=int, default=1, help="processes (default 1)")
    parser.add_argument("--record", type=Path, help="keep one line of JSON a case in this file")
    parser.add_argument(
        "--whole", action="store_true", help="the merged records are all there is: no exception is stale"
    )
    parser.add_argument("--brief", action="store_true", help="leave the table of ops out of the document")
    parser.add_argument("--resume", action="store_true", help="leave out the cases that the record already holds")
    parser.add_argument("--list", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--keep", type=Path, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
