"""Wall time of `swiftdeploy export` against a script that traces, converts and saves by hand, in fresh processes.

Both write a Core ML fp16 package and an ONNX fp16 file of SwiftFormer with untrained weights.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from pairs import interleave, milliseconds, ratio

BY_HAND = """
import sys, coremltools as ct, torch
from swiftdeploy import catalog, checkpoint
loaded = checkpoint.build_untrained(catalog.find(sys.argv[1]), 0, attention="token_l2")
example = torch.rand(1, 3, 224, 224)
with torch.no_grad():
    traced = torch.jit.trace(loaded.module, example)
model = ct.convert(traced, inputs=[ct.TensorType(name="image", shape=example.shape)], convert_to="mlprogram",
                   minimum_deployment_target=ct.target.iOS16)
model.save(sys.argv[2] + "/model.mlpackage")
torch.onnx.export(traced, (example,), sys.argv[2] + "/model.onnx", opset_version=20, dynamo=False,
                  input_names=["image"], output_names=["logits"])
import onnx
from onnxruntime.transformers.float16 import convert_float_to_float16
onnx.save(convert_float_to_float16(onnx.load(sys.argv[2] + "/model.onnx")), sys.argv[2] + "/model.onnx")
"""


def main() -> None:
    """Print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="swiftformer_xs")
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    command = [str(Path(sys.executable).with_name("swiftdeploy")), "export", "--untrained", "0"]
    command += ["--model", options.model, "--attention", "token_l2", "-q", "--force", "--target", "coreml"]
    with tempfile.TemporaryDirectory() as folder:

        def run(arguments: list[str]) -> None:
            subprocess.run(arguments, check=True, capture_output=True, env={**os.environ})

        def both(name: str, *switches: str) -> None:
            run([*command, "--target", "onnx", "-p", "fp16", "-o", f"{folder}/{name}", *switches])

        seconds = interleave(
            {
                "by_hand": lambda: run([sys.executable, "-c", BY_HAND, options.model, folder]),
                "no_verify": lambda: both("plain", "--no-verify"),
                "three_legs": lambda: both("proven"),
            },
            rounds=options.rounds,
            warm_up=1,
        )
    document = {
        "what": "export of one Core ML and one ONNX artifact, fresh processes, seconds paired by round",
        "model": options.model,
        "milliseconds": milliseconds(seconds),
        "no_verify_over_by_hand": ratio(seconds, "no_verify", "by_hand"),
        "three_legs_over_by_hand": ratio(seconds, "three_legs", "by_hand"),
        "goal": {"no_verify_over_by_hand": 1.1, "three_legs_over_by_hand": 2.5},
    }
    print(json.dumps(document, indent=2))


if __name__ == "__main__":
    main()
