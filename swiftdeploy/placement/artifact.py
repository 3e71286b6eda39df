"""One artifact's prediction, by what the file is."""

from __future__ import annotations

from pathlib import Path

from swiftdeploy.errors import UsageError
from swiftdeploy.report import OpCost, PlacementRecord


def place(path: Path) -> tuple[PlacementRecord, tuple[OpCost, ...]]:
    """The prediction for an .mlpackage or .onnx, and the cost of each op in it.

    Raises ArtifactError for a damaged file, UsageError for another kind.
    """
    if path.suffix == ".mlpackage":
        from swiftdeploy.placement import judge

        return judge.place(path)
    if path.suffix == ".onnx":
        return _model(path)
    raise UsageError(f"{path.name} cannot be judged", hint="name an .mlpackage or an .onnx file, or a bundle's folder")


def _model(path: Path) -> tuple[PlacementRecord, tuple[OpCost, ...]]:
    from swiftdeploy.placement import cost, onnx_cost, onnx_graph, providers

    graph = onnx_graph.read_graph(path)
    priced = onnx_cost.costs(graph)
    record = PlacementRecord(
        artifact=path.name,
        neural_engine=None,
        providers=tuple(providers.coverage(graph, provider) for provider in providers.PROVIDERS),
        cost=cost.total(priced, sum(onnx_cost.weights(graph).values())),
    )
    return record, priced
