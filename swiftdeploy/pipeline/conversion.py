"""One program, target and precision become files in a folder."""

from __future__ import annotations

from pathlib import Path

from swiftdeploy import console
from swiftdeploy.pipeline.program import Built
from swiftdeploy.pipeline.scratch import scratch
from swiftdeploy.pipeline.subject import Subject
from swiftdeploy.spec import Precision, TargetName


def convert(
    subject: Subject, built: Built, folder: Path, name: str, target: TargetName, precision: Precision
) -> list[Path]:
    """Write one target and precision into `folder`: one path, or two where .ort is wanted beside .onnx."""
    options = subject.options
    if target == "coreml":
        with console.quiet():
            from swiftdeploy.targets import coreml

        path = folder / f"{name}{coreml.SUFFIX}"
        with scratch(folder):
            coreml.convert(
                built.classifier or built.program,
                path,
                precision=precision,
                min_ios=options.min_ios,
                input_kind=options.input_kind,
                labels=subject.labels,
                metadata=options.metadata,
            )
        return [path]
    with console.quiet():
        from swiftdeploy.targets import onnx

    path = folder / f"{name}{onnx.SUFFIX}"
    with scratch(folder):
        onnx.convert(
            built.program,
            path,
            precision=precision,
            opset=options.opset,
            dynamic_batch=options.dynamic_batch,
            labels=subject.labels,
            metadata=options.metadata,
        )
        return [path, onnx.to_ort(path)] if options.ort else [path]
