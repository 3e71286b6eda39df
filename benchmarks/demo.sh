#!/usr/bin/env bash
# The main job on the checkpoint that ships: export to both targets, verify the bundle, and show the same top-1 for the
# oracle, ONNX Runtime and the Core ML package in the reference runtime.
set -euo pipefail
cd "$(dirname "$0")/.."
swiftdeploy=${1:-swiftdeploy}
out=${2:-dist}

"$swiftdeploy" export examples/digits/swiftformer_digits.pth --model swiftformer_digits --attention token_l2 \
    --target coreml --target onnx --precision fp16 --precision fp32 --labels examples/digits/labels.txt \
    --output "$out" --force
echo
"$swiftdeploy" verify "$out/swiftformer_digits"
echo
# The folders are called 0 to 9, the classes zero to nine.
"$swiftdeploy" evaluate "$out/swiftformer_digits" --images examples/digits/images --labels sorted \
    --checkpoint examples/digits/swiftformer_digits.pth
echo
echo "the bundle lies in $out/swiftformer_digits"
