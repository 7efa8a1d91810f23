"""The report in its three forms, of real conversions."""

import hashlib
import html.parser
import json
import re
import unittest

import torch

from program import OPERATORS, SABOTAGE, Attention, ProgramTest, save_traced

FIELDS = {
    "": "schema flashconvert torch input output attention folded linear renamed parity bench seconds warnings operators "
    "library growth options exit_code error",
    "attention": "path method form status depth reason heads head_dim scale causal bias packed",
    "folded": "path form status reason weight_change dtype",
    "linear": "path method form status reason in_features out_features activation",
    "figures": "name shape dtype max_abs error_original error_converted allowed passed error_mean error_mean_original error_p99 "
    "needed_tolerance note",
}


class Page(html.parser.HTMLParser):
    """The text of a page, and everything that it would load from elsewhere."""

    def __init__(self, text):
        super().__init__()
        self.words = []
        self.references = []
        self.open = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.references += [value for name, value in attributes if name in ("src", "href", "data", "action")]
        if tag not in ("meta", "input", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data):
        self.words.append(data)


class Report(ProgramTest):
    def assert_fields(self, entry, name):
        self.assertEqual(list(entry), FIELDS[name].split())

    def test_json_is_the_contract(self):
        report = self.report(self.encoder, self.output, "--verify", "--bench", "--device", "cpu")
        self.assert_fields(report, "")
        self.assertEqual(report["schema"], 1)
        self.assertEqual(report["torch"], torch.__version__.split("+")[0])
        for role, path in (("input", self.encoder), ("output", self.output)):
            content = path.read_bytes()
            self.assertEqual(report[role], {"path": str(path), "bytes": len(content),
                                            "sha256": hashlib.sha256(content).hexdigest()})
        for site in report["attention"]:
            self.assert_fields(site, "attention")
        first = report["attention"][0]
        self.assertEqual((first["path"], first["method"], first["form"], first["status"], first["reason"]),
                         ("first", "forward", "softmax-matmul", "fused", None))
        self.assertIn(first["depth"], ("module", "core"))
        self.assertEqual((first["heads"], first["head_dim"], first["causal"], first["bias"]), (2, 8, False, "none"))
        self.assertAlmostEqual(first["scale"], 8**-0.5, places=6)
        for weight in report["folded"]:
            self.assert_fields(weight, "folded")
        self.assertEqual((report["folded"][0]["path"], report["folded"][0]["status"]), ("head", "folded"))
        self.assertEqual(list(report["parity"]), ["device", "reference", "passed", "cases", "sites"])
        for case in report["parity"]["cases"]:
            self.assertTrue(case["outputs"])
            for figures in case["outputs"]:
                self.assert_fields(figures, "figures")
                self.assertLessEqual(figures["error_converted"], figures["allowed"])
        self.assertEqual([site["path"] for site in report["parity"]["sites"]], ["first", "second"])
        for site in report["parity"]["sites"]:
            self.assertEqual(list(site), ["path", "method", "kind", "inputs", *FIELDS["figures"].split()])
            self.assertTrue(site["passed"])
            self.assertGreater(site["error_original"], 0)
            self.assertLessEqual(site["error_converted"], site["allowed"])
            self.assertIn(site["inputs"], [case["inputs"] for case in report["parity"]["cases"]])
        self.assertEqual(list(report["bench"]), ["device", "kernels", "original_ms", "converted_ms", "runs"])
        self.assertEqual(list(report["seconds"])[:5], ["load", "survey", "rewrite", "verify", "save"])
        self.assertGreater(report["seconds"]["save"], 0)
        self.assertEqual(report["operators"]["needed"], ["flashconvert::attention"])
        self.assertEqual(report["operators"]["after"]["flashconvert::attention"], 2)
        self.assertEqual((report["exit_code"], report["error"]), (0, None))

    def test_renamed_keys_are_true(self):
        report = self.report(self.encoder, self.output)
        torch.ops.load_library(OPERATORS)
        before = torch.jit.load(str(self.encoder)).state_dict()
        after = torch.jit.load(str(self.output)).state_dict()
        renamed_from = {key for rename in report["renamed"] for key in rename["from"]}
        renamed_to = {rename["to"] for rename in report["renamed"]}
        self.assertEqual(set(before) - set(after) - renamed_from, set(), "keys that went without a word")
        self.assertEqual(set(after) - set(before) - renamed_to, set(), "keys that came without a word")

    def test_without_verify_and_bench_they_are_null(self):
        report = self.report(self.encoder, self.output)
        self.assertIsNone(report["parity"])
        self.assertIsNone(report["bench"])
        self.assertIsNone(report["seconds"]["verify"])

    def test_a_dry_run_has_no_output(self):
        report = self.report(self.encoder, "--dry-run")
        self.assertIsNone(report["output"])
        self.assertEqual([site["status"] for site in report["attention"]], ["fused", "fused"])
        self.assertEqual(report["operators"]["before"]["aten::softmax"], 2)

    def test_a_failed_conversion_leaves_a_report(self):
        report = self.report(self.folder / "missing.pt", self.output, code=4)
        self.assertEqual(report["exit_code"], 4)
        self.assertIn("no such file", report["error"])
        self.assertEqual(report["input"], {"path": str(self.folder / "missing.pt"), "bytes": None, "sha256": None})
        self.assertIsNone(report["output"])
        report = self.report(self.weights, self.output, "--strict", code=3)
        self.assertEqual(report["exit_code"], 3)
        self.assertIsNotNone(report["output"])

    def test_a_failed_parity_leaves_a_report(self):
        report = self.report(self.encoder, self.output, "--verify", "--load-library", SABOTAGE, code=5)
        self.assertIsNone(report["output"])
        self.assertFalse(report["parity"]["passed"])
        failed = [output for case in report["parity"]["cases"] for output in case["outputs"] if not output["passed"]]
        self.assertTrue(failed)
        for figures in failed:
            self.assertGreater(figures["error_converted"], figures["allowed"])
            self.assertGreater(figures["needed_tolerance"], 0)
        self.assertTrue(any("'second'" in warning for warning in report["warnings"]))
        self.assertEqual(report["exit_code"], 5)

    def test_the_site_that_is_wrong_is_named_by_its_own_figures(self):
        report = self.report(self.encoder, self.output, "--verify", "--load-library", SABOTAGE, code=5)
        sites = {site["path"]: site for site in report["parity"]["sites"]}
        self.assertTrue(sites["first"]["passed"])
        self.assertFalse(sites["second"]["passed"])
        self.assertAlmostEqual(sites["second"]["error_converted"], 0.5, places=4)  # the sabotage: 1.5 times the result
        self.assertLess(sites["first"]["error_converted"], 1e-5)
        self.assertFalse(any("'first'" in warning for warning in report["warnings"]))

    def test_a_wrong_site_that_no_output_shows_fails(self):
        class Hidden(torch.nn.Module):
            def __init__(self):
                super().__init__()
                self.attention = Attention(heads=4)

            def forward(self, x):
                return x + 0 * self.attention(x)

        model = save_traced(Hidden(), self.folder / "hidden.pt")
        report = self.report(model, self.output, "--verify", "--load-library", SABOTAGE, code=5)
        self.assertTrue(all(output["passed"] for case in report["parity"]["cases"] for output in case["outputs"]))
        self.assertEqual([(site["path"], site["passed"]) for site in report["parity"]["sites"]], [("attention", False)])
        self.assertTrue(any("'attention'" in warning for warning in report["warnings"]))

    def test_reverted_sites_give_their_error_as_the_reason(self):
        report = self.report(self.encoder, self.output, "--verify", "--revert-failing", "--load-library", SABOTAGE)
        self.assertEqual([site["status"] for site in report["attention"]], ["fused", "reverted"])
        self.assertRegex(report["attention"][1]["reason"], r"parity failed with this site fused \(error 0\.5 of .*allowed")
        self.assertTrue(report["parity"]["passed"])
        self.assertEqual([site["path"] for site in report["parity"]["sites"]], ["first"])

    def test_a_report_replaces_an_older_one_and_leaves_no_other_file(self):
        for name in ("report.json", "report.html"):
            path = self.folder / name
            path.write_text("old")
            self.convert(self.encoder, self.output, "--force", "--report", path)
            self.assertNotIn("old", path.read_text()[:3])
        self.assert_only("out.pt", "report.json", "report.html")

    def test_console_and_json_agree(self):
        path = self.folder / "report.json"
        log = self.convert(self.weights, self.output, "--report", path).stderr
        for site in json.loads(path.read_text())["attention"]:
            self.assertIn(f"{site['path'] or '(root)'}  declined: {site['reason']}", log)

    def test_the_page_is_whole_and_loads_nothing(self):
        path = self.folder / "report.html"
        self.convert(self.encoder, self.output, "--verify", "--bench", "--report", path)
        text = path.read_text()
        page = Page(text)
        self.assertEqual(page.open, [])
        self.assertEqual(page.references, [])
        for reference in ("http:", "https:", "@import", "url("):
            self.assertNotIn(reference, text)
        words = " ".join(page.words)
        facts = ("first", "second", "head", "softmax-matmul, 2 heads of 8", "passed", "flashconvert::attention")
        for fact in (*facts, "Site by site"):
            self.assertIn(fact, words)

    def test_names_are_escaped(self):
        model = save_traced(Attention(), self.folder / "<b>&'.pt")
        path = self.folder / "report.html"
        self.convert(model, self.output, "--report", path)
        self.assertIn("&lt;b&gt;&amp;&#39;.pt", path.read_text())
        self.assertNotIn("<b>&'", path.read_text())


if __name__ == "__main__":
    unittest.main()
