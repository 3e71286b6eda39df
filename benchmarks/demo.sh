#!/usr/bin/env bash
# The main job on the checkpoint that ships: export to both targets, verify the bundle, and show the same top-1 for the
# oracle, ONNX Runtime and the Core ML package in the reference runtime.
set -euo pipefail
cd "$(dirname "$0")/.."
swiftdeploy=${1:-swiftdeploy}
python=$(dirname "$swiftdeploy")/python
out=${2:-dist}

"$swiftdeploy" export examples/digits/swiftformer_digits.pth --model swiftformer_digits --attention token_l2 \
    --target coreml --target onnx --precision fp16 --precision fp32 --labels examples/digits/labels.txt \
    --output "$out" --force
echo
"$swiftdeploy" verify "$out/swiftformer_digits"
echo
"$python" benchmarks/digits_accuracy.py "$out/swiftformer_digits"
echo
echo "the bundle lies in $out/swiftformer_digits"
