"""σReparam with the row norm, as the perception model was trained with it: the weight of a projection is recomputed at
every call, and the wrapper has no `weight` of its own (Zhai et al. 2023, "Stabilizing Transformer Training by Preventing
Attention Entropy Collapse")."""

import torch
from torch import nn
from torch.nn import functional


class SigmaReparam(nn.Module):
    """A linear layer whose effective weight is `sigma * W / (‖W_row‖₂ + eps)`."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True, eps: float = 1e-6):
        super().__init__()
        self.linear = nn.Linear(in_features, out_features, bias=bias)
        self.sigma = nn.Parameter(torch.ones(()))
        self.eps = eps

    def forward(self, x):
        row_norm = torch.norm(self.linear.weight, dim=1, keepdim=True)
        weight = self.sigma * self.linear.weight / (row_norm + self.eps)
        return functional.linear(x, weight, self.linear.bias)


def imitate_training(module: nn.Module) -> None:
    """Moves every σReparam away from its starting point, as training does: rows of differing norms near one, and gains
    that leave the raw weight between about 15 % and 95 % off the effective one. A tool that copies the raw weight is then
    plainly wrong."""
    for layer in module.modules():
        if isinstance(layer, SigmaReparam):
            weight = layer.linear.weight.data
            weight.normal_(std=weight.shape[1] ** -0.5)
            layer.sigma.data.fill_(1 / (1.15 + 0.8 * torch.rand(()).item()))
            if layer.linear.bias is not None:
                layer.linear.bias.data.normal_(std=0.1)
