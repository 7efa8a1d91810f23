"""The two wheels, made from this build and installed into environments of their own.

The environments see the torch of the tests' environment through a .pth file: a fresh one each would be gigabytes.
scripts/test-wheels installs into environments that have nothing, with torch's own wheels of several versions.
"""

import pathlib
import re
import subprocess
import sys
import tempfile
import unittest
import zipfile

import torch

ROOT = pathlib.Path(__file__).parents[2]
SAMPLE = ROOT / "sample_models" / "small" / "perception.pt"
TORCH_SITE = pathlib.Path(torch.__file__).parent.parent


def run(*command, **options):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600, **options)


class Environment:
    """A virtual environment that holds the wheels and sees the packages in `beside`."""

    def __init__(self, folder, wheels, beside):
        run(sys.executable, "-m", "venv", folder).check_returncode()
        (site,) = (folder / "lib").glob("python3*/site-packages")
        (site / "beside.pth").write_text(f"{beside}\n")
        self.python = folder / "bin" / "python"
        self.program = folder / "bin" / "flashconvert"
        self.site = site
        command = [self.python, "-m", "pip", "install", "--disable-pip-version-check", "--no-index", "--find-links", wheels]
        self.installed = run(*command, "flashconvert")

    def python_says(self, code, *arguments):
        return run(self.python, "-W", "ignore", "-c", code, *arguments)


