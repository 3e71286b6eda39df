"""What went wrong in a run, the worst first: a problem for each job without a bundle, and for each failed check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from swiftdeploy.errors import EXIT_CODES, SEVERITY
from swiftdeploy.runs import Check, JobReport, RunReport

# What to do about a failed check, by the first word of its name; a failed job brings its own hint.
_HINTS = {
    "integrity": "a file changed after it was written: export again, and look for what changed it",
    "parity": "see the parity table; keep fragile ops in fp32 with precision auto, or choose fp32",
    "budget": "mend what got worse, or change the budget in the configuration if the new figure is meant",
    "export": "see the log of this job",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    """A failure or a warning, as every report shows it. `kind` is an error's class, or the meaning of the exit code."""

    job: str
    subject: str
    check: str
    verdict: Literal["fail", "warn"]
    kind: str
    fact: str
    hint: str
    exit_code: int

    @property
    def place(self) -> str:
        """The job, and the artifact where it is one artifact's problem."""
        return f"{self.job} / {self.subject}" if self.subject else self.job


def problems(report: RunReport) -> tuple[Problem, ...]:
    """All problems: failures before warnings, and among failures the most severe exit code first."""
    found = [problem for job in report.jobs for problem in _of_job(job)]
    return tuple(sorted(found, key=lambda problem: (problem.verdict != "fail", _severity(problem.exit_code))))


def kind_of(check: Check) -> str:
    """What a failure of the check means: the name of its exit code."""
    return EXIT_CODES.get(check.exit_code, EXIT_CODES[1]) if check.exit_code else check.name.split(".")[0]


def tells_failure(check: Check, job: JobReport) -> bool:
    """Whether the check only repeats the job's failure."""
    return job.failure is not None and check.name == "export" and check.verdict == "fail"


def _of_job(job: JobReport) -> list[Problem]:
    found = []
    if job.failure is not None:
        found.append(
            Problem(
                job=job.name,
                subject="",
                check=job.failure.stage,
                verdict="fail",
                kind=job.failure.kind,
                fact=job.failure.fact,
                hint=job.failure.hint,
                exit_code=job.failure.exit_code,
            )
        )
    for check in job.checks:
        if check.verdict in ("fail", "warn") and not tells_failure(check, job):
            found.append(_of_check(job, check))
    return found


def _of_check(job: JobReport, check: Check) -> Problem:
    return Problem(
        job=job.name,
        subject=check.subject,
        check=check.name,
        verdict="fail" if check.verdict == "fail" else "warn",
        kind=kind_of(check),
        fact=check.message,
        hint=_HINTS.get(check.name.split(".")[0], ""),
        exit_code=check.exit_code,
    )


def _severity(code: int) -> int:
    return SEVERITY.index(code if code in SEVERITY else 1)
