"""The same input and options give the same bytes: in another folder, under another name, with other threads, by another
copy of the program."""

import pathlib
import shutil
import unittest

from program import OPERATORS, PROGRAM, ProgramTest, run

SAMPLES = pathlib.Path(__file__).parents[2] / "sample_models" / "small"


class Reproducible(ProgramTest):
    def test_the_same_bytes_everywhere(self):
        here, there = self.folder / "here", self.folder / "there" / "deeper"
        copied = self.folder / "program"
        for folder in (here, there, copied):
            folder.mkdir(parents=True)
        shutil.copy(PROGRAM, copied / "flashconvert")
        shutil.copy(OPERATORS, copied)
        other_place = {"OMP_NUM_THREADS": "2", "LC_ALL": "C", "TZ": "Asia/Tokyo", "HOME": "/nowhere"}
        for name in ("perception", "padded_encoder", "rotary_decoder", "windowed", "scripted"):
            with self.subTest(name):
                source = shutil.copy(SAMPLES / f"{name}.pt", there / "input.pt")
                first = run(SAMPLES / f"{name}.pt", here / f"{name}.pt", environment={"OMP_NUM_THREADS": "1"})
                second = run(
                    source, "result.pt", "--force", cwd=there, environment=other_place, program=copied / "flashconvert"
                )
                self.assertEqual((first.returncode, second.returncode), (0, 0), second.stderr)
                self.assertIn("attention fused", first.stderr)
                self.assertTrue((here / f"{name}.pt").read_bytes() == (there / "result.pt").read_bytes())


if __name__ == "__main__":
    unittest.main()
