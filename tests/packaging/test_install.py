"""What `cmake --install` and `cpack` make: a tree that can be moved, that a CMake project finds, and whose manual and
completions say what the program says.

Environment: FLASHCONVERT is the program in the build folder, FLASHCONVERT_OPS the operator library beside it.
"""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

import torch

PROGRAM = pathlib.Path(os.environ["FLASHCONVERT"])
BUILD = PROGRAM.parent
TORCH = pathlib.Path(torch.__file__).parent
SAMPLE = pathlib.Path(__file__).parents[2] / "sample_models" / "small" / "perception.pt"


class Attention(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.qkv = torch.nn.Linear(16, 48)

    def forward(self, x):
        query, key, value = self.qkv(x).chunk(3, dim=-1)
        return torch.softmax(query @ key.transpose(-2, -1) * 0.25, dim=-1) @ value


def run(*command, **options):
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, timeout=600, **options)
    if done.returncode != 0:
        raise AssertionError(f"{command} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}")
    return done


def runpath(file):
    """The folders in which the loader looks for what `file` needs."""
    dynamic = run("readelf", "-d", file).stdout
    found = re.search(r"\(RUNPATH\).*\[(.*)\]", dynamic)
    return found.group(1).split(":") if found else []


class InstalledTree(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.scratch = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        run("cmake", "--install", BUILD, "--prefix", cls.scratch / "first")
        cls.tree = cls.scratch / "moved" / "tree"
        cls.tree.parent.mkdir()
        (cls.scratch / "first").rename(cls.tree)
        cls.program = cls.tree / "bin" / "flashconvert"
        cls.library = cls.tree / "lib" / "libflashconvert_ops.so"

    def convert(self, program, output):
        return run(program, SAMPLE, output, "--report", f"{output}.json").stderr

    def test_a_moved_tree_converts_with_its_own_library(self):
        shown = self.convert(self.program, self.scratch / "a.pt")
        self.assertIn(f"flashconvert::attention from {self.library}", shown)

    def test_a_copied_pair_starts(self):
        folder = self.scratch / "pair"
        folder.mkdir()
        for file in (PROGRAM, BUILD / "libflashconvert_ops.so"):
            shutil.copy(file, folder)
        shown = self.convert(folder / "flashconvert", self.scratch / "b.pt")
        self.assertIn(f"flashconvert::attention from {folder / 'libflashconvert_ops.so'}", shown)

    def test_the_loader_is_sent_to_no_current_folder(self):
        for file in (PROGRAM, self.program):
            self.assertNotIn("", runpath(file))
        self.assertEqual(runpath(self.library), [])

    def test_a_cmake_project_links_operators_and_kernels(self):
        model = self.scratch / "model.pt"
        torch.jit.trace(Attention().eval(), torch.ones(2, 5, 16)).save(str(model))
        expected = torch.jit.load(str(model))(torch.ones(2, 5, 16)).double().sum().item()
        converted = self.scratch / "converted.pt"
        run(self.program, model, converted, "--verify")

        build = self.scratch / "consumer"
        prefixes = f"{self.tree};{torch.utils.cmake_prefix_path}"
        launcher = ["-DCMAKE_CXX_COMPILER_LAUNCHER=ccache"] if shutil.which("ccache") else []
        source = pathlib.Path(__file__).parent / "consumer"
        run("cmake", "-S", source, "-B", build, f"-DCMAKE_PREFIX_PATH={prefixes}", *launcher)
        run("cmake", "--build", build)
        self.assertAlmostEqual(float(run(build / "run_checkpoint", converted).stdout), expected, places=4)
        has_kernels = (self.tree / "lib" / "libflashconvert_kernels.a").exists()
        self.assertEqual((build / "select_kernel").exists(), has_kernels)
        if has_kernels:
            self.assertRegex(run(build / "select_kernel").stdout, r"^sm80-\S*d64")

    def test_the_archive_names_no_folder_of_the_machine_that_made_it(self):
        packages = self.scratch / "packages"
        run("cpack", "-G", "TGZ", "-B", packages, cwd=BUILD)
        (archive,) = packages.glob("flashconvert-*.tar.gz")
        run("tar", "-xf", archive, "-C", packages)
        (tree,) = [path for path in packages.glob("flashconvert-*") if path.is_dir()]
        for folder in (TORCH.absolute(), TORCH.resolve(), pathlib.Path(__file__).resolve().parents[2]):
            found = subprocess.run(["grep", "-rlF", folder, tree], capture_output=True, text=True)
            self.assertEqual(found.stdout, "", folder)
        without = subprocess.run([tree / "bin" / "flashconvert", "--version"], capture_output=True, text=True)
        if not pathlib.Path("/opt/libtorch").exists():
            self.assertIn("libtorch_cpu.so", without.stderr)
        (tree / "lib" / "libtorch").symlink_to(TORCH)
        self.assertIn("flashconvert", run(tree / "bin" / "flashconvert", "--version").stdout)


class OlderSystems(unittest.TestCase):
    """What the wheels' names promise: manylinux_2_28 for the operators, manylinux_2_34 for the program."""

    @staticmethod
    def newest(file, prefix):
        versions = re.findall(rf"\({prefix}_([0-9.]+)\)", run("objdump", "-T", file).stdout)
        return max(tuple(map(int, version.split("."))) for version in versions)

    def test_the_operators_load_with_glibc_2_28_and_gcc_8(self):
        library = BUILD / "libflashconvert_ops.so"
        self.assertLessEqual(self.newest(library, "GLIBC"), (2, 28))
        self.assertLessEqual(self.newest(library, "GLIBCXX"), (3, 4, 24))

    def test_the_program_starts_with_glibc_2_34_and_gcc_11(self):
        self.assertLessEqual(self.newest(PROGRAM, "GLIBC"), (2, 34))
        self.assertLessEqual(self.newest(PROGRAM, "GLIBCXX"), (3, 4, 29))

    def test_the_operators_show_nothing_but_their_registration(self):
        self.assertEqual(run("nm", "-D", "--defined-only", BUILD / "libflashconvert_ops.so").stdout, "")


class ManualAndCompletions(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.share = BUILD / "share"
        usages = [run(PROGRAM, "--help").stdout]
        cls.commands = re.findall(r"^  (\S+)  +", usages[0].split("Commands:")[1].split("Exit codes:")[0], re.M)
        usages += [run(PROGRAM, command, "--help").stdout for command in cls.commands]
        cls.options = sorted(set(re.findall(r"^  (?:-\w,)?(--[a-z-]+)", "\n".join(usages), re.M)))

    def complete_in_bash(self, line):
        script = (
            'source "$1"; shift; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _flashconvert; '
            'printf "%s\\n" "${COMPREPLY[@]}"'
        )
        words = run("bash", "-c", script, "-", self.share / "flashconvert.bash", *line).stdout.split()
        return sorted(words)

    def test_help_has_options_and_commands(self):
        self.assertIn("--verify", self.options)
        self.assertIn("completion", self.commands)

    def test_the_manual_has_every_option_and_no_error(self):
        page = self.share / "flashconvert.1"
        text = page.read_text().replace("\\-", "-")
        for word in self.options + [f"flashconvert {command}" for command in self.commands]:
            self.assertIn(word, text)
        warnings = run("groff", "-man", "-ww", "-z", "-Tutf8", page).stderr
        self.assertEqual(warnings, "")

    def test_bash_completes_options_values_and_commands(self):
        self.assertEqual(self.complete_in_bash(["flashconvert", "--backend", ""]), ["flash", "portable"])
        self.assertEqual(self.complete_in_bash(["flashconvert", "a.pt", "--revert"]), ["--revert-failing"])
        self.assertEqual(self.complete_in_bash(["flashconvert", "complet"]), ["completion"])
        self.assertEqual(self.complete_in_bash(["flashconvert", "completion", "--h"]), ["--help"])
        conversion = run(PROGRAM, "--help").stdout
        expected = sorted(set(re.findall(r"^  (?:-\w,)?(--[a-z-]+)", conversion, re.M)))
        self.assertEqual(self.complete_in_bash(["flashconvert", "--"]), expected)

    def test_fish_completes_options_and_values(self):
        def complete(line):
            script = f"source {self.share / 'flashconvert.fish'}; complete -C '{line}'"
            return [entry.split("\t")[0] for entry in run("fish", "-c", script).stdout.splitlines()]

        self.assertEqual(complete("flashconvert --backend "), ["flash", "portable"])
        self.assertEqual(complete("flashconvert a.pt --revert"), ["--revert-failing"])
        self.assertIn("completion", complete("flashconvert com"))

    def test_zsh_completes_options_and_values(self):
        # A terminal of its own, as zsh completes nothing without one: what Tab makes of the line is read back.
        script = f"""
            zmodload zsh/zpty
            zpty shell zsh -f
            zpty -w shell 'fpath=({self.share} $fpath); autoload -U compinit; compinit -u -D; PS1=; bindkey "^I" complete-word'
            zpty -w shell 'report() {{ print -r -- "<$BUFFER>"; BUFFER=; zle accept-line }}; zle -N report; bindkey "^X" report'
            sleep 2
            zpty -w -n shell $'flashconvert --revert\\t\\x18'
            zpty -w -n shell $'flashconvert --backend port\\t\\x18'
            zpty -w -n shell $'flashconvert complet\\t\\x18'
            sleep 2
            zpty -r -t shell output '*complet*>*'; print -r -- $output
            while zpty -r -t shell output; do print -r -- $output; done
        """
        shown = run("zsh", "-fc", script).stdout
        for line in ("<flashconvert --revert-failing", "<flashconvert --backend portable", "<flashconvert completion"):
            self.assertIn(line, shown)


if __name__ == "__main__":
    unittest.main()
