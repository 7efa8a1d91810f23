"""The reparameterised layers that test_fold.py exports: each form as it is written in the wild, by its own names."""

import math

import torch
import torch.nn as nn
import torch.nn.functional as F
from torch.nn.utils import parametrizations, parametrize, spectral_norm, weight_norm


class RowNormWrapper(nn.Module):
    """Sigma reparameterisation by row norms around a linear layer."""

    def __init__(self, linear: nn.Linear, eps: float = 1e-6):
        super().__init__()
        self.linear = linear
        self.sigma = nn.Parameter(torch.rand(1) + 1.5)
        self.eps = eps

    def forward(self, x):
        weight = self.linear.weight
        norm = torch.linalg.vector_norm(weight, dim=1, keepdim=True)
        return F.linear(x, self.sigma * weight / (norm + self.eps), self.linear.bias)


class PowerIterationWrapper(nn.Module):
    """Sigma reparameterisation by the spectral norm; takes a power step, and stores it, in eval mode too."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.randn(outputs))
        self.gamma = nn.Parameter(torch.full((1,), 2.0))
        self.register_buffer("u", F.normalize(torch.randn(outputs), dim=0))
        self.register_buffer("v", F.normalize(torch.randn(inputs), dim=0))

    def get_weight(self):
        with torch.no_grad():
            for _ in range(2):
                self.v = F.normalize(torch.mv(self.weight.t(), self.u), dim=0)
                self.u = F.normalize(torch.mv(self.weight, self.v), dim=0)
        sigma = torch.einsum("c,cd,d->", [self.u, self.weight, self.v])
        return self.gamma / sigma * self.weight

    def forward(self, x):
        return F.linear(x, self.get_weight(), self.bias)


class StoredVectorsWrapper(nn.Module):
    """Sigma reparameterisation by the spectral norm; the stored vectors move in training alone."""

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs))
        self.bias = nn.Parameter(torch.randn(outputs))
        self.sigma = nn.Parameter(torch.full((1,), 3.0))
        self.register_buffer("u", F.normalize(torch.randn(outputs), dim=0))
        self.register_buffer("v", F.normalize(torch.randn(inputs), dim=0))

    def update(self):
        with torch.no_grad():
            v = F.normalize(torch.mv(self.weight.t(), self.u), dim=0)
            u = F.normalize(torch.mv(self.weight, v), dim=0)
            self.u.copy_(u)
            self.v.copy_(v)

    def forward(self, x):
        if self.training:
            self.update()
        norm = torch.dot(self.u, torch.mv(self.weight, self.v))
        return F.linear(x, self.sigma / norm * self.weight, self.bias)


class LoRAWrapper(nn.Module):
    def __init__(self, base: nn.Linear, rank: int = 2):
        super().__init__()
        self.base = base
        self.A = nn.Parameter(torch.randn(rank, base.in_features))
        self.B = nn.Parameter(torch.randn(base.out_features, rank))
        self.scale = 0.5

    def forward(self, x):
        return F.linear(x, self.base.weight + (self.B @ self.A) * self.scale, self.base.bias)


class StandardisedConv(nn.Conv2d):
    def forward(self, x):
        mean = self.weight.mean(dim=(1, 2, 3), keepdim=True)
        std = self.weight.std(dim=(1, 2, 3), keepdim=True)
        return self._conv_forward(x, (self.weight - mean) / (std + 1e-5), self.bias)


class MaskedLinear(nn.Linear):
    def __init__(self, inputs: int, outputs: int):
        super().__init__(inputs, outputs)
        self.register_buffer("mask", (torch.rand(outputs, inputs) > 0.5).float())

    def forward(self, x):
        return F.linear(x, self.weight * self.mask, self.bias)


class EqualisedLinear(nn.Linear):
    """A weight stored at unit variance and scaled when it is used, as in StyleGAN."""

    def forward(self, x):
        return F.linear(x, self.weight * (1 / math.sqrt(self.in_features)), self.bias)


class Symmetric(nn.Module):
    def forward(self, x):
        return x.triu() + x.triu(1).transpose(-1, -2)


class Projections(nn.Module):
    """Two reparameterised projections in one module's own forward: neither can be called plainly `weight`."""

    def __init__(self, width: int):
        super().__init__()
        self.q = nn.Linear(width, width)
        self.k = nn.Linear(width, width)
        self.q_sigma = nn.Parameter(torch.full((1,), 2.0))
        self.k_sigma = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, x):
        q = F.linear(x, self.q_sigma * self.q.weight / torch.linalg.vector_norm(self.q.weight), self.q.bias)
        k = F.linear(x, self.k_sigma * self.k.weight / torch.linalg.vector_norm(self.k.weight), self.k.bias)
        return q * k


