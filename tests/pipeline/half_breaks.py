"""Networks that plain fp16 breaks, each as one published failure of coremltools does. Copied beside a test, and loaded
as a user's own model."""

import torch
from torch import nn


class Masked(nn.Module):
    """A row of attention that sees nothing but the mask finfo(float32).min: uniform in fp32, NaN in fp16 (#2669)."""

    def __init__(self):
        super().__init__()
        self.patch = nn.Conv2d(3, 16, 8, 8)
        self.query, self.key, self.value = (nn.Conv2d(16, 16, 1) for _ in range(3))
        self.head = nn.Linear(16, 10)

    def forward(self, x):
        x = self.patch(x)
        q, k, v = (part(x).flatten(2) for part in (self.query, self.key, self.value))
        tokens = q.shape[2]
        mask = torch.ones(tokens, tokens).triu(0) * torch.finfo(torch.float32).min
        weights = torch.softmax(q.transpose(1, 2) @ k * 0.25 + mask, dim=-1)
        return self.head((weights @ v.transpose(1, 2)).mean(dim=1))


class Loud(nn.Module):
    """Channels normalised by their own squares, which leave fp16's range inside the network (#2603, #2110)."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 2, 1), nn.ReLU())
        self.gain = nn.Parameter(torch.full((1, 16, 1, 1), 900.0))
        self.body = nn.Sequential(nn.Conv2d(16, 24, 3, 2, 1), nn.GELU(), nn.Conv2d(24, 24, 3, 1, 1), nn.GELU())
        self.head = nn.Linear(24, 10)

    def forward(self, x):
        x = self.stem(x) * self.gain
        x = x / torch.sqrt((x * x).sum(dim=1, keepdim=True) + 1e-6)
        return self.head(self.body(x).mean((2, 3)))


class Pooled(nn.Module):
    """Log of a sum of exponentials written out, whose sum leaves fp16's range from 11.09 on (#2690, #2729)."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(nn.Conv2d(3, 12, 3, 2, 1), nn.Tanh(), nn.Conv2d(12, 12, 3, 2, 1))
        self.head = nn.Linear(12, 10)

    def forward(self, x):
        return self.head(torch.log(torch.exp(4 * self.features(x)).sum((2, 3))))


def _seeded(kind):
    torch.manual_seed(0)
    return kind()


def masked():
    return _seeded(Masked)


def loud():
    return _seeded(Loud)


def pooled():
    return _seeded(Pooled)
