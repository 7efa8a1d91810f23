"""Every option and exit code of the command line, on one file."""

import os
import re
import shutil
import signal
import subprocess
import sys
import unittest

import torch

from program import (
    DRIFT,
    OPERATORS,
    PROGRAM,
    SABOTAGE,
    Drifting,
    ProgramTest,
    example,
    run,
    run_on_terminal,
    with_interrupts,
)

OPTIONS = """--verify --revert-failing --inputs --input-spec --device --backend --only --skip --no-fold --no-pack --no-linear --dry-run
--bench --load-library --report --strict --force --jobs --output-dir --quiet --verbose --version --help
--resume --shard --max-memory --max-time --no-sandbox --dump-graphs""".split()


class Usage(ProgramTest):
    def test_no_arguments_print_a_short_usage(self):
        done = self.convert(code=2)
        self.assertEqual(done.stdout, b"")
        self.assertTrue(done.stderr.startswith("usage: flashconvert"), done.stderr)
        self.assertLessEqual(len(done.stderr.splitlines()), 3)

    def test_help_names_every_option_and_exit_code_and_has_three_examples(self):
        text = self.convert("--help").stdout.decode()
        for option in OPTIONS:
            self.assertRegex(text, rf"(?m)^ +(-h,)?{option}\b")
        for code in range(8):
            self.assertRegex(text, rf"(?m)^  {code}  [\w-]")
        examples = text[text.index("Examples:") :]
        self.assertEqual(len(re.findall(r"(?m)^    flashconvert ", examples)), 3)
        for group in ("Files:", "Conversion:", "Verification:", "Limits:", "Messages:"):
            self.assertIn(group, text)
        self.assertNotIn("--report-descriptor", text)

    def test_the_version_in_full_names_what_a_fault_report_needs(self):
        text = self.convert("--version", "--verbose").stdout.decode()
        for label in ("compiler", "LibTorch", "operators", "system", "processor", "GPU", "environment"):
            self.assertRegex(text, rf"(?mi)^{label}\b")

    def test_graphs_are_dumped_after_each_stage(self):
        graphs = self.folder / "graphs"
        self.convert(self.encoder, self.output, "--dump-graphs", graphs)
        stages = sorted(path.name for path in graphs.iterdir())
        self.assertEqual(stages, ["0-load", "1-fold", "2-specialise", "3-survey", "4-rewrite", "5-linear"])
        read = {stage: "".join(path.read_text() for path in (graphs / stage).iterdir()) for stage in stages}
        self.assertNotIn("flashconvert::attention", read["2-specialise"])
        self.assertIn("flashconvert::attention", read["4-rewrite"])
        self.assertRegex(read["3-survey"], r"(?s)aten::softmax.*flashconvert::attention|flashconvert::attention.*aten::softmax")

    def test_the_examples_of_help_are_valid(self):
        text = self.convert("--help").stdout.decode()
        examples = text[text.index("Examples:") :].replace("\\\n", " ")
        for command in re.findall(r"(?m)^    flashconvert (.*)$", examples):
            words = [word.strip("'") for word in command.split()]
            code = run(*words, cwd=self.folder).returncode
            self.assertIn(code, (4, 6), f"{command}: a valid command line, on files that do not exist")

    def test_version_names_program_torch_and_kernels(self):
        text = self.convert("--version").stdout.decode()
        self.assertRegex(text, r"^flashconvert \d+\.\d+\.\d+\n")
        self.assertIn(f"torch {torch.__version__.split('+')[0]}", text)
        self.assertRegex(text, r"CUDA kernels: (sm_80, sm_90a|none)")

    def test_wrong_usage_is_one_clear_line_and_exit_2(self):
        here = self.encoder
        cases = {
            "OUTPUT is missing": [here],
            "more than two files": [here, self.output, "third.pt"],
            "unknown option --verfy\n  Did you mean --verify?": [here, self.output, "--verfy"],
            "unknown option --no-flod\n  Did you mean --no-fold?": [here, self.output, "--no-flod"],
            "unknown option --rev\n  Did you mean --revert-failing?": [here, self.output, "--rev"],
            "unknown option -x": [here, self.output, "-x"],
            "--revert-failing needs --verify": [here, self.output, "--revert-failing"],
            "--inputs and --input-spec contradict": [
                *(here, self.output, "--verify"),
                *("--inputs", here, "--input-spec", "float32[2]"),
            ],
            "--inputs needs --verify or --bench": [here, self.output, "--inputs", here],
            "--input-spec needs --verify or --bench": [here, self.output, "--input-spec", "float32[2]"],
            "--inputs missing.pt: no such file": [here, self.output, "--verify", "--inputs", "missing.pt"],
            "--device needs --verify or --bench": [here, self.output, "--device", "cpu"],
            "--device gpu: expected auto, cpu, cuda or cuda:N": [here, self.output, "--verify", "--device", "gpu"],
            "--device cuda:x: expected": [here, self.output, "--verify", "--device", "cuda:x"],
            "--backend fast: expected flash or portable": [here, self.output, "--backend", "fast"],
            "--quiet and --verbose contradict": [here, self.output, "--quiet", "--verbose"],
            "--device is given more than once": [here, self.output, "--verify", "--device", "cpu", "--device", "cpu"],
            "--report needs a value": [here, self.output, "--report"],
            "--jobs needs --output-dir": [here, self.output, "--jobs", "2"],
            "--only '': a glob": [here, self.output, "--only", ""],
            "--skip '': a glob": [here, self.output, "--skip", ""],
            "must end in .json or .html": [here, self.output, "--report", "report.txt"],
            "are the same file": [here, self.folder / "x.json", "--report", self.folder / "x.json"],
            "is the same file as INPUT": [here, here],
            "no such operator library": [here, self.output, "--load-library", "missing.so"],
        }
        for message, arguments in cases.items():
            with self.subTest(message):
                done = self.convert(*arguments, code=2, cwd=self.folder)
                self.assertIn(message, done.stderr)
                self.assertEqual(done.stderr.count("error:"), 1, done.stderr)
                self.assertEqual(done.stdout, b"")
                self.assert_only()

    def test_a_link_to_the_input_is_the_input(self):
        link = self.folder / "link.pt"
        link.symlink_to(self.encoder)
        before = self.encoder.read_bytes()
        self.convert(self.encoder, link, "--force", code=2)
        self.assertEqual(self.encoder.read_bytes(), before)


