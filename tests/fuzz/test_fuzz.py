"""Random models and changed real ones, for 45 s each; and that the comparison sees what it is there to see.

The seeds are those on which the whole comparison was silent when they were written down. More of them, and the forms
that they come from: run.py and docs/fuzzing.md."""

import os
import pathlib
import shutil
import tempfile
import time
import unittest

import run
import standalone
import torch
import trial
import workers
from converter import Conversion
from decisions import Decisions
from exporting import export, namespace_of
from model import write_model
from reducer import reduced

PROGRAM = pathlib.Path(os.environ["FLASHCONVERT"])
SECONDS = 45

# What is left out differs still: docs/fuzzing.md says how.
GENERATED = (
    "5000:5007,5008:5013,5014:5040,5041:5048,5049:5055,5056:5059,5060:5063,5064:5067,5068:5081,5082:5087,5088:5109,"
    "5110:5124,5125,5127:5135,5136:5150,5151:5157,5158:5186,5187:5189,5190:5198,5199:5213,5214:5222,"
    "5223:5228,5230:5240,5241:5247,5249:5251,5252:5255,5256:5262,5264:5268,5269:5274,5276:5281,5282:5296,5297:5312,"
    "5313:5323,5324:5329,5330:5337,5338:5350,5352:5367,5369:5428,5429:5441,5443:5462,5463:5499,5500:5510,"
    "5511:5521,5523:5541,5542:5544,5545:5548,5549:5564,5565:5573,5575:5581,5582:5600"
)
MUTATED = "0:65,66:205"


class Silent(unittest.TestCase):
    """No conversion of these seeds' models differs from its original."""

    def check(self, mode: str, seeds: str, models: pathlib.Path) -> None:
        print(f"\n--mode {mode} --seeds {seeds}")
        deadline = time.monotonic() + SECONDS
        summary, shown = run.Summary(), []
        setup = (PROGRAM, mode, models, False)
        for seed, outcome in workers.run(run.worker, setup, run.seeds_of(seeds), 1, deadline):
            self.assertIsInstance(outcome, run.Outcome, f"seed {seed}")
            summary.add(seed, outcome)
            if outcome.differences:
                shown.append(f"seed {seed}: {outcome.differences}")
        summary.print(SECONDS)
        self.assertEqual(shown, [], f"python tests/fuzz/run.py --mode {mode} --seeds SEED shows one alone")
        self.assertGreater(summary.fused, 0)

    def test_generated_models(self):
        self.check("generate", GENERATED, pathlib.Path())

    def test_real_models_with_one_thing_changed(self):
        with tempfile.TemporaryDirectory() as name:
            import mutation

            mutation.export_models(pathlib.Path(name))
            self.check("mutate", MUTATED, pathlib.Path(name))


class OtherModel:
    """In the converter's place: every conversion gives one and the same model."""

    def __init__(self, path: pathlib.Path):
        self.path = path

    def convert(self, _source, target, *_options) -> Conversion:
        shutil.copy(self.path, target)
        return Conversion(0)


PLAIN = """
import torch
from torch import Tensor, nn
import values


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.flag = False

    @torch.jit.export
    def set(self, value: bool) -> None:
        self.flag = value

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        s = q @ k.transpose(-2, -1) * 0.5
        return torch.softmax(s, -1) @ v


def inputs(b: int, l: int, s: int, variant: int):
    return (values.normal(b, 2, l, 4), values.normal(b, 2, s, 4), values.normal(b, 2, s, 4))


ACTIONS = ["set(True)"]
"""
RETURN = "        return torch.softmax(s, -1) @ v\n"


