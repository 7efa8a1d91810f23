"""A checkpoint that was saved on a GPU, converted on a machine without one: what is written belongs there again.

The archives here are saved on the CPU; their pickles are changed to what a save from the GPU writes.
"""

import pickletools
import unittest
import zipfile

import torch

from program import OPERATORS, Encoder, ProgramTest, save_traced


def text(value):
    return b"X" + len(value).to_bytes(4, "little") + value.encode()


def locations(pickle):
    """Each storage's key and location in a pickle of LibTorch's, and from where to where the location is pushed."""
    opcodes = list(pickletools.genops(pickle))
    found, memo, values = [], {}, []  # the values: what was pushed, and where
    for (opcode, argument, begin), (following, _, end) in zip(opcodes, opcodes[1:]):
        if opcode.name == "TUPLE" and following.name == "BINPERSID":
            (key, _), (location, place), _ = values[-3:]  # ("storage", type, key, location, size)
            found.append((key, location, place))
        if opcode.name in ("BINPUT", "LONG_BINPUT"):
            memo[argument] = values[-1][0]
        elif opcode.name in ("BINGET", "LONG_BINGET"):
            values.append((memo[argument], (begin, end)))
        else:
            values.append((argument if opcode.name == "BINUNICODE" else None, (begin, end)))
    return found


def moved(pickle, device_of):
    """The pickle with other locations. What was memoised as the location of one storage is now that of its own device;
    every other storage that referred to it names its device anew."""
    result, done = b"", 0
    for key, _, (begin, end) in locations(pickle):
        result += pickle[done:begin] + text(device_of(key))
        done = end
    return result + pickle[done:]


def move(source, target, device_of):
    """Rewrites an archive; device_of(pickle's name, key) names the device of a storage."""
    with zipfile.ZipFile(source) as archive, zipfile.ZipFile(target, "w") as changed:
        for entry in archive.infolist():
            content = archive.read(entry)
            name = entry.filename.split("/", 1)[1]
            if name in ("data.pkl", "constants.pkl"):
                content = moved(content, lambda key, name=name: device_of(name, key))
            changed.writestr(entry.filename, content)
    return target


def devices(path):
    """The location of each storage, by the tensor's record."""
    with zipfile.ZipFile(path) as archive:
        names = {name.split("/", 1)[1]: name for name in archive.namelist()}
        return {
            f"{folder}/{key}": location
            for folder in ("data", "constants")
            for key, location, _ in locations(archive.read(names[f"{folder}.pkl"]))
        }


OFFSET, GAIN = torch.arange(16.0), torch.full((16,), 0.5)


class WithConstants(torch.nn.Module):
    """Tensor constants of the code beside parameters."""

    def __init__(self):
        super().__init__()
        self.encoder = Encoder()

    def forward(self, x):
        return self.encoder(x * GAIN + OFFSET)


