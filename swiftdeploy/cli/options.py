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
Precisions = Annotated[
    list[str] | None,
    typer.Option(
        "--precision",
        "-p",
        metavar="NAME|FILE.toml",
        help="fp16, fp32, auto, int8, int4, w8, w8a8, pal8 to pal2, sparse50 to sparse95; repeatable.",
    ),
]
Calibration = Annotated[
    Path | None, typer.Option("--calibration", metavar="DIR", help="Images on which activations' ranges are measured.")
]
Int8 = Annotated[
    list[str] | None,
    typer.Option(
        "--int8",
        metavar="NAME=VALUE",
        help="ONNX int8: method, percentile, gelu, weight_bits, activations, keep_float; repeatable.",
    ),
]
MaxDrift = Annotated[
    float | None, typer.Option("--max-drift", metavar="DB", help="Compressed: least PSNR against the original.")
]
MinAgreement = Annotated[
    float | None, typer.Option("--min-agreement", metavar="PERCENT", help="Compressed: least top-1 agreement.")
]
