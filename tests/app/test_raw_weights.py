"""The raw weight of a σReparam layer in the place of the effective one, as a tool once copied it: the program must
refuse the result."""

import pathlib
import unittest

from program import PROGRAM, ProgramTest, run

SAMPLE = pathlib.Path(__file__).parents[2] / "sample_models" / "small" / "perception.pt"


class RawWeights(ProgramTest):
    def test_parity_fails_and_nothing_is_written(self):
        output = self.folder / "converted.pt"
        raw = str(pathlib.Path(PROGRAM).parent / "flashconvert_raw_weights")
        options = (SAMPLE, output, "--verify", "--only", "backbone.blocks.0.*")  # some of 75: each guilty one is looked for
        done = run(*options, program=raw)
        self.assertEqual(done.returncode, 5, done.stderr)
        self.assertFalse(output.exists())
        self.assertEqual(list(self.folder.iterdir()), [])
        self.convert(*options)


if __name__ == "__main__":
    unittest.main()
