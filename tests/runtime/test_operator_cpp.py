"""The operator library loaded by a C++ program: dlopen, LD_PRELOAD, and neither.
Environment: FLASHCONVERT_OPS; checkpoint_loader lies beside it in the build folder."""

import os
import pathlib
import subprocess
import tempfile
import unittest

import torch

from operator_reference import LIBRARY, load_operator

LOADER = pathlib.Path(LIBRARY).parent / "checkpoint_loader"


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        for name in ("query", "key", "value"):
            self.register_buffer(name, torch.randn(2, 4, 6, 8))
        self.register_buffer("expected", torch.zeros(0))

    def forward(self):
        return torch.ops.flashconvert.attention(self.query, self.key, self.value, scale=0.3, causal=True)


@unittest.skipUnless(LOADER.exists(), f"{LOADER.name} is not built here")
class Cpp(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        load_operator()
        cls.folder = tempfile.TemporaryDirectory()
        cls.path = str(pathlib.Path(cls.folder.name) / "model.pt")
        torch.manual_seed(0)
        model = Model().eval()
        scores = (model.query @ model.key.mT * 0.3).masked_fill(torch.ones(6, 6).triu(1).bool(), float("-inf"))
        model.expected = scores.softmax(-1) @ model.value
        torch.jit.script(model).save(cls.path)

    @classmethod
    def tearDownClass(cls):
        cls.folder.cleanup()

    def run_loader(self, *libraries, **environment):
        return subprocess.run([LOADER, self.path, *libraries], env={**os.environ, **environment}, text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)

    def test_dlopen(self):
        result = self.run_loader(LIBRARY)
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_preload(self):
        torch_libraries = str(pathlib.Path(torch.__file__).parent / "lib")
        result = self.run_loader(LD_PRELOAD=LIBRARY, LD_LIBRARY_PATH=torch_libraries)
        self.assertEqual(result.returncode, 0, result.stdout)

    def test_without_the_library(self):
        result = self.run_loader()
        self.assertEqual(result.returncode, 2)
        self.assertIn("Unknown builtin op: flashconvert::attention", result.stdout)


if __name__ == "__main__":
    unittest.main()