class ExitCodes(ProgramTest):
    def test_0_converted(self):
        done = self.convert(self.encoder, self.output)
        self.assert_same_function(self.encoder, self.output)
        self.assertRegex(done.stderr, r"(?m)^first  fused \((core|module)\)  softmax-matmul, 2 heads of 8")
        self.assertIn("fused 2 of 2", done.stderr)
        self.assertIn(f'torch.ops.load_library("{os.path.realpath(OPERATORS)}")', done.stderr)
        self.assert_only("out.pt")

    def test_0_nothing_to_convert(self):
        done = self.convert(self.plain, self.output)
        self.assertIn("warning:", done.stderr)
        self.assert_same_function(self.plain, self.output)

    def test_3_strict_and_left_unfused(self):
        done = self.convert(self.weights, self.output, "--strict", code=3)
        self.assertIn("declined:", done.stderr)
        self.assertIn("error: --strict: 1 of 1 attention sites left unfused", done.stderr)
        self.assertTrue(self.output.exists())
        self.convert(self.encoder, self.output, "--strict", "--force")

    def test_4_input_cannot_be_read(self):
        done = self.convert(self.folder / "missing.pt", self.output, code=4)
        self.assertIn("missing.pt: no such file", done.stderr)
        self.assert_only()

    def test_5_parity_failed(self):
        done = self.convert(self.encoder, self.output, "--verify", "--load-library", SABOTAGE, code=5)
        self.assertIn("parity    FAILED", done.stderr)
        self.assertIn("parity fails with the attention of 'second' fused", done.stderr)
        self.assertNotIn("parity fails with the attention of 'first' fused", done.stderr)
        self.assertIn(f"error: parity failed: {self.output} was not written\n  --revert-failing", done.stderr)
        self.assert_only()

    def test_5_leaves_an_existing_output_alone(self):
        self.output.write_bytes(b"precious")
        self.convert(self.encoder, self.output, "--verify", "--force", "--load-library", SABOTAGE, code=5)
        self.assertEqual(self.output.read_bytes(), b"precious")

    def test_6_output_exists(self):
        self.output.write_bytes(b"precious")
        done = self.convert(self.encoder, self.output, code=6)
        self.assertIn("--force", done.stderr)
        self.assertEqual(self.output.read_bytes(), b"precious")
        self.convert(self.encoder, self.output, "--force")
        self.assert_same_function(self.encoder, self.output)

    def test_6_report_cannot_be_written_is_found_before_the_work(self):
        (self.folder / "folder.json").mkdir()
        os.mkfifo(self.folder / "pipe.json")  # as a device, it must not be replaced
        for report in (self.folder / "missing" / "report.json", self.folder / "folder.json", self.folder / "pipe.json"):
            with self.subTest(report.name):
                done = self.convert(self.encoder, self.output, "--report", report, code=6)
                self.assertIn(f"the report {report} cannot be written", done.stderr)
                self.assertNotIn("fused", done.stderr)
                self.assert_only("folder.json", "pipe.json")

    def test_interrupted(self):
        for number, code in ((signal.SIGINT, 130), (signal.SIGTERM, 143)):
            with self.subTest(number.name):
                process = subprocess.Popen(
                    [PROGRAM, self.encoder, self.output, "--verify", "--report", self.folder / "report.json"],
                    stderr=subprocess.PIPE,
                    **with_interrupts(signal.SIG_DFL),
                )
                process.stderr.readline()  # it has begun
                process.send_signal(number)
                process.communicate(timeout=60)
                self.assertEqual(process.returncode, code)
                self.assert_only()

    def test_an_interrupt_that_was_ignored_stays_ignored(self):
        command = [PROGRAM, self.encoder, self.output]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, **with_interrupts(signal.SIG_IGN))
        process.stderr.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=60)
        self.assertEqual(process.returncode, 0)
        self.assert_only("out.pt")


