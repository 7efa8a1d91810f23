"""The HTML report in a browser: Chromium lays the page out, without a window, and says where things came to lie.

FLASHCONVERT_SCREENSHOTS names a folder to keep pictures in, to look at.
"""

import json
import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import unittest

PROGRAM = os.environ["FLASHCONVERT"]
SAMPLE = pathlib.Path(__file__).parents[2] / "sample_models" / "small" / "perception.pt"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")

MEASURE = """
<script>
const lines = (e) => { const r = document.createRange(); r.selectNodeContents(e);
  return new Set([...r.getClientRects()].map((c) => Math.round(c.top))).size; };
const out = {
  width: innerWidth, page: document.documentElement.scrollWidth,
  outside: [...document.querySelectorAll('body *')].filter((e) => !e.closest('.scroll') &&
    e.getBoundingClientRect().right > innerWidth + 0.5).map((e) => e.tagName + '.' + e.className),
  broken: [...document.querySelectorAll('td.path')].filter((e) => lines(e) > 1).map((e) => e.textContent),
  scrolling: [...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth).length,
  tables: document.querySelectorAll('table').length,
  cases: [...document.querySelectorAll('.inputs')].map((e) => e.textContent),
  dots: [...document.querySelectorAll('.plotrow .dot')].map((e) => {
    const dot = e.getBoundingClientRect(), strip = e.parentElement.getBoundingClientRect();
    return [e.className, e.title, (dot.left + dot.width / 2 - strip.left) / strip.width]; }),
  bars: [...document.querySelectorAll('.time')].map((e) => e.getBoundingClientRect().width),
};
const box = document.querySelector('.filter');
box.value = 'hand_decoder declined-nothing'; box.dispatchEvent(new Event('input'));
const rows = [...box.nextElementSibling.querySelectorAll('tbody tr')];
out.hidden = rows.filter((row) => row.hidden).length; out.rows = rows.length;
document.body.innerHTML = '<pre id="measured"></pre>';
document.querySelector('#measured').textContent = JSON.stringify(out);
</script>
"""


def browse(*arguments):
    command = [BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", *map(str, arguments)]
    with tempfile.TemporaryDirectory() as profile:
        done = subprocess.run(
            [*command[:1], f"--user-data-dir={profile}", *command[1:]], capture_output=True, text=True, timeout=120
        )
    if done.returncode != 0:
        raise AssertionError(done.stderr)
    return done.stdout


class Page(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.folder = pathlib.Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        cls.page = cls.folder / "report.html"
        command = [PROGRAM, SAMPLE, cls.folder / "out.pt", "--verify", "--bench", "--report", cls.page]
        subprocess.run(command, check=True, capture_output=True, timeout=300)
        measured = cls.folder / "measured.html"
        measured.write_text(cls.page.read_text().replace("</body>", MEASURE + "</body>"))
        cls.layout = {}
        for width in (1280, 420):
            # A frame: a window may not be as narrow as a telephone.
            frame = cls.folder / f"frame{width}.html"
            frame.write_text(
                f'<iframe src="measured.html" style="width:{width}px;height:900px;border:0" id="frame"></iframe><script>'
                'frame.onload = () => { document.title = "x"; const pre = document.createElement("pre"); pre.id = "copy";'
                "pre.textContent = frame.contentDocument.querySelector('#measured').textContent; document.body.append(pre); }"
                "</script>"
            )
            shown = browse("--allow-file-access-from-files", "--virtual-time-budget=4000", "--dump-dom", frame.as_uri())
            found = re.search(r'<pre id="copy">(.*)</pre>', shown, re.S).group(1)
            cls.layout[width] = json.loads(found.replace("&gt;", ">").replace("&lt;", "<").replace("&amp;", "&"))
        cls.take_screenshots()

    @classmethod
    def take_screenshots(cls):
        kept = os.environ.get("FLASHCONVERT_SCREENSHOTS")
        folder = pathlib.Path(kept) if kept else cls.folder
        folder.mkdir(parents=True, exist_ok=True)
        cls.pictures = []
        for width in (1280, 500):
            picture = folder / f"report-{width}.png"
            browse(f"--window-size={width},3000", f"--screenshot={picture}", cls.page.as_uri())
            cls.pictures.append(picture)

    def test_it_is_laid_out_at_the_width_that_was_asked_for(self):
        for width, layout in self.layout.items():
            self.assertEqual(layout["width"], width)
            self.assertGreater(layout["tables"], 5)

    def test_module_paths_stay_whole(self):
        for layout in self.layout.values():
            self.assertEqual(layout["broken"], [])

    def test_tables_scroll_and_the_page_does_not(self):
        for width, layout in self.layout.items():
            self.assertEqual(layout["outside"], [])
            self.assertLessEqual(layout["page"], width)
        self.assertGreater(self.layout[420]["scrolling"], 0)

    def test_each_case_states_its_inputs_once(self):
        cases = self.layout[1280]["cases"]
        self.assertGreater(len(cases), 1)
        self.assertEqual(len(set(cases)), len(cases))

    def test_dots_lie_in_the_order_of_the_figures(self):
        dots = self.layout[1280]["dots"]
        self.assertGreater(len(dots), 3 * 16)
        places = []
        for _, title, place in dots:
            value = float(title.split()[-1])
            self.assertTrue(-0.01 <= place <= 1.01, title)
            places.append((value, place))
        # Two plots have scales of their own: within each, a larger error lies further right.
        boundary = 3 * sum(len(case["outputs"]) for case in self.report()["parity"]["cases"])
        for plot in (places[:boundary], places[boundary:]):
            in_order = [place for _, place in sorted(plot)]
            self.assertTrue(all(b >= a - 0.002 for a, b in zip(in_order, in_order[1:])))

    def report(self):
        file = self.folder / "again.json"
        if not file.exists():
            command = [PROGRAM, SAMPLE, "--dry-run", "--verify", "--report", file]
            subprocess.run(command, check=True, capture_output=True, timeout=300)
        return json.loads(file.read_text())

    def test_times_are_two_bars(self):
        self.assertEqual(len(self.layout[1280]["bars"]), 2)
        self.assertGreater(min(self.layout[1280]["bars"]), 0)

    def test_the_filter_hides_rows(self):
        self.assertGreater(self.layout[1280]["rows"], 8)
        self.assertEqual(self.layout[1280]["hidden"], self.layout[1280]["rows"])

    def test_pictures_are_taken(self):
        for picture in self.pictures:
            self.assertGreater(picture.stat().st_size, 20_000)


if __name__ == "__main__":
    unittest.main()