class Devices(ProgramTest):
    three_operands = ["--input-spec", "float32[2,3,5,8]"] * 3

    def setUp(self):
        super().setUp()
        self.source = save_traced(WithConstants(), self.folder / "cpu.pt")
        torch.ops.load_library(OPERATORS)

    def assert_same_on_the_cpu(self, path):
        one = torch.jit.load(str(self.source))
        other = torch.jit.load(str(path), map_location="cpu")
        x = torch.randn(2, 5, 16, generator=torch.Generator().manual_seed(1))
        torch.testing.assert_close(other(x), one(x))

    def test_the_patched_archive_is_what_it_should_be(self):
        gpu = move(self.source, self.folder / "gpu.pt", lambda *_: "cuda:0")
        self.assertEqual(set(devices(self.source).values()), {"cpu"})
        self.assertEqual(set(devices(gpu).values()), {"cuda:0"})
        self.assertEqual(set(devices(gpu)), set(devices(self.source)))
        self.assert_same_on_the_cpu(gpu)

    def test_a_checkpoint_of_a_gpu_stays_one(self):
        gpu = move(self.source, self.folder / "gpu.pt", lambda *_: "cuda:1")
        report = self.report(gpu, self.output, "--verify", "--device", "cpu")
        self.assertEqual([site["status"] for site in report["attention"]], ["fused", "fused"])
        self.assertEqual([weight["status"] for weight in report["folded"]], ["folded"])
        written = devices(self.output)
        self.assertGreaterEqual(sum(name.startswith("constants/") for name in written), 2)
        self.assertEqual(set(written.values()), {"cuda:1"})
        self.assert_same_on_the_cpu(self.output)

    def test_nothing_else_differs_from_the_conversion_on_the_cpu(self):
        gpu = move(self.source, self.folder / "gpu.pt", lambda *_: "cuda:0")
        self.convert(gpu, self.output)
        on_cpu = self.folder / "on_cpu.pt"
        self.convert(self.source, on_cpu)
        one, other = (torch.jit.load(str(path), map_location="cpu") for path in (self.output, on_cpu))
        self.assertEqual(list(one.state_dict()), list(other.state_dict()))
        for name, value in one.state_dict().items():
            self.assertTrue(torch.equal(value, other.state_dict()[name]), name)
        self.assertEqual(one.code, other.code)

    def test_mixed_devices_are_kept_for_each_tensor(self):
        # Where each tensor lies is known by its name; the encoder's second layer stays on the CPU.
        model = torch.jit.load(str(self.source))
        order = [name for name, _ in model.named_parameters()]
        with zipfile.ZipFile(self.source) as archive:
            pickle = archive.read(next(name for name in archive.namelist() if name.endswith("/data.pkl")))
        self.assertEqual(len(locations(pickle)), len(order))
        self.assertEqual([key for key, _, _ in locations(pickle)], [str(index) for index in range(len(order))])

        def device_of(pickle_name, key):
            if pickle_name == "constants.pkl":
                return "cuda:0"
            name = order[int(key)]
            return "cpu" if ".second." in name else "cuda:1" if ".head." in name else "cuda:0"

        mixed = move(self.source, self.folder / "mixed.pt", device_of)
        for arguments in ((), ("--no-pack",), ("--no-fold",), ("--skip", "*.first")):
            with self.subTest(arguments=arguments):
                self.convert(mixed, self.output, "--force", *arguments)
                self.assert_same_on_the_cpu(self.output)
                names = [name for name, _ in torch.jit.load(str(self.output), map_location="cpu").named_parameters()]
                written = devices(self.output)
                self.assertEqual(sum(name.startswith("data/") for name in written), len(names))
                for index, name in enumerate(names):
                    expected = "cpu" if ".second." in name else "cuda:1" if ".head." in name else "cuda:0"
                    self.assertEqual(written[f"data/{index}"], expected, name)

    def test_devices_in_the_code_do_not_keep_a_site_from_being_fused(self):
        class Masked(torch.nn.Module):
            def forward(self, q, k, v):
                mask = torch.eye(5, device=torch.device("cuda:0")) == 1
                scores = torch.matmul(q, k.transpose(-2, -1)).masked_fill(mask, float("-inf"))
                return torch.matmul(torch.softmax(scores, -1), v)

        source = self.folder / "masked.pt"
        torch.jit.script(Masked().eval()).save(str(source))
        report = self.report(source, self.output, "--verify", "--device", "cpu", *self.three_operands)
        self.assertEqual([site["status"] for site in report["attention"]], ["fused"])
        with zipfile.ZipFile(self.output) as archive:
            code = b"".join(archive.read(name) for name in archive.namelist() if name.endswith(".py"))
        self.assertIn(b'torch.device("cuda:0")', code)

    def test_operators_of_the_cuda_backend(self):
        class Waiting(torch.nn.Module):
            def forward(self, q, k, v):
                if q.is_cuda:
                    torch.cuda.synchronize()
                return torch.matmul(torch.softmax(torch.matmul(q, k.transpose(-2, -1)), -1), v)

        source = self.folder / "waiting.pt"
        torch.jit.script(Waiting().eval()).save(str(source))
        report = self.report(source, self.output, "--verify", "--device", "cpu", *self.three_operands)
        self.assertEqual([site["status"] for site in report["attention"]], ["fused"])
        self.assertIn("cuda.synchronize", torch.jit.load(str(self.output)).code)


if __name__ == "__main__":
    unittest.main()