class Wheels(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.dist = cls.scratch / "dist"
        made = run(ROOT / "scripts" / "package", "--no-build", "--wheels", "--to", cls.dist)
        assert made.returncode == 0, made.stderr
        cls.environment = Environment(cls.scratch / "venv", cls.dist, TORCH_SITE)
        assert cls.environment.installed.returncode == 0, cls.environment.installed.stderr

    def wheel(self, name):
        (file,) = self.dist.glob(f"{name}-[0-9]*.whl")
        return file

    def test_names_and_sizes(self):
        version = re.search(r"project\(flashconvert VERSION ([0-9.]+)", (ROOT / "CMakeLists.txt").read_text()).group(1)
        operators, program = self.wheel("flashconvert_ops"), self.wheel("flashconvert")
        self.assertEqual(operators.name, f"flashconvert_ops-{version}-py3-none-manylinux_2_28_x86_64.whl")
        self.assertEqual(program.name, f"flashconvert-{version}-py3-none-manylinux_2_34_x86_64.whl")
        self.assertLessEqual(operators.stat().st_size, 8_000_000)
        with zipfile.ZipFile(program) as archive:
            metadata = archive.read(f"flashconvert-{version}.dist-info/METADATA").decode()
        self.assertIn(f"Requires-Dist: flashconvert-ops=={version}\n", metadata)
        minor = ".".join(torch.__version__.split(".")[:2])
        self.assertIn(f"Requires-Dist: torch=={minor}.*\n", metadata)

    def test_no_file_names_the_machine_that_made_it(self):
        for name in ("flashconvert", "flashconvert_ops"):
            with zipfile.ZipFile(self.wheel(name)) as archive:
                for entry in archive.namelist():
                    self.assertFalse(str(ROOT.resolve()).encode() in archive.read(entry), entry)

    def test_the_command_converts_and_the_result_loads_and_agrees(self):
        output = self.scratch / "command.pt"
        done = run(self.environment.program, SAMPLE, output, "--verify", cwd=self.scratch)
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertIn("parity    passed", done.stderr)
        compare = pathlib.Path(__file__).parent / "compare_checkpoints.py"
        compared = run(self.environment.python, "-W", "ignore", compare, SAMPLE, output)
        self.assertEqual(compared.returncode, 0, compared.stdout + compared.stderr)

    def test_python_m_prints_the_library_without_torch(self):
        found = run(self.environment.python, "-X", "importtime", "-m", "flashconvert_ops")
        self.assertEqual(found.stdout.strip(), str(self.environment.site / "flashconvert_ops" / "libflashconvert_ops.so"))
        self.assertNotIn(" torch", found.stderr)

    def test_importing_twice_or_after_another_load_is_no_error(self):
        code = (
            "import sys, torch; torch.ops.load_library(sys.argv[1]); import flashconvert_ops, importlib; "
            "importlib.reload(flashconvert_ops); print(torch.ops.flashconvert.attention.default)"
        )
        done = self.environment.python_says(code, self.environment.site / "flashconvert_ops" / "libflashconvert_ops.so")
        self.assertEqual(done.stdout.strip(), "flashconvert.attention.default", done.stderr)

    def test_convert_returns_the_report_and_raises_by_exit_code(self):
        code = """
import sys, flashconvert, torch
source, folder = sys.argv[1:]
report = flashconvert.convert(source, folder + "/module.pt", verify=True, skip="backbone.*")
assert report.parity.passed and report["parity"]["passed"] and "attention fused" in report.log
assert {site.status for site in report.attention} == {"fused", "declined"}
for arguments, error in [
    (dict(source=source, target=folder + "/module.pt"), flashconvert.OutputError),
    (dict(source=folder + "/none.pt", target=folder + "/x.pt"), flashconvert.InputError),
    (dict(source=source, target=folder + "/x.pt", backend="neither"), flashconvert.UsageError),
    (dict(source=source, target=folder + "/l.pt", options=["--max-time=0.001"]), flashconvert.LimitError),
    (dict(source=source, target=folder + "/s.pt", strict=True, skip=["backbone.*"]), flashconvert.UnfusedError),
]:
    try:
        flashconvert.convert(**arguments)
    except error as problem:
        assert type(problem) is error and str(problem) and not str(problem).startswith("error"), repr(problem)
    else:
        raise AssertionError(error)
print("as it should be")
"""
        done = self.environment.python_says(code, SAMPLE, self.scratch)
        self.assertEqual(done.stdout.strip(), "as it should be", done.stderr)


class WrongTorch(unittest.TestCase):
    """Environments whose torch is another, or none."""

    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        made = run(ROOT / "scripts" / "package", "--no-build", "--wheels", "--to", cls.scratch / "dist")
        assert made.returncode == 0, made.stderr
        cls.beside = cls.scratch / "beside"
        cls.beside.mkdir()
        cls.environment = Environment(cls.scratch / "venv", cls.scratch / "dist", cls.beside)
        wheels = list((cls.scratch / "dist").glob("*.whl"))
        run(cls.environment.python, "-m", "pip", "install", "--no-deps", *wheels).check_returncode()

    def pretend_torch(self, version):
        for old in self.beside.glob("torch*"):
            run("rm", "-r", old)
        (self.beside / "torch").mkdir()
        (self.beside / "torch" / "__init__.py").write_text(f"__version__ = '{version}'\n")
        information = self.beside / f"torch-{version}.dist-info"
        information.mkdir()
        (information / "METADATA").write_text(f"Metadata-Version: 2.1\nName: torch\nVersion: {version}\n")

    def test_pip_refuses_an_environment_without_the_torch_that_is_needed(self):
        self.assertNotEqual(self.environment.installed.returncode, 0)
        self.assertIn("torch==2.11.*", self.environment.installed.stderr)

    def test_the_command_names_both_versions(self):
        self.pretend_torch("2.12.1")
        done = run(self.environment.program, "--version")
        self.assertEqual(done.returncode, 2)
        self.assertRegex(done.stderr, r"^error: flashconvert \S+ is built for torch 2\.11, and this environment has torch 2\.12\.1\n")
        code = "import flashconvert\ntry: flashconvert.convert('a', 'b')\nexcept flashconvert.InstallationError as e: print(e)"
        self.assertIn("2.12.1", self.environment.python_says(code).stdout)

    def test_the_operators_name_both_versions(self):
        self.pretend_torch("2.9.0")
        done = self.environment.python_says("import flashconvert_ops")
        self.assertIn("ImportError: flashconvert_ops needs torch 2.10 or newer, and this is torch 2.9.0", done.stderr)


if __name__ == "__main__":
    unittest.main()
