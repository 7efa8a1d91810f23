"""What a saved file is: all that the original held, the same bytes each time, and whole whenever the program ends."""

import contextlib
import hashlib
import io
import os
import pathlib
import pickle
import shutil
import signal
import subprocess
import time
import unittest
import zipfile

import torch

from program import OPERATORS, PROGRAM, TIMEOUT, Attention, Encoder, ProgramTest, example, save_traced


def records(path):
    """The records of an archive by their names below its root folder."""
    with zipfile.ZipFile(path) as archive:
        return {name.split("/", 1)[1]: archive.read(name) for name in archive.namelist()}


class Tensor:
    """Stands for a tensor of traced_inputs.pkl: how it was rebuilt, without a storage to rebuild it from."""

    def __init__(self, storage, offset, size, stride, *_):
        self.dtype, self.size, self.stride = storage[1].name, size, stride


class StorageType:
    def __init__(self, name):
        self.name = name


def without_type_tag(value, _):
    return value


class TracedInputs(pickle.Unpickler):
    """Reads the record as far as shapes and types, which is all that a trace keeps of its inputs."""

    def find_class(self, module, name):
        if module == "torch":
            return StorageType(name)
        return {"_rebuild_tensor_v2": Tensor, "restore_type_tag": without_type_tag, "OrderedDict": dict}[name]

    def persistent_load(self, storage):
        return storage


class Tied(torch.nn.Module):
    """Attention layers with one projection between them, and a bare parameter that is an embedding's, too."""

    def __init__(self):
        super().__init__()
        self.embedding = torch.nn.Embedding(11, 16)
        self.first, self.second = Attention(heads=2), Attention(heads=4)
        self.second.out = self.first.out
        self.table = self.embedding.weight
        self.dropout = torch.nn.Dropout(0.5)

    def forward(self, x):
        x = self.second(self.first(x + self.embedding.weight[0]))
        return self.dropout(x) @ self.table.t()


class Contents(ProgramTest):
    def test_extra_files_are_kept(self):
        source = self.folder / "in.pt"
        extra = {"labels.txt": "cat\ndog\n", "nested/config.json": '{"a": 1}', "empty": ""}
        torch.jit.trace(Encoder().eval(), example()).save(str(source), _extra_files=extra)
        self.convert(source, self.output)
        torch.ops.load_library(OPERATORS)
        found = dict.fromkeys(extra, "")
        torch.jit.load(str(self.output), _extra_files=found)
        self.assertEqual({name: bytes(content).decode() for name, content in found.items()}, extra)

    def test_binary_extra_files_are_kept(self):
        source = self.folder / "in.pt"
        content = bytes(range(256)) * 40
        shutil.copy(self.encoder, source)
        with zipfile.ZipFile(source, "a") as archive:
            archive.writestr(f"{archive.namelist()[0].split('/')[0]}/extra/tokenizer.bin", content)
        self.convert(source, self.output)
        self.assertEqual(records(self.output)["extra/tokenizer.bin"], content)

    def test_the_record_of_traced_inputs_is_kept(self):
        self.convert(self.encoder, self.output)
        record = records(self.output)["traced_inputs.pkl"]
        self.assertEqual(record, records(self.encoder)["traced_inputs.pkl"])
        inputs = TracedInputs(io.BytesIO(record)).load()["forward"]
        self.assertEqual([(each.dtype, each.size) for each in inputs], [("FloatStorage", (2, 5, 16))])
        self.convert(self.output, "--dry-run", "--verify")  # the converted file can be verified by it in turn

    def test_shared_parameters_stay_shared(self):
        source = save_traced(Tied(), self.folder / "in.pt")
        self.convert(source, self.output)
        self.assert_same_function(source, self.output)
        model = torch.jit.load(str(self.output))
        parameters = {name: each.data_ptr() for name, each in model.named_parameters(remove_duplicate=False)}
        self.assertEqual(parameters["table"], parameters["embedding.weight"])
        self.assertEqual(parameters["first.out.weight"], parameters["second.out.weight"])
        self.assertEqual(parameters["first.out.bias"], parameters["second.out.bias"])
        self.assertNotEqual(parameters["first.out.weight"], parameters["table"])

        def stored(path):
            return sum(len(content) for name, content in records(path).items() if name.startswith("data/"))

        self.assertLessEqual(stored(self.output), stored(source), "shared values stand in the file once")

    def test_training_flags_and_gradients_are_kept(self):
        model = Tied().eval()
        model.dropout.train()
        model.first.q.weight.requires_grad_(False)
        model.embedding.weight.requires_grad_(False)
        source = self.folder / "in.pt"
        torch.jit.script(model).save(str(source))
        self.convert(source, self.output, "--no-pack")
        torch.ops.load_library(OPERATORS)
        one, other = torch.jit.load(str(source)), torch.jit.load(str(self.output))
        flags = {name: module.training for name, module in other.named_modules()}
        self.assertEqual(flags, {name: module.training for name, module in one.named_modules()})
        self.assertTrue(flags["dropout"])
        self.assertFalse(flags["first"])
        learning = {name: each.requires_grad for name, each in other.named_parameters()}
        self.assertEqual(learning, {name: each.requires_grad for name, each in one.named_parameters()})
        self.assertFalse(learning["first.q.weight"])

    def test_names_values_and_signatures_are_kept(self):
        self.convert(self.weights, self.output)  # its attention cannot be fused
        one, other = torch.jit.load(str(self.weights)), torch.jit.load(str(self.output))
        self.assertEqual(list(other.state_dict()), list(one.state_dict()))
        for name, value in one.state_dict().items():
            self.assertTrue(torch.equal(value, other.state_dict()[name]), name)
        self.convert(self.encoder, self.output, "--force")
        torch.ops.load_library(OPERATORS)
        arguments = [
            [(each.name, str(each.type)) for each in torch.jit.load(str(path)).forward.schema.arguments[1:]]
            for path in (self.encoder, self.output)
        ]
        self.assertEqual(*arguments)


