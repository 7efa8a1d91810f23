"""Files that cannot be converted and places that cannot be written: each gets one clear error and its exit code, and
leaves nothing behind. The files of other formats are real ones where this torch can make them."""

import contextlib
import io
import json
import os
import pathlib
import pickle
import resource
import shutil
import struct
import subprocess
import tempfile
import unittest
import warnings
import zipfile

import torch

from program import PROGRAM, TIMEOUT, Attention, ProgramTest

SMALL_SAMPLES = pathlib.Path(__file__).parents[2] / "sample_models" / "small"


class RefusalTest(ProgramTest):
    """A ProgramTest with a second folder for files to read, so that the first one shows what a run leaves behind."""

    def setUp(self):
        super().setUp()
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.files = pathlib.Path(folder.name)

    def assert_one_error(self, message, *expected):
        lines = message.splitlines()
        errors = [number for number, line in enumerate(lines) if line.startswith("error:")]
        self.assertEqual(len(errors), 1, message)
        self.assertLessEqual(len(lines) - errors[0], 2, f"an error is one line, and one of advice:\n{message}")
        for trace in ("frame #", "Exception raised from", "internal error", "terminate called"):
            self.assertNotIn(trace, message)
        for text in expected:
            self.assertIn(text, message)

    def assert_refused(self, source, *expected, code=4, destination=None, **options):
        before = sorted(self.folder.iterdir())
        done = self.convert(source, destination or self.output, code=code, **options)
        self.assert_one_error(done.stderr, *expected)
        self.assertEqual(done.stdout, b"")
        self.assertEqual(sorted(self.folder.iterdir()), before, "nothing new, and no temporary file")

    def write(self, name, content):
        path = self.files / name
        path.write_bytes(content)
        return path


