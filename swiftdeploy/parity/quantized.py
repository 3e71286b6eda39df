"""Whether an 8-bit .onnx file is the fp32 one rounded as it says, and whether the runtime computes what it says.

Three questions, each a function that answers with values of `report` (`as_written` and `conditioning_db` are the parts
that a bundle's golden answers and their gate are made of):

    weights     is every stored integer the nearest one to its fp32 weight?
    execution   does each fused integer kernel answer as its operators do when they are run in float, as written?
    drift       how far are the outputs from the oracle's? That is what 8 bits cost, a budget and no fault.

Two runs of one quantised network part ways by themselves: where a value lies within float's rounding of the border
between two steps, one run takes the upper and the other the lower, and layers later half of all values differ by a
step. `execution` therefore compares every operator on the same input: the graph is cut at each QuantizeLinear, and the
optimised session gets what the unoptimised one computed there. Cut so, two right runs differ by one step at most, and
in few places: sums of K products within +-2**15 steps are off by about sqrt(K) * 2**-24 of that, some 1e-2 of a step,
which is the share of values near enough to a border. A saturated sum, a wrong scale or zero point is off by several
steps, or by one nearly everywhere.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from swiftdeploy.errors import ArtifactError
from swiftdeploy.parity import compare, metrics
from swiftdeploy.report import Leg, OutputParity, WeightParity
from swiftdeploy.targets.onnx_int8_attention import parts_of
from swiftdeploy.targets.onnx_int8_channels import grown

Array = NDArray[Any]
Arrays = Mapping[str, Array]

STEPS = 1  # by which one operator's result may differ
SHARE = 0.01  # of its values that may
FEW = 2  # values that may in any case: of a hundred, a single one would be the whole share
_HALF = 0.5 + 1e-3  # of a step, from an fp32 weight to its integer; the rest is fp32's own rounding
_GIVEN = "__given"
_TRIES = 3
_HINT = "export again, or restore the file"


def weights(fp32: Path, int8: Path, *, floating: Collection[str] = ()) -> WeightParity:
    """Whether each float tensor of the fp32 file is in the 8-bit one: equal, or as integers at most half a step away.

    More channels than in fp32 (`targets.onnx_int8_channels`) have to be zeros. A step is the channel's scale, or for a
    bias input scale times weight scale. `floating` names the nodes that compute in float (`Placement.floating`): a
    weight of any other convolution or matrix product must be integers; its bias need not.
    """
    source, target = _load(fp32), _load(int8)
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in target.graph.initializer}
    readers = {n.input[0]: n for n in target.graph.node if n.op_type == "DequantizeLinear" and n.input[0] in stored}
    due = {
        node.input[1]
        for node in source.graph.node
        if node.op_type in ("Conv", "ConvTranspose", "Gemm", "MatMul") and node.name not in floating
    }
    whole = {t.name: numpy_helper.to_array(t) for t in source.graph.initializer if _weighty(t)}
    wanted = {}
    for name, value in whole.items():
        parts = parts_of(name, value, stored)
        wanted.update(parts)
        due |= set(parts) if name in due else set()
    problems = []
    for name, value in wanted.items():
        reader = readers.get(f"{name}_quantized")
        if reader is not None:
            problem = _integer_problem(value, reader, stored)
        elif name in due:
            problem = "is no integers in the file"
        else:
            problem = "" if any(_same(value, s) for s in stored.values()) else "is not in the file"
        problems += [f"{name}: {problem}"] if problem else []
    return WeightParity(tensors=len(wanted), equal=len(wanted) - len(problems), problems=tuple(problems))


def execution(path: Path, inputs: NDArray[np.float32], *, samples: Sequence[str]) -> Leg:
    """The optimised session against the graph as written, operator by operator, over `inputs` (N, C, H, W).

    Fails where an operator is off by more than STEPS, or in more than SHARE of its values (and more than FEW) on one
    image; `divergence` names the worst one. Outputs are what follows the last rounding, at the fp32 gate: where no
    activation is rounded, the whole network with its decompressed weights. `samples` names each input. A wrong range of
    an activation is in both runs, and shows as `drift`.
    """
    model = _load(path)
    rounded = [node.output[0] for node in model.graph.node if node.op_type == "QuantizeLinear"]
    outputs = [value.name for value in model.graph.output]
    written = _session(_exposed(model, rounded), optimised=False)
    spec = written.get_inputs()[0]
    batch = spec.shape[0] if isinstance(spec.shape[0], int) else 1
    cut: onnxruntime.InferenceSession | None = None
    worst, divergence = 0.0, ""
    expected: dict[str, list[Array]] = {name: [] for name in outputs}
    found: dict[str, list[Array]] = {name: [] for name in outputs}
    for sample, image in zip(samples, inputs, strict=True):
        feed = {spec.name: np.repeat(image[None], batch, axis=0)}
        values = _run(written, [*outputs, *rounded], feed)
        cut = cut or _session(_cut(model, {name: values[name] for name in rounded}), optimised=True)
        answers = _run(cut, [*outputs, *rounded], feed | {f"{name}{_GIVEN}": values[name] for name in rounded})
        excess, where = _worst_apart(model, values, answers, rounded)
        if excess > worst:
            worst, divergence = excess, f"{where}, on {sample}"
        for name in outputs:
            expected[name].append(values[name][0])
            found[name].append(answers[name][0])
    parity = compare.held_to(
        {name: np.stack(value) for name, value in expected.items()},
        {name: np.stack(value) for name, value in found.items()},
        gate=compare.GATES["fp32"],
        samples=samples,
    )
    verdict = "fail" if divergence else compare.worst([output.verdict for output in parity])
    return Leg(name="outputs", verdict=verdict, outputs=parity, divergence=divergence)


def as_written(path: Path, inputs: NDArray[np.float32]) -> dict[str, Array]:
    """The outputs of the graph over `inputs` (N, C, H, W), sample axis first, each operator run as it stands."""
    model = _load(path)
    session = _session(model, optimised=False)
    return _answers(session, [value.name for value in model.graph.output], inputs)


def conditioning_db(path: Path, inputs: NDArray[np.float32]) -> float:
    """How close two right runs of the file come to each other: the worst PSNR over outputs, `inputs` and tries.

    The tries are the optimised session, and inputs that are off by as much as float32 sums of thousands of products
    are: near the border of two steps either lands on the other side.
    """
    model = _load(path)
    names = [value.name for value in model.graph.output]
    written, optimised = (_session(model, optimised=choice) for choice in (False, True))
    exact = _answers(written, names, inputs)
    generator = np.random.default_rng(0)
    near = [_answers(optimised, names, inputs)]
    for _ in range(_TRIES):
        noise = generator.uniform(-(2.0**-18), 2.0**-18, inputs.shape).astype(np.float32)
        near.append(_answers(written, names, inputs * (1 + noise)))
    worst = math.inf
    for found in near:
        for name, value in exact.items():
            peak = float(np.abs(value).max(initial=0.0))
            worst = min(worst, *(metrics.psnr_db(e, f, peak=peak) for e, f in zip(value, found[name], strict=True)))
    return worst


def drift(
    reference: Arrays, candidate: Arrays, *, samples: Sequence[str], least_db: float, least_top1: float = 0.0
) -> tuple[OutputParity, ...]:
    """What 8 bits cost at the outputs, sample axis first, against the fp32 oracle's.

    `top1` and `top5` are plain shares of samples: the oracle's best class is the candidate's best, or among its best
    five. Fails below `least_db` on the worst sample, or below `least_top1`; and for anything missing or not finite.
    """
    gate = compare.Gate(passes=least_db, fails=least_db)
    return tuple(
        _with_agreement(found, reference[found.name], candidate[found.name], least_top1)
        if found.name in reference and found.name in candidate and found.psnr_db != compare.FAILED_DB
        else found
        for found in compare.held_to(reference, candidate, gate=gate, samples=samples, flips_fail=False)
    )


def _with_agreement(found: OutputParity, reference: Array, candidate: Array, least_top1: float) -> OutputParity:
    if found.top1 is None:
        return found
    theirs = reference.reshape(len(reference), -1).argmax(axis=1)
    order = np.argsort(-candidate.reshape(len(candidate), -1), axis=1, kind="stable")
    top1, top5 = (float((order[:, :k] == theirs[:, None]).any(axis=1).mean()) for k in (1, 5))
    found = dataclasses.replace(found, top1=top1, top5=top5)
    if top1 >= least_top1:
        return found
    reason = f"the oracle's class wins on {top1:.1%} of samples, {least_top1:.1%} asked for"
    return dataclasses.replace(found, verdict="fail", reason=found.reason or reason)


def _worst_apart(model: onnx.ModelProto, values: Arrays, answers: Arrays, rounded: Sequence[str]) -> tuple[float, str]:
    """How far the worst operator is beyond what borders explain, 0 for none that is, and in words which and how."""
    made = {name: node for node in model.graph.node for name in node.output}
    worst, where = 0.0, ""
    for name in rounded:
        apart = np.abs(answers[name].astype(np.int32) - values[name].astype(np.int32))
        steps, share = int(apart.max(initial=0)), float((apart > 0).mean())
        excess = steps + share
        many = share > SHARE and int((apart > 0).sum()) > FEW
        if (steps > STEPS or many) and excess > worst:
            node = made.get(made[name].input[0])
            subject = name if node is None else node.name
            worst, where = excess, f"{subject}: up to {steps} steps apart, in {share:.2%} of its values"
    return worst, where


def _answers(session: onnxruntime.InferenceSession, names: Sequence[str], inputs: Array) -> dict[str, Array]:
    spec = session.get_inputs()[0]
    batch = spec.shape[0] if isinstance(spec.shape[0], int) else 1
    rows = [_run(session, names, {spec.name: np.repeat(image[None], batch, axis=0)}) for image in inputs]
    return {name: np.stack([row[name][0] for row in rows]) for name in names}


def _run(session: onnxruntime.InferenceSession, names: Sequence[str], feed: Arrays) -> dict[str, Array]:
    return dict(zip(names, session.run(list(names), dict(feed)), strict=True))


def _exposed(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    copied = onnx.ModelProto.FromString(model.SerializeToString())
    copied.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return copied


def _cut(model: onnx.ModelProto, values: Arrays) -> onnx.ModelProto:
    """The model whose every DequantizeLinear reads an input of the graph instead of the QuantizeLinear before it."""
    copied = _exposed(model, list(values))
    for node in copied.graph.node:
        for index, name in enumerate(node.input):
            if name in values:
                node.input[index] = f"{name}{_GIVEN}"
    copied.graph.input.extend(
        helper.make_tensor_value_info(f"{name}{_GIVEN}", helper.np_dtype_to_tensor_dtype(value.dtype), value.shape)
        for name, value in values.items()
    )
    return copied


def _session(model: onnx.ModelProto, *, optimised: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if not optimised:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def _integer_problem(value: Array, reader: onnx.NodeProto, stored: Arrays) -> str:
    """What is wrong with a tensor's integers; empty when they are the nearest ones. A DequantizeLinear reads them."""
    integers, scale = stored[reader.input[0]], stored[reader.input[1]].astype(np.float64)
    zero = stored[reader.input[2]].astype(np.float64) if len(reader.input) > 2 else np.zeros_like(scale)
    wanted = grown(value, integers.shape)
    if wanted is None:
        return f"shape {integers.shape}, expected {value.shape}"
    if not (scale > 0).all() or not np.isfinite(scale).all():
        return "a scale is not positive and finite"
    if (zero != 0).any():
        return "a zero point is not 0, and symmetric weights have no other"
    axis = next((a.i for a in reader.attribute if a.name == "axis"), 1)
    shape = [1] * value.ndim
    if scale.size > 1:
        shape[axis] = scale.size
    steps = np.abs(integers - wanted.astype(np.float64) / scale.reshape(shape))
    if steps.max(initial=0.0) <= _HALF:
        return ""
    return f"up to {steps.max():.2f} steps from its fp32 value, where 0.5 is rounding"


def _same(value: Array, stored: Array) -> bool:
    wanted = grown(value, stored.shape)
    return wanted is not None and np.array_equal(wanted, stored)


def _weighty(tensor: onnx.TensorProto) -> bool:
    return tensor.data_type == onnx.TensorProto.FLOAT and bool(np.prod(tensor.dims) > 1)


def _load(path: Path) -> onnx.ModelProto:
    try:
        return onnx.load_model(path)
    except Exception as error:
        raise ArtifactError(f"{path.name} is no readable ONNX file: {error}", hint=_HINT) from error