class Bytes(ProgramTest):
    def test_two_conversions_give_the_same_bytes(self):
        self.convert(self.encoder, self.output)
        other = self.folder / "another_name.pt"
        self.convert(self.encoder, other)
        self.assertEqual(other.read_bytes(), self.output.read_bytes())

    def test_a_conversion_of_the_output_changes_nothing_and_says_so(self):
        for backend in ("flash", "portable"):
            with self.subTest(backend=backend):
                self.convert(self.encoder, self.output, "--force", "--backend", backend)
                again = self.folder / "again.pt"
                done = self.convert(self.output, again, "--force", "--verify", "--backend", backend)
                self.assertIn("warning: nothing was converted", done.stderr)
                self.assertNotRegex(done.stderr, r"(?m)^\S+  fused")
                self.assertEqual(again.read_bytes(), self.output.read_bytes())

    def test_a_file_without_anything_to_convert_is_copied(self):
        source = self.folder / "in.pt"
        torch.jit.load(str(self.plain))._save_for_lite_interpreter(str(source))
        report = self.report(source, self.output)
        self.assertEqual(self.output.read_bytes(), source.read_bytes())
        self.assertEqual(report["output"]["sha256"], report["input"]["sha256"])
        self.assertFalse(any("lite interpreter" in warning for warning in report["warnings"]))
        self.convert(self.plain, self.output, code=6)
        self.convert(self.plain, self.output, "--force")
        self.assertEqual(self.output.read_bytes(), self.plain.read_bytes())
        self.assert_only("in.pt", "out.pt", "report.json")

    def test_bytecode_is_left_out_of_what_was_converted_and_that_is_said(self):
        source = self.folder / "in.pt"
        torch.jit.load(str(self.encoder))._save_for_lite_interpreter(str(source))
        done = self.convert(source, self.output)
        self.assertIn("lite interpreter", done.stderr)
        self.assertIn("bytecode.pkl", records(source))
        self.assertNotIn("bytecode.pkl", records(self.output))

    def test_the_report_has_the_hash_of_each_file(self):
        report = self.report(self.encoder, self.output)
        for which, path in (("input", self.encoder), ("output", self.output)):
            content = path.read_bytes()
            self.assertEqual(report[which]["bytes"], len(content))
            self.assertEqual(report[which]["sha256"], hashlib.sha256(content).hexdigest())


class Killed(ProgramTest):
    """SIGKILL leaves no chance to clean up: OUTPUT is then the old file, and only a temporary one may lie beside it."""

    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        model = torch.nn.Sequential(Attention(), torch.nn.Linear(16, 500_000))
        cls.large = save_traced(model, pathlib.Path(cls._samples.name) / "large.pt")  # 34 MB

    def temporary(self):
        return list(self.folder.glob(".out.pt.flashconvert-*.tmp"))

    def assert_old_and_clean(self):
        self.assertEqual(self.output.read_bytes(), b"precious")
        self.assert_only("out.pt", *(path.name for path in self.temporary()))

    def start(self):
        self.output.write_bytes(b"precious")
        # A session of its own: the program is two processes.
        return subprocess.Popen(
            [PROGRAM, self.large, self.output, "--force"], stderr=subprocess.DEVNULL, start_new_session=True
        )

    def kill(self, process):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        return process.wait(TIMEOUT)

    def test_before_the_save(self):
        for delay in (0.02, 0.1, 0.2):
            with self.subTest(delay=delay):
                process = self.start()
                time.sleep(delay)
                if self.kill(process) == -signal.SIGKILL:
                    self.assert_old_and_clean()

    def test_in_the_middle_of_the_save(self):
        size = self.large.stat().st_size
        for share in (0.0, 0.5, 0.95):
            with self.subTest(share=share):
                process = self.start()
                while process.poll() is None and self.written() <= share * size:
                    pass
                self.assertEqual(self.kill(process), -signal.SIGKILL, "it had ended before it could be killed")
                self.assertTrue(self.temporary())
                self.assert_old_and_clean()
                for path in self.temporary():
                    path.unlink()

    def written(self):
        """The size of the temporary file so far."""
        sizes = [0]
        for path in self.temporary():
            try:
                sizes.append(path.stat().st_size)
            except FileNotFoundError:  # the one that only tried whether a file can be made
                pass
        return max(sizes)

    def test_what_a_killed_run_left_is_in_nobodys_way(self):
        (self.folder / f".out.pt.flashconvert-{os.getpid()}-0.tmp").write_bytes(b"left over")
        self.convert(self.encoder, self.output)
        self.assert_same_function(self.encoder, self.output)


if __name__ == "__main__":
    unittest.main()
