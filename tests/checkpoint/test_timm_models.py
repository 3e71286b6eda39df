"""`--model timm:NAME`: what timm is asked for, with a stand-in for timm, and with timm itself where it imports."""

import sys
import types

import pytest
import torch
from torch import nn

from swiftdeploy import catalog
from swiftdeploy.checkpoint import Checkpoint, build, build_untrained
from swiftdeploy.errors import DependencyError, ModelError
from swiftdeploy.spec import Preprocessing


class Branches(nn.Module):
    """Two parallel convolutions that `reparameterize` merges into one, as RepVGG's families do."""

    def __init__(self, num_classes=10, in_chans=3):
        super().__init__()
        self.stem = nn.Conv2d(in_chans, 4, 1)
        self.twin = nn.Conv2d(in_chans, 4, 1)
        self.fc = nn.Linear(4, num_classes)
        self.pretrained_cfg = {
            "classifier": ("fc",),
            "first_conv": "stem",
            "input_size": (3, 96, 96),
            "mean": (0.5,) * 3,
            "std": (0.25,) * 3,
            "crop_pct": 0.75,
            "interpolation": "bilinear",
        }

    def forward(self, x):
        x = self.stem(x) if self.twin is None else self.stem(x) + self.twin(x)
        return self.fc(x.mean((2, 3)))

    def reparameterize(self):
        self.stem.weight.data += self.twin.weight.data
        self.stem.bias.data += self.twin.bias.data
        self.twin = None
        return self


@pytest.fixture
def timm(monkeypatch):
    def create_model(name, *, pretrained, **options):
        assert pretrained is False
        if name != "branches":
            raise RuntimeError(f"Unknown model ({name})")
        return Branches(**options)

    library = types.ModuleType("timm")
    library.create_model = create_model
    library.utils = types.ModuleType("timm.utils")
    library.utils.reparameterize_model = lambda module: module.reparameterize()
    monkeypatch.setitem(sys.modules, "timm", library)
    monkeypatch.setitem(sys.modules, "timm.utils", library.utils)
    return library


def checkpoint(state):
    return Checkpoint(state=state, source="c", sha256="", format="safetensors")


@pytest.mark.parametrize(("classes", "channels"), [(10, 3), (4, 3), (10, 1), (4, 1)])
def test_weights_are_loaded_then_reparameterised(classes, channels, timm):
    trained = Branches(num_classes=classes, in_chans=channels)
    x = torch.randn(2, channels, 8, 8)
    expected = trained(x)
    loaded = build(checkpoint(trained.state_dict()), catalog.find("timm:branches"))
    torch.testing.assert_close(loaded.module(x), expected)
    assert loaded.module.twin is None
    assert loaded.provenance.keys.loaded == 6
    changed = {"num_classes": 4} if classes == 4 else {}
    assert loaded.arguments == {**changed, **({"in_chans": 1} if channels == 1 else {})}
    assert (loaded.preprocessing.resize, loaded.preprocessing.crop) == (128, 96)
    assert loaded.preprocessing.std == (0.25,) * channels


def test_untrained(timm):
    loaded = build_untrained(catalog.find("timm:branches"), 1, arguments={"num_classes": 3})
    assert loaded.module.fc.out_features == 3
    assert loaded.preprocessing == Preprocessing(
        resize=128, crop=96, interpolation="bilinear", mean=(0.5,) * 3, std=(0.25,) * 3
    )


def test_unknown_names(timm, refused):
    refused(lambda: build_untrained(catalog.find("timm:nothing"), 0), ModelError, "'nothing'", "Unknown model")


@pytest.mark.parametrize("error", [ImportError("No module named 'timm'"), RuntimeError("operator nms does not exist")])
def test_without_timm(error, monkeypatch, refused):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "timm":
                raise error

    for name in [name for name in sys.modules if name.split(".")[0] == "timm"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    found = refused(
        lambda: build_untrained(catalog.find("timm:resnet18"), 0), DependencyError, "timm does not import", str(error)
    )
    assert found.exit_code == 8


@pytest.mark.filterwarnings("ignore")
def test_timm_itself():
    try:
        import timm
    except (ImportError, RuntimeError) as error:
        pytest.skip(f"timm does not import: {error}")
    torch.manual_seed(0)
    trained = timm.create_model("repvgg_a0", num_classes=5)
    trained.train()(torch.randn(2, 3, 64, 64))
    x = torch.randn(1, 3, 64, 64)
    expected = trained.eval()(x)
    loaded = build(checkpoint(trained.state_dict()), catalog.find("timm:repvgg_a0"))
    assert loaded.arguments == {"num_classes": 5}
    assert sum(1 for m in loaded.module.modules() if isinstance(m, nn.BatchNorm2d)) == 0
    torch.testing.assert_close(loaded.module(x), expected, rtol=1e-3, atol=1e-4)
