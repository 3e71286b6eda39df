import pytest
import torch
from torch import nn

from swiftdeploy.capture import capture, freeze, origin
from swiftdeploy.errors import ConversionError
from swiftdeploy.spec import TensorSpec

X = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.ReLU())
        self.head = nn.Linear(4, 5)

    def forward(self, x):
        return self.head(self.stem(x).mean((2, 3)))


class Maps(Net):
    def forward(self, x):
        stem = self.stem(x)
        return stem, self.head(stem.mean((2, 3)))


@pytest.fixture
def net():
    torch.manual_seed(0)
    return Net().eval().requires_grad_(False)


def test_a_graph_computes_what_the_module_does(net):
    graph = capture(net, X)
    assert torch.equal(graph(X), net(X))


def test_every_node_knows_its_shape_and_its_module(net):
    graph = capture(net, X)
    found = {n.name: (tuple(n.meta["val"].shape), origin(n)) for n in graph.graph.nodes if n.op == "call_function"}
    assert list(found.values()) == [
        ((1, 4, 8, 8), "stem.0"),
        ((1, 4, 8, 8), "stem.1"),
        ((1, 4), ""),
        ((1, 5), "head"),
    ]
    assert all(n.meta["val"].is_meta for n in graph.graph.nodes if isinstance(n.meta.get("val"), torch.Tensor))
    weights = [n for n in graph.graph.nodes if n.op == "get_attr"]
    assert {tuple(n.meta["val"].shape) for n in weights} == {(4, 3, 3, 3), (4,), (5, 4), (5,)}


def test_weights_are_shared_with_the_module(net):
    graph = capture(net, X)
    net.head.bias.fill_(7.0)
    assert torch.equal(graph(X), net(X))


def test_control_flow_on_data_is_one_error():
    class Branching(nn.Module):
        def forward(self, x):
            return x * 2 if x.sum() > 0 else x

    with pytest.raises(ConversionError, match=r"torch\.export cannot capture Branching") as caught:
        capture(Branching(), X)
    assert "\n" not in caught.value.fact
    assert "torch.where" in caught.value.hint  # a trace would hold one branch for good
    assert "--no-fuse" not in caught.value.hint


def test_what_torch_export_alone_cannot_follow_may_be_traced():
    class Typed(nn.Module):
        def forward(self, x):
            return x.numpy() * 2

    with pytest.raises(ConversionError, match=r"torch\.export cannot capture Typed") as caught:
        capture(Typed(), X)
    assert "--no-fuse" in caught.value.hint


@pytest.mark.parametrize("graph", [True, False], ids=["a graph", "a module"])
def test_a_program_knows_its_border(net, graph):
    program = freeze(capture(net, X) if graph else net, X, input_name="image")
    assert program.inputs == (TensorSpec(name="image", shape=(1, 3, 8, 8)),)
    assert program.outputs == (TensorSpec(name="logits", shape=(1, 5)),)
    assert torch.equal(program.traced(X), net(X))


def test_several_outputs_are_numbered_or_named():
    module = Maps().eval().requires_grad_(False)
    assert [o.name for o in freeze(module, X, input_name="x").outputs] == ["features_0", "features_1"]
    named = freeze(capture(module, X), X, input_name="x", output_names=("map", "logits"))
    assert [(o.name, o.shape) for o in named.outputs] == [("map", (1, 4, 8, 8)), ("logits", (1, 5))]


def test_traced_values_lead_back_to_their_modules(net):
    program = freeze(capture(net, X), X, input_name="image")
    assert list(program.origins.values()) == ["stem.0", "stem.1", "", "head"]
    names = {value.debugName() for node in program.traced.graph.nodes() for value in node.outputs()}
    assert set(program.origins) <= names
    assert freeze(net, X, input_name="image").origins == {}


class Returns(nn.Module):
    def __init__(self, body):
        super().__init__()
        self.body = body

    def forward(self, x):
        return self.body(x)


@pytest.mark.parametrize(
    ("body", "fact"),
    [
        (lambda x: {"a": x}, "Returns returns a dict: supported are"),
        (lambda x: (), r"Returns returns a tuple of \(\): supported are"),
        (lambda x: (x, None), r"Returns returns a tuple of \(Tensor, NoneType\): supported are"),
        (lambda x: (x, [x]), r"Returns returns a tuple of \(Tensor, list\): supported are"),
        (lambda x: x @ x[:, :2], "cannot be traced: RuntimeError"),
    ],
    ids=["a dictionary", "nothing", "None", "nested", "an error"],
)
def test_outputs_that_are_no_tensors_are_one_error(body, fact):
    with pytest.raises(ConversionError, match=fact) as caught:
        freeze(Returns(body), X, input_name="image")
    assert "\n" not in caught.value.fact
    assert caught.value.hint
