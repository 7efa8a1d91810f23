"""The shapes that attention_bench.py times, by group, and what each of them computes: inputs, mask, work, bytes."""

import dataclasses

import torch

DTYPES = {"fp16": torch.float16, "bf16": torch.bfloat16, "fp32": torch.float32}
TOKENS = 16384  # of a batch, and features of all heads together, as in published figures
FEATURES = 2048


@dataclasses.dataclass(frozen=True)
class Shape:
    """One problem, [batch, heads, length, dim] as [batch, length, heads, dim] in memory."""

    group: str
    dtype_name: str
    batch: int
    heads: int
    query_length: int
    head_dim: int
    key_length: int = 0  # these three default to the query's
    key_heads: int = 0
    value_dim: int = 0
    causal: bool = False  # aligned to the last query and the last key
    window_left: int = -1  # keys before the diagonal that a query sees; -1: all
    softcap: float = 0
    bias: str = ""  # "additive": [1, H, Lq, Lk]; "padding": boolean [B, 1, 1, Lk]

    def __post_init__(self):
        for field, default in (("key_length", self.query_length), ("key_heads", self.heads), ("value_dim", self.head_dim)):
            object.__setattr__(self, field, getattr(self, field) or default)

    @property
    def name(self):
        dims = f"D{self.head_dim}" + (f"/{self.value_dim}" if self.value_dim != self.head_dim else "")
        length = (f"L{self.query_length}" if self.query_length == self.key_length
                  else f"Lq{self.query_length} Lk{self.key_length}")
        words = [self.dtype_name, dims, length]
        words += [f"H{self.heads}/{self.key_heads}"] if self.key_heads != self.heads else []
        words += [f"window {self.window_left}"] if self.window_left >= 0 else ["causal"] if self.causal else []
        words += [f"softcap {self.softcap:g}"] if self.softcap else []
        return " ".join(words + ([self.bias] if self.bias else []))

    @property
    def dtype(self):
        return DTYPES[self.dtype_name]

    @property
    def diagonal(self):
        """Of the causal mask and the window: query i stands at key i + diagonal."""
        return self.key_length - self.query_length if self.causal else 0

    def visible(self, rows, device):
        """A boolean [len(rows), Lk]: the keys in the window of these queries; None where they see all."""
        if not self.causal and self.window_left < 0:
            return None
        offset = torch.arange(self.key_length, device=device) - (rows.to(device)[:, None] + self.diagonal)
        seen = torch.ones_like(offset, dtype=torch.bool)
        if self.causal:
            seen &= offset <= 0
        if self.window_left >= 0:
            seen &= offset >= -self.window_left
        return seen

    def visible_pairs(self):
        """Pairs of a query and a key that it sees; half of all for a square causal mask, as published figures count."""
        if self.window_left < 0 and not (self.causal and self.query_length != self.key_length):
            return self.query_length * self.key_length / (2 if self.causal else 1)
        pairs = 0
        for row in range(self.query_length):
            last = min(row + self.diagonal, self.key_length - 1) if self.causal else self.key_length - 1
            first = max(row + self.diagonal - self.window_left, 0) if self.window_left >= 0 else 0
            pairs += max(last - first + 1, 0)
        return pairs

    def flops(self):
        return 2 * self.batch * self.heads * self.visible_pairs() * (self.head_dim + self.value_dim)

    def least_bytes(self):
        """What has to be read and written at least: operands, result and bias, once."""
        features = self.head_dim + self.value_dim
        rows = self.heads * self.query_length + self.key_heads * self.key_length
        bias = {"": 0, "additive": self.heads * self.query_length * self.key_length * self.dtype.itemsize,
                "padding": self.batch * self.key_length}[self.bias]
        return self.batch * rows * features * self.dtype.itemsize + bias

    def inputs(self, seed, device="cuda"):
        """((query, key, value), bias) of random numbers."""
        generator = torch.Generator(device).manual_seed(seed)

        def random(*shape):
            return torch.randn(*shape, generator=generator, device=device, dtype=self.dtype)

        tensors = [random(self.batch, length, heads, dim).transpose(1, 2)
                   for length, heads, dim in ((self.query_length, self.heads, self.head_dim),
                                              (self.key_length, self.key_heads, self.head_dim),
                                              (self.key_length, self.key_heads, self.value_dim))]
        bias = None
        if self.bias == "additive":
            bias = random(1, self.heads, self.query_length, self.key_length)
        elif self.bias == "padding":
            lengths = torch.randint(self.key_length // 2, self.key_length + 1, (self.batch, 1, 1, 1),
                                    generator=generator, device=device)
            bias = torch.arange(self.key_length, device=device) < lengths
        return tensors, bias