class Options(ProgramTest):
    def status(self, *options):
        """Path to status of each attention site."""
        report = self.report(self.encoder, self.output, "--force", *options)
        return {site["path"]: site["status"] for site in report["attention"]}

    def test_only_and_skip(self):
        self.assertEqual(self.status("--only", "first"), {"first": "fused", "second": "declined"})
        self.assertEqual(self.status("--skip", "f*", "--skip", "absent"), {"first": "declined", "second": "fused"})
        done = self.convert(self.encoder, self.output, "--force", "--skip", "absent")
        self.assertIn("--skip 'absent' matches no attention site", done.stderr)

    def test_no_fold(self):
        torch.ops.load_library(OPERATORS)
        self.assertEqual(self.report(self.encoder, self.output)["folded"][0]["status"], "folded")
        self.assertNotIn("head.parametrizations.weight.original0", torch.jit.load(str(self.output)).state_dict())
        report = self.report(self.encoder, self.output, "--no-fold", "--force")
        self.assertEqual([weight for weight in report["folded"] if weight["status"] == "folded"], [])
        self.assertIn("head.parametrizations.weight.original0", torch.jit.load(str(self.output)).state_dict())

    def test_no_pack(self):
        self.convert(self.encoder, self.output, "--no-pack")
        self.assert_same_function(self.encoder, self.output)
        report = self.report(self.encoder, self.output, "--no-pack", "--force")
        self.assertFalse(any(site["packed"] for site in report["attention"]))

    def test_portable_needs_no_library(self):
        report = self.report(self.encoder, self.output, "--backend", "portable")
        self.assertEqual(report["operators"]["needed"], [])
        load = f"import torch; torch.jit.load({str(self.output)!r})(torch.ones(1, 3, 16))"
        subprocess.run([sys.executable, "-c", load], check=True, timeout=120, env=os.environ)
        self.assert_same_function(self.encoder, self.output)

    def test_revert_failing(self):
        options = ("--verify", "--revert-failing", "--load-library", SABOTAGE)
        report = self.report(self.encoder, self.output, *options)
        self.assertEqual([site["status"] for site in report["attention"]], ["fused", "reverted"])
        self.assertIsNotNone(report["attention"][1]["reason"])
        self.assertTrue(report["parity"]["passed"])
        self.assert_same_function(self.encoder, self.output)

    def linear_model(self):
        model = torch.nn.Sequential(torch.nn.Linear(256, 128), torch.nn.Linear(128, 256), torch.nn.Linear(256, 96))
        path = self.folder / "linear.pt"
        torch.jit.trace(model.eval(), torch.randn(3, 256)).save(str(path))
        return path

    def test_linear_layers(self):
        model = self.linear_model()
        report = self.report(model, self.output)
        self.assertEqual([(layer["path"], layer["status"], layer["reason"]) for layer in report["linear"]],
                         [("0", "converted", None), ("1", "declined", "fewer than 256 input features"),
                          ("2", "converted", None)])
        self.assertEqual(report["operators"]["needed"], ["flashconvert::linear"])
        converted, original = torch.jit.load(str(self.output)), torch.jit.load(str(model))
        self.assertEqual({key: value.shape for key, value in converted.state_dict().items()},
                         {key: value.shape for key, value in original.state_dict().items()})
        x = torch.randn(7, 256)
        self.assertTrue(torch.equal(converted(x), original(x)))
        report = self.report(model, self.output, "--skip", "2", "--force")
        self.assertEqual([layer["reason"] for layer in report["linear"]],
                         [None, "fewer than 256 input features", "not selected"])
        for option in ("--no-linear", "--backend=portable"):
            report = self.report(model, self.output, option, "--force")
            self.assertEqual((report["linear"], report["operators"]["needed"]), ([], []))

    def test_a_linear_layer_that_fails(self):
        model = self.linear_model()
        done = self.convert(model, self.output, "--verify", "--load-library", SABOTAGE, code=5)
        self.assertIn("parity fails with the linear layer '2' converted", done.stderr)
        self.assertNotIn("the linear layer '0'", done.stderr)
        options = ("--verify", "--revert-failing", "--load-library", SABOTAGE)
        report = self.report(model, self.output, *options)
        self.assertEqual([layer["status"] for layer in report["linear"]], ["converted", "declined", "reverted"])
        self.assertIn("parity failed with this layer converted", report["linear"][2]["reason"])
        self.assertTrue(report["parity"]["passed"])

    def test_load_library(self):
        torch.ops.load_library(DRIFT)
        model = self.folder / "drifting.pt"
        torch.jit.trace(Drifting().eval(), example(), check_trace=False).save(str(model))
        done = self.convert(model, self.output, code=4)
        self.assertIn("flashconvert_test::drift", done.stderr)
        self.assertIn("--load-library", done.stderr)
        self.convert(model, self.output, "--load-library", DRIFT)
        done = self.convert(model, self.output, "--load-library", DRIFT, "--verify", "--force", code=5)
        self.assertIn("another result at each run", done.stderr)

    def test_dry_run_writes_nothing_and_needs_no_output(self):
        for arguments in ((self.encoder,), (self.encoder, self.output)):
            done = self.convert(*arguments, "--dry-run")
            self.assertIn("first  fused", done.stderr)
            self.assertRegex(done.stderr, r"(?m)^operator +before +after$")
            self.assertRegex(done.stderr, r"(?m)^aten::softmax +2 +0$")
            self.assertRegex(done.stderr, r"(?m)^flashconvert::attention +0 +2$")
            self.assertIn("none (dry run)", done.stderr)
            self.assertEqual(done.stdout, b"")
            self.assert_only()
        self.convert(self.weights, "--dry-run", "--strict", code=3)

    def test_verify_with_the_traced_shapes(self):
        report = self.report(self.encoder, self.output, "--verify", "--device", "cpu")
        self.assertTrue(report["parity"]["passed"])
        self.assertEqual(report["parity"]["device"], "cpu")
        self.assertGreater(len(report["parity"]["cases"]), 1)

    def test_verify_with_inputs_and_specs(self):
        inputs = self.folder / "inputs.pt"
        torch.save([(example(1),), (example(2)[:1],)], inputs)
        report = self.report(self.encoder, self.output, "--verify", "--inputs", inputs)
        shapes = [case["inputs"] for case in report["parity"]["cases"]]
        self.assertTrue(any("[2, 5, 16]" in shape for shape in shapes), shapes)
        self.assertTrue(any("[1, 5, 16]" in shape for shape in shapes), shapes)
        report = self.report(self.encoder, self.output, "--verify", "--force", "--input-spec", "float32[3,4,16]")
        self.assertIn("[3, 4, 16]", report["parity"]["cases"][0]["inputs"])

    def test_a_wrong_spec_points_at_the_character(self):
        done = self.convert(self.encoder, self.output, "--verify", "--input-spec", "float32[3,x,16]", code=2)
        self.assertRegex(done.stderr, r"(?m)float32\[3,x,16\]\n +\^")

    def test_bench(self):
        report = self.report(self.encoder, self.output, "--bench", "--device", "cpu")
        self.assertGreater(report["bench"]["original_ms"], 0)
        self.assertGreater(report["bench"]["converted_ms"], 0)
        self.assertEqual(report["bench"]["device"], "cpu")

    def test_quiet_prints_errors_only(self):
        self.assertEqual(self.convert(self.encoder, self.output, "--quiet").stderr, "")
        self.assertRegex(self.convert(self.encoder, self.output, "--quiet", code=6).stderr, "^error: ")

    def test_verbose_shows_the_operators(self):
        done = self.convert(self.encoder, self.output, "--verify", "--verbose")
        self.assertRegex(done.stderr, r"(?m)^operator +before +after$")
        self.assertRegex(done.stderr, r"-> output .*: passed")

    def test_a_file_name_may_begin_with_a_dash(self):
        shutil.copy(self.encoder, self.folder / "-in.pt")
        self.convert("--", "-in.pt", "-out.pt", cwd=self.folder)
        self.assert_only("-in.pt", "-out.pt")

    def test_a_second_conversion_changes_nothing(self):
        self.convert(self.encoder, self.output)
        report = self.report(self.output, self.folder / "again.pt")
        self.assertEqual([site for site in report["attention"] if site["status"] == "fused"], [])
        self.assertTrue(report["warnings"])