class OtherFormats(RefusalTest):
    def save(self, name, value, **options):
        torch.save(value, self.files / name, **options)
        return self.files / name

    def test_a_state_dict(self):
        weights = torch.nn.Linear(4, 2).state_dict()
        for name, options in {"new": {}, "old": {"_use_new_zipfile_serialization": False}}.items():
            with self.subTest(name):
                file = self.save(f"{name}.pt", weights, **options)
                self.assert_refused(file, "is a state dict", "torch.jit.trace(model.eval()")

    def test_a_pickled_model(self):
        cases = {"new": {}, "old": {"_use_new_zipfile_serialization": False}, "protocol4": {"pickle_protocol": 4}}
        for name, options in cases.items():
            with self.subTest(name):
                file = self.save(f"{name}.pt", torch.nn.Linear(4, 2), **options)
                self.assert_refused(file, "torch.save of a torch.nn.modules.linear.Linear", "torch.jit.trace(")

    def test_a_plain_pickle(self):
        self.assert_refused(self.write("plain.pkl", pickle.dumps({"a": [1, 2]})), "is a Python pickle")
        model = self.write("model.pkl", pickle.dumps(torch.nn.Linear(4, 2), protocol=5))
        self.assert_refused(model, "Python pickle (of a torch.nn.modules.linear.Linear)")

    def test_an_exported_program(self):
        program = torch.export.export(torch.nn.Linear(4, 2).eval(), (torch.randn(3, 4),))
        file = self.files / "model.pt2"
        torch.export.save(program, file)
        self.assert_refused(file, "is a torch.export program (.pt2)", "torch.export.load")

    def test_lite_interpreter_models(self):
        models = {name: torch.jit.trace(model.eval(), torch.randn(2, 5, 16))
                  for name, model in (("attention", Attention()), ("linear", torch.nn.Linear(16, 4)))}
        attention, linear, flat = (self.files / name for name in ("attention.ptl", "linear.ptl", "flat.ptl"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that it is deprecated
            models["attention"]._save_for_lite_interpreter(str(attention))
            models["linear"]._save_for_lite_interpreter(str(linear))
            models["linear"]._save_for_lite_interpreter(str(flat), _use_flatbuffer=True)
        self.assert_refused(flat, "lite-interpreter model (.ptl) in the flatbuffer format")
        # Others are TorchScript with bytecode beside it: left out where it is no longer the model's, kept in a mere copy.
        note = "warning: the checkpoint was also saved for the lite interpreter"
        done = self.convert(attention, self.output)
        self.assertIn(note, done.stderr)
        self.assert_same_function(attention, self.output)
        done = self.convert(linear, self.output, "--force")
        self.assertNotIn(note, done.stderr)
        self.assertEqual(self.output.read_bytes(), linear.read_bytes())

    def test_an_onnx_model(self):
        producer = b"pytorch"
        model = b"\x08\x08" + b"\x12" + bytes([len(producer)]) + producer + b"\x3a\x02\x0a\x00" + b"\x42\x02\x10\x11"
        self.assert_refused(self.write("model.onnx", model), "is an ONNX model")

    def test_safetensors(self):
        header = json.dumps({"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}).encode()
        file = self.write("model.safetensors", struct.pack("<Q", len(header)) + header + bytes(8))
        self.assert_refused(file, "is a safetensors file", "torch.jit.trace(model.eval()")

    def test_other_zip_archives(self):
        cases = {"weights.npz": ("w.npy", "NumPy archive"), "packed.zip": ("model.pt", "holds model.pt")}
        for name, (entry, expected) in cases.items():
            with self.subTest(name):
                with zipfile.ZipFile(self.files / name, "w") as archive:
                    archive.writestr(entry, b"content")
                self.assert_refused(self.files / name, expected)

    def test_an_unknown_custom_operator(self):
        # Only this process knows the operator, so the program does not.
        library = torch.library.Library("flashconvert_unknown", "DEF")
        self.addCleanup(library._destroy)
        library.define("twist(Tensor x) -> Tensor")
        library.impl("twist", torch.neg, "CompositeExplicitAutograd")

        class Twisting(torch.nn.Module):
            def forward(self, x):
                return torch.ops.flashconvert_unknown.twist(x)

        for form, model in {
            "script": torch.jit.script(Twisting()),
            "trace": torch.jit.trace(Twisting(), torch.randn(2)),
        }.items():
            with self.subTest(form):
                file = self.files / f"{form}.pt"
                model.save(str(file))
                self.assert_refused(file, "flashconvert_unknown::twist", "--load-library")


class Unreadable(RefusalTest):
    def test_a_missing_file(self):
        self.assert_refused(self.files / "none.pt", "none.pt: no such file")
        self.assert_refused(self.files / "none" / "none.pt", "none.pt: no such file")

    def test_a_folder(self):
        self.assert_refused(self.files, "is a folder")

    def test_an_empty_file(self):
        self.assert_refused(self.write("empty.pt", b""), "is empty (0 bytes)")

    def test_a_dangling_link_and_a_pipe(self):
        link, pipe = self.files / "link.pt", self.files / "pipe.pt"
        link.symlink_to(self.files / "gone.pt")
        os.mkfifo(pipe)
        self.assert_refused(link, "link.pt: no such file")
        self.assert_refused(pipe, "is not a regular file", "standard input")

    def test_no_permission_to_read(self):
        file = self.files / "secret.pt"
        shutil.copy(self.encoder, file)
        file.chmod(0)
        with as_a_user_who_is_not_root(self) as user:
            self.files.chmod(0o755)
            self.folder.chmod(0o777)
            done = subprocess.run(
                [PROGRAM, file, self.output], capture_output=True, text=True, timeout=TIMEOUT, check=False, **user
            )
        self.assertEqual(done.returncode, 4, done.stderr)
        self.assert_one_error(done.stderr, "secret.pt: permission denied")
        self.assert_only()


class Damaged(RefusalTest):
    @classmethod
    def setUpClass(cls):
        super().setUpClass()
        cls.whole = (SMALL_SAMPLES / "scripted.pt").read_bytes()
        cls.archive = zipfile.ZipFile(io.BytesIO(cls.whole))
        cls.addClassCleanup(cls.archive.close)

    def test_truncated(self):
        size = len(self.whole)
        for kept in (5, 1000, size // 2, self.archive.start_dir + 40, size - 1):
            with self.subTest(kept=kept):
                file = self.write("cut.pt", self.whole[:kept])
                self.assert_refused(file, "is truncated: the table of contents", f"({kept} bytes")

    def test_filled_with_zeros(self):
        file = self.write("zeros.pt", bytes(len(self.whole)))
        self.assert_refused(file, "is damaged: it begins with zeros")

    def assert_flip_refused(self, at, bit, *expected):
        spoiled = bytearray(self.whole)
        spoiled[at] ^= 1 << bit
        self.assert_refused(self.write("flipped.pt", spoiled), "flipped.pt: is ", *expected)

    def test_a_flipped_bit_in_a_record(self):
        for ending in ("data/0", "data.pkl", "version", "code/__torch__/scripted.py"):
            with self.subTest(ending):
                entry = next(each for each in self.archive.infolist() if each.filename.endswith(ending))
                names = struct.unpack_from("<HH", self.whole, entry.header_offset + 26)
                content = entry.header_offset + 30 + sum(names)
                self.assert_flip_refused(content + entry.compress_size // 2, 4, "damaged", entry.filename)

    def test_a_flipped_bit_in_the_table_of_contents(self):
        first = self.archive.start_dir
        fields = {"signature": 0, "compression": 10, "checksum": 16, "size": 24, "disk": 34, "offset": 43}
        for field, offset in fields.items():
            with self.subTest(field):
                self.assert_flip_refused(first + offset, 1)


@contextlib.contextmanager
def as_a_user_who_is_not_root(test):
    """The subprocess.run options that make permissions count: none for a user, another user's id for root."""
    if os.geteuid() != 0:
        yield {}
        return
    user = {"user": 65534, "group": 65534, "extra_groups": []}
    try:
        subprocess.run([PROGRAM, "--version"], check=True, capture_output=True, timeout=TIMEOUT, **user)
    except (OSError, subprocess.SubprocessError):
        test.skipTest("root ignores permissions, and another user cannot run the program where it is")
    yield user


class Unwritable(RefusalTest):
    def test_output_exists(self):
        self.output.write_bytes(b"precious")
        self.assert_refused(self.encoder, "out.pt: exists", "--force", code=6)
        self.assertEqual(self.output.read_bytes(), b"precious")

    def test_output_is_the_input(self):
        source = self.folder / "in.pt"
        shutil.copy(self.encoder, source)
        symbolic, hard = self.folder / "symbolic.pt", self.folder / "hard.pt"
        symbolic.symlink_to(source)
        hard.hardlink_to(source)
        before = source.read_bytes()
        for name, destination in {"symbolic": symbolic, "hard": hard, "dots": self.folder / "." / "in.pt"}.items():
            for force in ((), ("--force",)):
                with self.subTest(name, force=force):
                    done = self.convert(source, destination, *force, code=2)
                    self.assert_one_error(done.stderr, "is the same file as INPUT")
                    self.assertEqual(source.read_bytes(), before)
                    self.assert_only("in.pt", "symbolic.pt", "hard.pt")

    def test_output_is_a_folder(self):
        self.assert_refused(self.encoder, "is a folder", "--output-dir", code=6, destination=self.folder)

    def test_the_output_folder_is_missing_or_a_file(self):
        self.assert_refused(
            self.encoder, "no such folder", "mkdir -p", code=6, destination=self.folder / "none" / "out.pt"
        )
        file = self.write("file", b"")
        self.assert_refused(self.encoder, "is not a folder", code=6, destination=file / "out.pt")

    def test_output_is_not_a_regular_file(self):
        pipe = self.folder / "pipe"
        os.mkfifo(pipe)
        self.assert_refused(self.encoder, "is not a regular file", code=6, destination=pipe)

    def test_no_permission_to_write(self):
        with as_a_user_who_is_not_root(self) as user:
            source = self.files / "in.pt"
            shutil.copy(self.encoder, source)
            self.files.chmod(0o755)
            self.folder.chmod(0o555)
            done = subprocess.run(
                [PROGRAM, source, self.output], capture_output=True, text=True, timeout=TIMEOUT, check=False, **user
            )
        self.assertEqual(done.returncode, 6, done.stderr)
        self.assert_one_error(done.stderr, "no permission to create files there")
        self.assertNotIn("fused", done.stderr, "it is found before the work")
        self.assert_only()

    def test_larger_than_the_limit_on_files(self):
        limit = 8192
        before = sorted(self.folder.iterdir())
        done = subprocess.run(
            [PROGRAM, self.encoder, self.output],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
        )
        self.assertEqual(done.returncode, 6, done.stderr)
        self.assert_one_error(done.stderr, "larger than the file size limit")
        self.assertEqual(sorted(self.folder.iterdir()), before)

    def convert_onto(self, file_system_options, source, *options):
        """Converts onto a file system of its own, that only this run sees; what is left there is in stdout."""
        script = 'mount -t tmpfs -o "$1" none "$2" && shift && cd "$1" && shift && "$@"; code=$?; ls -A; exit $code'
        share = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]
        command = [*share, "sh", "-c", script, "sh", file_system_options, self.folder]
        possible = shutil.which("unshare") and subprocess.run([*command, "true"], capture_output=True).returncode == 0
        if not possible:
            self.skipTest("this user cannot mount a file system")
        return subprocess.run(
            [*command, PROGRAM, source, "out.pt", *options],
            capture_output=True,
            text=True,
            timeout=TIMEOUT,
            check=False,
        )

    def test_a_read_only_file_system(self):
        done = self.convert_onto("ro", self.encoder)
        self.assertEqual((done.returncode, done.stdout), (6, ""), done.stderr)
        self.assert_one_error(done.stderr, "is on a read-only file system")

    def test_a_full_disk(self):
        source = self.files / "large.pt"
        torch.jit.trace(torch.nn.Linear(512, 512).eval(), torch.randn(1, 512)).save(str(source))
        for free, expected in {"400k": "not enough space on the disk: 409.6 kB are free", "900k": "the disk is full"}.items():
            with self.subTest(expected):
                done = self.convert_onto(f"size={free}", source)
                self.assertEqual((done.returncode, done.stdout), (6, ""), done.stderr)
                self.assert_one_error(done.stderr, expected)


if __name__ == "__main__":
    unittest.main()
