"""(d) windowed: image blocks in the manner of Swin: attention inside windows with a relative position bias per head, and
shifted windows whose mask is added through a view to five dimensions. Traced."""

import torch
from torch import nn
from torch.nn import functional

HEADS = 4
WINDOW = 4
SIDE = 16  # of the image
PATCH = 2
GRID = SIDE // PATCH


def to_windows(x):
    """[B, G, G, W] to [B · windows, WINDOW², W]."""
    batch, height, wide, width = x.shape
    x = x.view(batch, height // WINDOW, WINDOW, wide // WINDOW, WINDOW, width)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, WINDOW * WINDOW, width)


def from_windows(x, batch, grid):
    x = x.view(batch, grid // WINDOW, grid // WINDOW, WINDOW, WINDOW, -1)
    return x.permute(0, 1, 3, 2, 4, 5).reshape(batch, grid, grid, -1)


def relative_position_index():
    """Which entry of the bias table each pair of positions in a window reads."""
    axis = torch.arange(WINDOW)
    positions = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).flatten(1)
    offset = positions[:, :, None] - positions[:, None, :] + WINDOW - 1
    return offset[0] * (2 * WINDOW - 1) + offset[1]


def shifted_mask(shift):
    """[windows, WINDOW², WINDOW²]: −100 between positions that the cyclic shift brought together."""
    region = torch.zeros(1, GRID, GRID, 1)
    edges = (slice(0, -WINDOW), slice(-WINDOW, -shift), slice(-shift, None))
    for row, rows in enumerate(edges):
        for column, columns in enumerate(edges):
            region[:, rows, columns] = 3 * row + column
    region = to_windows(region).squeeze(-1)
    return (region[:, None] != region[:, :, None]).float() * -100.0


class WindowAttention(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)
        self.bias_table = nn.Parameter(torch.randn((2 * WINDOW - 1) ** 2, HEADS))
        self.register_buffer("bias_index", relative_position_index())

    def forward(self, x, mask):
        windows, length, width = x.shape
        qkv = self.qkv(x).reshape(windows, length, 3, HEADS, width // HEADS).permute(2, 0, 3, 1, 4)
        query, key, value = qkv.unbind(0)
        scores = query * (width // HEADS) ** -0.5 @ key.transpose(-2, -1)
        bias = self.bias_table[self.bias_index.view(-1)].view(length, length, -1).permute(2, 0, 1).contiguous()
        scores = scores + bias.unsqueeze(0)
        if mask is not None:
            masks = mask.shape[0]
            scores = scores.view(windows // masks, masks, HEADS, length, length) + mask.unsqueeze(1).unsqueeze(0)
            scores = scores.view(-1, HEADS, length, length)
        return self.proj((torch.softmax(scores, dim=-1) @ value).transpose(1, 2).reshape(windows, length, width))


class WindowBlock(nn.Module):
    def __init__(self, width, shift):
        super().__init__()
        self.shift = shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width)
        self.norm2 = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, 2 * width)
        self.fc2 = nn.Linear(2 * width, width)
        self.register_buffer("mask", shifted_mask(shift) if shift else None)

    def forward(self, x):
        batch = x.shape[0]
        moved = self.norm1(x)
        if self.shift:
            moved = torch.roll(moved, (-self.shift, -self.shift), (1, 2))
        moved = from_windows(self.attn(to_windows(moved), self.mask), batch, GRID)
        if self.shift:
            moved = torch.roll(moved, (self.shift, self.shift), (1, 2))
        x = x + moved
        return x + self.fc2(functional.gelu(self.fc1(self.norm2(x))))


class Windowed(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.patch_embed = nn.Conv2d(3, width, PATCH, PATCH)
        self.blocks = nn.ModuleList(WindowBlock(width, shift=WINDOW // 2 * (index % 2)) for index in range(4))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, 10)

    def forward(self, images):
        """images [B, 3, 16, 16] to logits [B, 10]."""
        x = self.patch_embed(images).permute(0, 2, 3, 1)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x).mean((1, 2)))


def make_module(width: int = 64) -> nn.Module:
    torch.manual_seed(15)
    return Windowed(width).eval()


def make_inputs(batch: int = 2, side: int = SIDE) -> tuple:
    torch.manual_seed(16)
    return (torch.randn(batch, 3, side, side),)


def export(width: int = 64) -> torch.jit.ScriptModule:
    with torch.no_grad():
        return torch.jit.trace(make_module(width), make_inputs())
