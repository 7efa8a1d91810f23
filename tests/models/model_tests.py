"""What every real model is tested for: it is exported, converted, loaded again in Python and in C++, and compared with
the original by the test itself, at the traced shape and at others."""

import pathlib
import tempfile
import unittest
import warnings

import torch
from conversion import convert, default_float64, differences, in_float64, load_operators, run_in_cpp
from known_gaps import KNOWN_GAPS
from model_case import ModelCase, export, make_inputs, make_module, mha_fast_path


class ModelTest(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)
        load_operators()

    def check(self, case: ModelCase) -> None:
        with tempfile.TemporaryDirectory() as folder:
            source, target = pathlib.Path(folder, "original.pt"), pathlib.Path(folder, "converted.pt")
            torch.jit.save(export(case), source)
            done = convert(source, target)
            self.assertEqual(done.exit_code, 0, done.log)
            self.check_report(case, done.report)
            self.check_outputs(case, source, target)

    def check_report(self, case: ModelCase, report: dict) -> None:
        lines = "\n".join(f"{site['path']}  {site['status']}  {site['reason'] or ''}" for site in report["attention"])
        fused = [site for site in report["attention"] if site["status"] == "fused"]
        declined = [site for site in report["attention"] if site["status"] != "fused"]
        if case.name in KNOWN_GAPS:
            found = (len(fused), len(declined))
            self.assertNotEqual(found, (case.fused, len(case.declined)), "closed: take it out of known_gaps.py")
            self.assertIn(KNOWN_GAPS[case.name], lines)
            return
        self.assertEqual(len(fused), case.fused, f"fused sites of\n{lines}")
        self.assertEqual(len(declined), len(case.declined), f"declined sites of\n{lines}")
        for site, words in zip(declined, case.declined):
            self.assertIn(words, site["reason"])
        if case.causal is not None:
            self.assertEqual(sum(site["causal"] for site in fused), case.causal, f"causal sites of\n{lines}")
        self.assertEqual([fold["status"] for fold in report["folded"]], ["folded"] * case.folded, report["folded"])

    def check_outputs(self, case: ModelCase, source: pathlib.Path, target: pathlib.Path) -> None:
        original, converted = torch.jit.load(source), torch.jit.load(target)
        reference = make_module(case).double()
        for shape in (case.shape, *case.other_shapes):
            arguments = make_inputs(case, shape)
            with self.subTest(shape=shape), torch.no_grad():
                with mha_fast_path(case.fast_path), default_float64():
                    exact = reference(*in_float64(arguments))
                expected, actual = original(*arguments), converted(*arguments)
                self.assertEqual(differences(expected, actual, exact), [])
                if shape == case.shape:
                    self.assertIsNone(run_in_cpp(target, arguments, actual))


def test_class(cases: list[ModelCase]) -> type[unittest.TestCase]:
    """A TestCase with one test a model."""
    tests = {f"test_{case.name}": lambda self, case=case: self.check(case) for case in cases}
    return type("Models", (ModelTest,), tests)