class GatedByInput(nn.Module):
    def __init__(self, width: int):
        super().__init__()
        self.linear = nn.Linear(width, width)

    def forward(self, x):
        return F.linear(x, self.linear.weight * x.mean(), self.linear.bias)


class NoisyLinear(nn.Linear):
    def forward(self, x):
        return F.linear(x, self.weight + 0.1 * torch.randn(self.out_features, self.in_features).to(x), self.bias)


class ReturnsWeight(nn.Module):
    """The effective weight also goes into a second output."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, width))
        self.gain = nn.Parameter(torch.full((1,), 3.0))

    def forward(self, x):
        weight = self.gain * self.weight
        return F.linear(x, weight), weight.sum()


class StateReadElsewhere(nn.Module):
    """The path counts its calls, and the layer's result depends on the count."""

    def __init__(self, width: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(width, width))
        self.register_buffer("steps", torch.ones(1))

    def get_weight(self):
        self.steps = self.steps + 1.0
        return self.weight * self.steps

    def forward(self, x):
        return F.linear(x, self.get_weight()) + self.steps


class Pair(nn.Module):
    """Two layers: siblings of one type where they are scripted."""

    def __init__(self, first: nn.Module, second: nn.Module):
        super().__init__()
        self.first = first
        self.second = second

    def forward(self, x):
        return self.second(torch.relu(self.first(x)))


def _weight_norm_parametrised(layer):
    parametrizations.weight_norm(layer)
    with torch.no_grad():
        layer.parametrizations.weight.original0.mul_(1.7)
    return layer


def _weight_norm_hooked(layer):
    weight_norm(layer)
    with torch.no_grad():
        layer.weight_g.mul_(1.7)
    return layer


def _spectral_norm(layer):
    parametrizations.spectral_norm(layer)
    with torch.no_grad():
        layer.parametrizations.weight.original.mul_(3.0)
    return layer


def _symmetric(layer):
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return layer


# name: (how to make one layer of a width, the form in the report, whether the form scripts)
FORMS = {
    "row_norm": (lambda n: RowNormWrapper(nn.Linear(n, n)), "sigma-reparam/row-norm", True),
    "row_norm_no_bias": (lambda n: RowNormWrapper(nn.Linear(n, n, bias=False)), "sigma-reparam/row-norm", True),
    "power_iteration": (lambda n: PowerIterationWrapper(n, n), "sigma-reparam/spectral", True),
    "stored_vectors": (lambda n: StoredVectorsWrapper(n, n), "sigma-reparam/spectral", True),
    "spectral_norm_hook": (lambda n: spectral_norm(nn.Linear(n, n)), "spectral-norm", False),
    "spectral_norm": (lambda n: _spectral_norm(nn.Linear(n, n)), "spectral-norm", False),
    "weight_norm_hook": (lambda n: _weight_norm_hooked(nn.Linear(n, n)), "weight-norm", False),
    "weight_norm": (lambda n: _weight_norm_parametrised(nn.Linear(n, n)), "weight-norm", False),
    "orthogonal_exp": (lambda n: parametrizations.orthogonal(nn.Linear(n, n)), "orthogonal", False),
    "orthogonal_cayley": (
        lambda n: parametrizations.orthogonal(nn.Linear(n, n), orthogonal_map="cayley"),
        "orthogonal",
        False,
    ),
    "orthogonal_householder": (
        lambda n: parametrizations.orthogonal(nn.Linear(n, n), orthogonal_map="householder"),
        "orthogonal",
        False,
    ),
    "symmetric": (lambda n: _symmetric(nn.Linear(n, n)), None, False),
    "lora": (lambda n: LoRAWrapper(nn.Linear(n, n)), "lora-sum", True),
    "masked": (lambda n: MaskedLinear(n, n), "masked", True),
    "equalised": (lambda n: EqualisedLinear(n, n), "scaled", True),
}