class Comparison(unittest.TestCase):
    def kinds(self, converted: str, original: str = PLAIN) -> set[str]:
        """The kinds of difference that are found where a conversion of the original gives this model."""
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            namespace = {**standalone.DEFAULTS, **namespace_of(converted, "<converted>")}
            torch.jit.save(export(namespace), folder / "other.pt")
            script = namespace_of(original, "<original>")
            return set(standalone.judge(script, original, OtherModel(folder / "other.pt"), folder).differences)

    def test_a_model_that_computes_the_same_is_equal(self):
        same = PLAIN.replace("s = q @ k.transpose(-2, -1) * 0.5", "s = (q * 0.25) @ k.transpose(-2, -1) * 2")
        self.assertEqual(self.kinds(same), set())

    def test_another_scale(self):
        self.assertLessEqual({"float64", "values"}, self.kinds(PLAIN.replace("0.5", "0.501")))

    def test_a_window_that_is_lost_at_long_sequences_alone(self):
        window = "        s = s.masked_fill(torch.ones_like(s).triu(50) > 0, -1e9)\n" + RETURN
        self.assertIn("float64", self.kinds(PLAIN.replace(RETURN, window)))

    def test_strides(self):
        other = RETURN.replace("@ v", "@ v + 0.0").replace("return ", "y = ")
        other += "        return y.transpose(1, 2).contiguous().transpose(1, 2)\n"
        self.assertEqual(self.kinds(PLAIN.replace(RETURN, other)), {"strides"})

    def test_gradients(self):
        self.assertEqual(self.kinds(PLAIN.replace("@ v", "@ v.detach()")), {"gradients"})

    def test_state(self):
        flag = "        if self.flag:\n            s = s * 2.0\n" + RETURN
        self.assertEqual(self.kinds(PLAIN.replace(RETURN, flag)), {"state"})

    def test_state_that_forward_sets(self):
        flag = "        if self.flag:\n            s = s * 2.0\n        self.flag = True\n" + RETURN
        self.assertLessEqual({"values", "float64"}, self.kinds(PLAIN.replace(RETURN, flag)))

    def test_state_that_forward_toggles(self):
        """Taken for a constant: right at every second call."""
        flag = "        if self.flag:\n            s = s * 2.0\n        self.flag = not self.flag\n" + RETURN
        self.assertIn("float64", self.kinds(PLAIN.replace(RETURN, flag), original=PLAIN))
        self.assertIn("float64", self.kinds(PLAIN, original=PLAIN.replace(RETURN, flag)))

    def test_state_beside_a_cast(self):
        """The original's cast excuses a conversion without it, and not one that does not see the state."""
        cast = PLAIN.replace("* 0.5", "* 0.5\n        s = s.to(torch.float32).to(q.dtype)") + "PRECISION = torch.float32\n"
        flag = "        if self.flag:\n            s = s * 2.0\n" + RETURN
        self.assertEqual(self.kinds(PLAIN, original=cast), set())
        self.assertIn("state", self.kinds(PLAIN, original=cast.replace(RETURN, flag)))

    def test_an_action_that_raises(self):
        other = PLAIN.replace("        self.flag = value\n", "        assert not value\n        self.flag = value\n")
        self.assertEqual(self.kinds(other), {"state"})

    def test_training(self):
        dropout = RETURN.replace("-1)", "-1).mul(2.0 if self.training else 1.0)")
        self.assertEqual(self.kinds(PLAIN.replace(RETURN, dropout)), {"train"})

    def test_an_argument_that_is_written_to(self):
        self.assertIn(
            "argument",
            self.kinds(
                PLAIN.replace(RETURN, RETURN.replace("return ", "y = ") + "        q.zero_()\n        return y\n")
            ),
        )

    def test_an_exception(self):
        raises = "        assert q.size(-2) < 9\n" + RETURN
        self.assertIn("raises", self.kinds(PLAIN.replace(RETURN, raises)))

    def test_a_dtype(self):
        half = RETURN.replace("return ", "y = ") + "        return y.half()\n"
        self.assertIn("dtype", self.kinds(PLAIN.replace(RETURN, half)))


class Descriptions(unittest.TestCase):
    def test_decisions_write_the_same_text_again(self):
        for seed in range(40):
            drawn = Decisions(seed)
            text = write_model(drawn)
            self.assertEqual(write_model(Decisions(seed)), text)
            self.assertEqual(write_model(Decisions(made=drawn.made)), text)

    def test_a_reduced_model_keeps_what_makes_it_fail(self):
        def has(text: str) -> bool:
            return "torch.tanh(scores / " in text

        drawn = next(decisions for seed in range(200) if has(write_model(decisions := Decisions(seed))))
        odd = reduced(drawn.made, has)
        self.assertTrue(has(write_model(Decisions(made=odd))))
        self.assertLess(len(odd), 4, odd)

    def test_a_model_that_torch_rejects_is_no_difference(self):
        with tempfile.TemporaryDirectory() as name:
            found = trial.run("raise ValueError", "<none>", None, pathlib.Path(name))
        self.assertEqual((found.skipped, found.differences), ("ValueError: ", {}))


if __name__ == "__main__":
    unittest.main()
