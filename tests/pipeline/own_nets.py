"""Networks as users bring them, of layers that converters write with constants of their own. Copied beside a test."""

import torch
from torch import nn
from torch.nn import functional as F


class Around(nn.Module):
    """A stem, the layer in question, and a head."""

    def __init__(self, layer, width=24):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, 2, 1)
        self.layer = layer
        self.head = nn.Linear(width, 10)
        for parameter in layer.parameters():  # trained norms have gains and shifts
            nn.init.normal_(parameter, 1.0, 0.3)

    def forward(self, x):
        return self.head(F.silu(self.layer(self.stem(x))).mean((2, 3)))


class Called(nn.Module):
    """A function as a layer."""

    def __init__(self, function):
        super().__init__()
        self.function = function

    def forward(self, x):
        return self.function(x)


def groups():
    return Around(nn.GroupNorm(4, 24))


def wide_groups():
    return Around(nn.GroupNorm(4, 96), 96)


def group():
    return Around(nn.GroupNorm(1, 24))


def instance():
    return Around(nn.InstanceNorm2d(24))


def instance_affine():
    return Around(nn.InstanceNorm2d(24, affine=True))


def layer_norm_bare():
    return Around(Called(lambda x: F.layer_norm(x, x.shape[1:])))


def upsampled():
    return Around(Called(lambda x: F.interpolate(x, scale_factor=2, mode="bilinear")))


def scaled():
    """A constant of the network itself, which is a weight as any other."""
    gain = torch.linspace(0.5, 2, 24).reshape(1, 24, 1, 1)
    return Around(Called(lambda x: x * gain))


class Odd(Around):
    """A network whose forward is none that an artifact can have."""

    def __init__(self, answer):
        super().__init__(nn.Identity())
        self.answer = answer

    def forward(self, x):
        return self.answer(super().forward(x))


class TwoImages(Around):
    """Two images in, and an option."""

    def __init__(self):
        super().__init__(nn.Identity())

    def forward(self, left, right, scale=1.0):
        return super().forward(left) - scale * super().forward(right)


def named():
    return Odd(lambda y: {"logits": y})


def nested():
    return Odd(lambda y: (y, [y]))


def two_images():
    return TwoImages()


class Recurrent(nn.Module):
    """Features of a few columns, read by a recurrent layer from both sides."""

    def __init__(self, layer):
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 8, 8)
        self.layer = layer(24, 16, batch_first=True, bidirectional=True)
        self.head = nn.Linear(32, 10)

    def forward(self, x):
        columns, _ = self.layer(self.stem(x).flatten(2).transpose(1, 2))
        return self.head(columns.mean(1))


def lstm():
    return Recurrent(nn.LSTM)


def gru():
    return Recurrent(nn.GRU)


def even_slopes():
    slopes = nn.PReLU(24)
    net = Around(slopes)
    nn.init.constant_(slopes.weight, 0.25)
    return net


class OneImage(nn.Module):
    """A forward that says how many images there are."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 8, 8, 8)
        self.head = nn.Linear(8 * 16, 10)

    def forward(self, x):
        return self.head(torch.relu(self.stem(x)).view(1, -1))


def one_image():
    return OneImage()
