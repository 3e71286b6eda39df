"""Options that several commands share, spelled once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="One JSON document on stdout, also for a failure.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress.")]
Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also what the converters print.")]
NoColor = Annotated[bool, typer.Option("--no-color", help="No colour (NO_COLOR works too).")]
Attention = Annotated[
    str | None,
    typer.Option(
        "--attention",
        metavar="sum|token_l2",
        help="Generation of SwiftFormer's attention, where the weights cannot tell: sum (before July 2023), token_l2.",
    ),
]
PassphraseEnv = Annotated[
    str | None, typer.Option("--passphrase-env", metavar="NAME", help="Environment variable with the key's passphrase.")
]
PassphraseFile = Annotated[
    Path | None, typer.Option("--passphrase-file", help="File whose first line is the key's passphrase.")
]
