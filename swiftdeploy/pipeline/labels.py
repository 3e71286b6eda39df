"""Class labels: a file with one a line, or the name of a set that ships.

imagenet.txt holds the nouns of WordNet 3.0 (Princeton University) for the thousand synsets of ILSVRC 2012, in the order
of their numbers. WordNet calls two of them "crane"; here each says which.
"""

from __future__ import annotations

from importlib import resources
from pathlib import Path

from swiftdeploy.errors import UsageError

SETS = ("imagenet",)


def read_labels(source: str, *, classes: int) -> tuple[str, ...]:
    """The labels named by `source` ("imagenet", or a text file), one for each class.

    Raises UsageError when the file does not read, a label is empty or doubled, or the count is not `classes`.
    """
    if source in SETS and not Path(source).is_file():
        text = resources.files("swiftdeploy.pipeline").joinpath(f"{source}.txt").read_text(encoding="utf-8")
    else:
        try:
            text = Path(source).read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise UsageError(
                f"labels {source!r} cannot be read: {error}", hint=f"give a text file, or one of {', '.join(SETS)}"
            ) from error
    labels = tuple(line.strip() for line in text.splitlines())
    while labels and not labels[-1]:
        labels = labels[:-1]
    if len(labels) != classes:
        raise UsageError(
            f"{source} has {len(labels)} labels, the model has {classes} classes",
            hint="give one label a line, in class order",
        )
    if "" in labels:
        raise UsageError(f"label {labels.index('') + 1} of {source} is empty", hint="give every class a name")
    double = next((label for i, label in enumerate(labels) if label in labels[:i]), None)
    if double is not None:
        raise UsageError(f"{source} has the label {double!r} twice", hint="Core ML needs labels that differ")
    return labels
