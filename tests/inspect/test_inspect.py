"""flashconvert inspect and flashconvert diff."""

import json
import os
import pathlib
import subprocess
import tempfile
import unittest

import torch

PROGRAM = os.environ["FLASHCONVERT"]


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = torch.nn.Linear(16, 48)
        self.out = torch.nn.utils.parametrizations.weight_norm(torch.nn.Linear(16, 16))

    def forward(self, x):
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        return self.out(torch.softmax(query @ key.transpose(-2, -1) * 0.25, dim=-1) @ value)


class Model(torch.nn.Module):
    """Two layers; one weight that two modules share; a table that tracing writes a device into."""

    def __init__(self):
        super().__init__()
        self.layers = torch.nn.ModuleList([Attention(), Attention()])
        self.first = torch.nn.Linear(16, 16, bias=False)
        self.second = torch.nn.Linear(16, 16, bias=False)
        self.second.weight = self.first.weight
        self.register_buffer("table", torch.ones(16))

    def forward(self, x, scale):
        for layer in self.layers:
            x = x + layer(x)
        return self.second(self.first(x)) * scale + torch.zeros(16, device="cpu") + self.table


def run(*arguments):
    done = subprocess.run([PROGRAM, *map(str, arguments)], capture_output=True, text=True, timeout=300)
    return done.returncode, done.stdout, done.stderr


class Inspect(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        torch.manual_seed(0)
        cls.model = Model().eval()
        cls.file = cls.folder / "model.pt"
        inputs = (torch.ones(2, 5, 16), torch.tensor(2.0))
        torch.jit.trace(cls.model, inputs).save(str(cls.file))
        cls.converted = cls.folder / "converted.pt"
        code, _, problem = run(cls.file, cls.converted)
        assert code == 0, problem

    def inspect(self, *options):
        code, text, problem = run("inspect", self.file, *options)
        self.assertEqual(code, 0, problem)
        return text

    def test_json_agrees_with_torch(self):
        facts = json.loads(self.inspect("--json"))
        self.assertEqual(facts["file"]["bytes"], self.file.stat().st_size)
        loaded = torch.jit.load(str(self.file))
        modules = dict(loaded.named_modules())
        self.assertEqual({module["path"] for module in facts["modules"]}, set(modules))
        for module in facts["modules"]:
            own = dict(modules[module["path"]].named_parameters(recurse=False))
            own |= dict(modules[module["path"]].named_buffers(recurse=False))
            shapes = {tensor["name"]: (tuple(tensor["shape"]), tensor["dtype"]) for tensor in module["tensors"]}
            self.assertEqual(shapes, {name: (tuple(t.shape), str(t.dtype).split(".")[1]) for name, t in own.items()})
        root = facts["modules"][0]
        once = {t.data_ptr(): t.nbytes for t in [*loaded.parameters(), *loaded.buffers()]}
        self.assertEqual(root["bytes"], sum(once.values()), "a shared weight counts once")

    def test_json_has_methods_inputs_operators_devices_attention_and_weights(self):
        facts = json.loads(self.inspect("--json"))
        (method,) = facts["methods"]
        self.assertEqual(method["name"], "forward")
        self.assertEqual([text.split(": ")[1] for text in method["inputs"]], ["float32[2, 5, 16]", "float32[]"])
        self.assertEqual(facts["operators"]["aten::softmax"], 2)
        self.assertEqual(facts["devices_in_code"], {"cpu": 1})
        self.assertEqual([site["path"] for site in facts["attention"]], ["layers.0", "layers.1"])
        self.assertEqual([weight["path"] for weight in facts["folded"]], ["layers.0.out", "layers.1.out"])

    def test_text_has_the_same_facts(self):
        text = self.inspect("--depth", "1")
        for part in ("forward", "traced with ", "float32[2, 5, 16]", "aten::softmax\u00a02", "layers.{0–1}", "cpu is written"):
            self.assertIn(part, text)
        self.assertIn("further down", text)
        self.assertNotIn("further down", self.inspect("--depth", "9"))

    def test_diff_names_what_the_conversion_changed_and_nothing_else(self):
        code, text, _ = run("diff", self.file, self.converted, "--json")
        self.assertEqual(code, 0)
        changes = {change["path"]: change for change in json.loads(text)}
        touched = [path for path in changes if not path.startswith("layers.")]
        self.assertEqual(touched, [])
        self.assertTrue(any("weight float32[16, 16]" in change["tensors_new"] for change in changes.values()))
        shown = run("diff", self.file, self.converted)[1]
        self.assertRegex(shown, r"flashconvert\.attention\(")
        self.assertRegex(shown, r"torch\.softmax\([^\n]* [<|]")

    def test_diff_of_a_file_with_itself_is_empty(self):
        self.assertEqual(json.loads(run("diff", self.file, self.file, "--json")[1]), [])
        self.assertEqual(run("diff", self.file, self.file)[1], "no difference in modules, code and tensors\n")

    def test_diff_sees_other_values(self):
        other = self.folder / "other.pt"
        changed = torch.jit.load(str(self.file))
        with torch.no_grad():
            changed.first.weight[3, 3] += 1
        changed.save(str(other))
        changes = {change["path"]: change for change in json.loads(run("diff", self.file, other, "--json")[1])}
        self.assertEqual(set(changes), {"first", "second"})
        self.assertEqual(changes["first"]["tensors_changed"], ["weight"])

    def test_bad_input(self):
        code, _, problem = run("inspect", self.folder / "none.pt")
        self.assertEqual((code, problem.splitlines()[0]), (4, f"error: {self.folder}/none.pt: no such file"))
        self.assertEqual(run("inspect")[0], 2)
        code, _, problem = run("diff", self.file)
        self.assertEqual(code, 2, problem)
        code, _, problem = run("inspect", self.file, "--jsn")
        self.assertIn("Did you mean --json?", problem)


if __name__ == "__main__":
    unittest.main()