class Terminal(ProgramTest):
    def test_progress_and_colours_appear_on_a_terminal_alone(self):
        code, shown = run_on_terminal(self.encoder, self.output)
        self.assertEqual(code, 0, shown)
        self.assertRegex(shown, r"\r\x1b\[K\w+ +\d+ %")
        self.assertIn("\x1b[32mfused", shown)
        done = self.convert(self.encoder, self.output, "--force")
        self.assertNotIn("\x1b", done.stderr)
        self.assertNotIn(" %\n", done.stderr)

    def test_the_environment_decides_on_colours(self):
        done = self.convert(self.encoder, self.output, environment={"CLICOLOR_FORCE": "1"})
        self.assertIn("\x1b[32mfused", done.stderr)
        done = self.convert(
            self.encoder, self.output, "--force", environment={"CLICOLOR_FORCE": "1", "NO_COLOR": "1"}
        )
        self.assertNotIn("\x1b", done.stderr)

    def test_a_terminal_neither_gives_nor_takes_a_checkpoint(self):
        code, shown = run_on_terminal("-", self.output, streams=("stdin", "stderr"))
        self.assertEqual((code, "standard input is a terminal" in shown), (2, True), shown)
        code, shown = run_on_terminal(self.encoder, "-", streams=("stdout", "stderr"))
        self.assertEqual((code, "standard output is a terminal" in shown), (2, True), shown)


if __name__ == "__main__":
    unittest.main()