def _square(group, dtype, dim, length, **options):
    return Shape(group, dtype, TOKENS // length, FEATURES // dim, length, dim, **options)


def _main(quick):
    for dtype in ("fp16", "bf16"):
        for causal in (False, True):
            for dim in (64, 128, 256):
                for length in (512, 2048, 8192, 16384):
                    if not quick or (length in (2048, 16384) and dtype == "fp16"):
                        yield _square("main", dtype, dim, length, causal=causal)


def _dims(quick):
    for dtype in ("bf16",) if quick else ("fp16", "bf16"):
        for causal in (False, True):
            for dim in (32, 80, 96, 192):
                yield _square("dims", dtype, dim, 2048, causal=causal)


def _windows(quick):
    for dim in (64, 128):
        for length in (8192,) if quick else (2048, 8192):
            for window in (256, 1024):
                yield _square("windows", "bf16", dim, length, causal=True, window_left=window)


def _grouped(quick):
    for causal in (False, True):
        for length in (8192,) if quick else (2048, 8192):
            for key_heads in (4, 2, 1):
                yield _square("grouped", "bf16", 128, length, key_heads=key_heads, causal=causal)
    if not quick:
        yield _square("grouped", "fp16", 64, 2048, key_heads=8)


def _cross(quick):
    for keys in (8192, 16384):
        for queries in (1, 16) if quick else (1, 4, 16, 64):
            yield Shape("cross", "bf16", TOKENS // keys, 16, queries, 128, key_length=keys)
    for queries in (1, 4):
        yield Shape("cross", "bf16", 4, 32, queries, 128, key_length=8192, key_heads=8)
    if not quick:
        yield Shape("cross", "bf16", 1, 16, 64, 128, key_length=8192, causal=True)
        yield Shape("cross", "fp16", 8, 16, 256, 64, key_length=2048)
    yield Shape("cross", "fp16", 1, 16, 1, 64, key_length=1500)  # a speech decoder's cross-attention
    yield Shape("cross", "bf16", 1, 32, 1, 128, key_length=4096, key_heads=8)
    if not quick:
        yield Shape("cross", "fp16", 1, 12, 1, 64, key_length=512)
        yield Shape("cross", "fp16", 8, 16, 16, 64, key_length=1500)
        yield Shape("cross", "bf16", 16, 32, 1, 128, key_length=2048, key_heads=8)
        yield Shape("cross", "bf16", 2, 28, 4, 128, key_length=8192, key_heads=4, causal=True)
        yield Shape("cross", "bf16", 4, 32, 1, 128, key_length=8192, key_heads=8, bias="padding")
        yield Shape("cross", "fp16", 4, 8, 1, 256, key_length=8192)
        yield Shape("cross", "fp16", 4, 8, 64, 256, key_length=4096)
        yield Shape("cross", "fp16", 4, 8, 16, 192, key_length=4096)
        yield Shape("cross", "fp32", 2, 16, 1, 64, key_length=8192)
        yield Shape("cross", "fp32", 2, 16, 64, 128, key_length=4096)


def _softcap(quick):
    for dim, causal in ((128, True), (128, False)) if quick else ((64, True), (128, True), (128, False), (256, True)):
        yield _square("softcap", "bf16", dim, 2048, causal=causal, softcap=50.0)


def _value_dim(quick):
    for causal in (False, True):
        for length in (2048,) if quick else (2048, 8192):
            yield Shape("value_dim", "bf16", TOKENS // length, 16, length, 192, value_dim=128, causal=causal)


def _short(quick):
    shapes = ((49, 32, 1024, 16), (50, 64, 512, 12), (64, 64, 512, 12), (128, 64, 256, 12), (197, 64, 128, 12),
              (197, 128, 128, 12), (256, 64, 128, 12))
    for length, dim, batch, heads in shapes:
        yield Shape("short", "fp16", batch, heads, length, dim)
    if not quick:
        yield Shape("short", "fp16", 128, 12, 197, 32)
        yield Shape("short", "fp16", 128, 12, 197, 80)
        yield Shape("short", "fp16", 512, 8, 77, 64, causal=True)


def _bias(quick):
    yield Shape("bias", "fp16", 8, 16, 2048, 64, bias="additive")
    yield Shape("bias", "fp16", 8, 16, 2048, 64, bias="padding")
    yield Shape("bias", "fp16", 32, 12, 512, 64, bias="padding")
    yield Shape("bias", "fp16", 1024, 16, 49, 32, bias="additive")
    if not quick:
        yield Shape("bias", "fp16", 8, 8, 2048, 128, bias="additive")


def _fp32(quick):
    for causal in (False, True):
        for dim in (64, 128):
            for length in (512, 2048, 4096, 16384):
                if not quick or length in (512, 4096):
                    yield _square("fp32", "fp32", dim, length, causal=causal)
    for dim in (32, 96, 192, 256):
        for causal in (False, True):
            if not quick or not causal:
                yield _square("fp32", "fp32", dim, 2048, causal=causal)
    yield Shape("fp32", "fp32", 64, 12, 197, 64)
    if not quick:
        yield Shape("fp32", "fp32", 64, 12, 197, 128)
    for dim in (64, 128):
        yield _square("fp32", "fp32", dim, 2048, bias="padding")
    if not quick:
        yield Shape("fp32", "fp32", 32, 12, 512, 64, bias="padding")
        yield _square("fp32", "fp32", 128, 2048, bias="additive")
    yield _square("fp32", "fp32", 64, 2048, bias="additive")
    for window in (256,) if quick else (256, 1024):
        for dim in (64, 128):
            yield _square("fp32", "fp32", dim, 2048, causal=True, window_left=window)
    if not quick:
        yield _square("fp32", "fp32", 128, 2048, key_heads=4)
        yield Shape("fp32", "fp32", 1024, 16, 49, 32, bias="additive")


GROUPS = {"main": _main, "dims": _dims, "windows": _windows, "grouped": _grouped, "cross": _cross, "softcap": _softcap,
          "value_dim": _value_dim, "short": _short, "bias": _bias, "fp32": _fp32}


def select(groups, only, quick):
    """The shapes of these groups whose names hold one of the strings `only` (all of them where it is empty)."""
    shapes = [shape for group in groups for shape in GROUPS[group](quick)]
    return [shape for shape in shapes if not only or any(part in shape.name for part in only)]
