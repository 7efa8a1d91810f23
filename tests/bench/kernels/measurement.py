"""Times and errors: CUDA graphs replayed in turns, a float64 reference for a sample of rows, and the card's ceilings."""

import dataclasses
import statistics

import torch

# Relative to the sample's norm; rounding operands, weights and results to the dtype makes a tenth of this.
LARGEST_ERROR = {torch.float16: 5e-3, torch.bfloat16: 4e-2, torch.float32: 5e-5}
SAMPLED_HEADS, SAMPLED_ROWS = 4, 128


class Reference:
    """float64 results for some rows of some heads, spread over the whole output."""

    def __init__(self, shape, tensors, bias):
        query, key, value = tensors
        device = query.device
        heads = torch.linspace(0, shape.batch * shape.heads - 1, SAMPLED_HEADS).long().unique()
        self._batch, self._head = heads // shape.heads, heads % shape.heads
        self._rows = torch.linspace(0, shape.query_length - 1, min(SAMPLED_ROWS, shape.query_length)).long()
        key_head = self._head // (shape.heads // shape.key_heads)
        keys, values = (tensor[self._batch, key_head].double() for tensor in (key, value))
        scores = self._sample(query).double() @ keys.transpose(1, 2) * shape.head_dim**-0.5
        if shape.softcap:
            scores = shape.softcap * torch.tanh(scores / shape.softcap)
        if bias is not None:
            sampled = self._sample(bias.expand(shape.batch, shape.heads, shape.query_length, shape.key_length))
            scores = scores.masked_fill(~sampled, -torch.inf) if bias.dtype == torch.bool else scores + sampled.double()
        seen = shape.visible(self._rows, device)
        if seen is not None:
            scores = scores.masked_fill(~seen, -torch.inf)
        self._exact = scores.softmax(-1) @ values

    def _sample(self, tensor):
        return tensor[self._batch, self._head][:, self._rows]

    def error(self, result):
        """Relative to the norm of the sample; infinite where any number of the whole result is not finite."""
        if result.shape[-1] != self._exact.shape[-1] or not result.isfinite().all():
            return float("inf")
        return ((self._sample(result).double() - self._exact).norm() / self._exact.norm()).item()

    def mean_and_largest(self, result):
        """Of the sample's absolute errors."""
        errors = (self._sample(result).double() - self._exact).abs()
        return errors.mean().item(), errors.max().item()


def is_wrong(dtype, error):
    return not error <= LARGEST_ERROR[dtype]


class Replay:
    """A graph of calls over rotating inputs, long enough that what a launch costs does not count."""

    SHORTEST_MS = 1.0
    MOST_CALLS = 128

    def __init__(self, call, inputs):
        self._start, self._end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        for tensors, bias in inputs[:2]:
            call(tensors, bias)
        torch.cuda.synchronize()
        self._capture(call, inputs, 1)
        passes = max(1, min(self.MOST_CALLS // len(inputs), round(self.SHORTEST_MS / self._first)))
        if passes > 1:
            self._capture(call, inputs, passes)
        self._times = []

    def _capture(self, call, inputs, passes):
        self._calls = passes * len(inputs)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            for _ in range(passes):
                for tensors, bias in inputs:
                    call(tensors, bias)
        self._elapsed()  # uploads the graph
        self._first = self._elapsed()

    def _elapsed(self):
        self._start.record()
        self._graph.replay()
        self._end.record()
        self._end.synchronize()
        return self._start.elapsed_time(self._end)

    def repeats(self, seconds):
        return max(5, min(200, int(seconds * 1000 / self._first)))

    def run(self):
        self._times.append(self._elapsed())

    def median(self):
        """Milliseconds of one call."""
        return statistics.median(self._times) / self._calls


def time_in_turns(replays, seconds):
    """Replays each for about `seconds`, one after the other in rounds: the card's clock drifts for all of them alike."""
    left = {replay: replay.repeats(seconds) for replay in replays}
    while any(left.values()):
        for replay in replays:
            if left[replay]:
                replay.run()
                left[replay] -= 1


@dataclasses.dataclass
class Ceilings:
    """What the card does at most, measured: operations and bytes a second."""

    flops: float  # of a bf16 matrix product of random numbers
    bytes: float  # of a copy, read and written

    @staticmethod
    def measure(seconds):
        size = 8192
        products = [((torch.randn(size, size, device="cuda", dtype=torch.bfloat16),
                      torch.randn(size, size, device="cuda", dtype=torch.bfloat16)), None) for _ in range(2)]
        copies = [((torch.empty(1 << 29, device="cuda", dtype=torch.uint8),
                    torch.empty(1 << 29, device="cuda", dtype=torch.uint8)), None)]
        product = Replay(lambda tensors, _: torch.mm(*tensors), products)
        copy = Replay(lambda tensors, _: tensors[0].copy_(tensors[1]), copies)
        time_in_turns([product], 5 * seconds)
        time_in_turns([copy], 5 * seconds)
        return Ceilings(2e3 * size**3 / product.median(), 2e3 * (1 << 29) / copy.median())

    def milliseconds(self, shape):
        """The least time for the shape. float32 takes three products of 16-bit parts."""
        products = 3 if shape.dtype == torch.float32 else 1
        return 1e3 * max(products * shape.flops() / self.flops, shape.least_bytes() / self.bytes)
