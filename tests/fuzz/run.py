#!/usr/bin/env python3
"""Compares random models with their conversions.

    python tests/fuzz/run.py --seeds 0:2000 --mode generate     models from a grammar
    python tests/fuzz/run.py --seeds 0:2000 --mode mutate       the real models of tests/models with one thing changed

Prints the seeds whose converted model differs, a summary by kind of difference, how many models had a site that was
fused, and why the others had none. Exit code 1 where anything differs. For models from the grammar, --reduce makes each
failing one small, and --findings keeps it as a script that needs only this folder and the program.
"""

import argparse
import collections
import contextlib
import os
import pathlib
import re
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field

import torch
import trial
import workers
from converter import Converter, operators_of
from decisions import Decisions
from model import write_model
from reducer import reduced
from standalone import as_script

# How many models a worker makes small of those that fail in one way.
MOST_REDUCED = {"strides": 1, "train": 1, "raises": 2, "gradients": 4, "used as": 4}
REDUCED: collections.Counter = collections.Counter()


@dataclass
class Outcome:
    """What a worker tells of one seed."""

    skipped: str | None = None
    fused: int = 0
    declined: list[str] = field(default_factory=list)
    differences: dict[str, str] = field(default_factory=dict)
    gravest: str | None = None
    text: str = ""  # of the reduced model, where it was asked for
    told_by: str = ""  # the reduced description


def outcome_of(found: trial.Trial) -> Outcome:
    sites = found.conversion.sites if found.conversion else []
    return Outcome(
        skipped=found.skipped,
        fused=found.conversion.fused if found.conversion else 0,
        declined=[site["reason"] or "no reason" for site in sites if site["status"] != "fused"],
        differences=found.differences,
        gravest=found.gravest,
    )


def worker(connection, program: pathlib.Path, mode: str, models: pathlib.Path, reduce: bool) -> None:
    warnings.filterwarnings("ignore")
    torch.set_num_threads(1)
    torch.ops.load_library(operators_of(program))
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as tidy:
        folder = pathlib.Path(name)
        converter = tidy.enter_context(contextlib.closing(Converter(program, folder)))
        if mode == "mutate":
            import mutation

            workers.serve(connection, lambda seed: outcome_of(mutation.run(seed, models, converter, folder)))
        else:
            workers.serve(connection, lambda seed: generated(seed, converter, folder, reduce))


def signature(found: trial.Trial, kind: str) -> str | None:
    """What a smaller model has to share: the kind of difference, and an error's first words without numbers."""
    words = found.differences.get(kind)
    if words is None:
        return None
    return kind + (re.sub(r"[\d\[\], ]+", " ", words)[:60] if kind in ("raises", "exit", "load", "crash") else "")


def generated(seed: int, converter: Converter, folder: pathlib.Path, reduce: bool) -> Outcome:
    decisions = Decisions(seed)
    found = trial.run(write_model(decisions), f"<seed {seed}>", converter, folder)
    outcome = outcome_of(found)
    wanted = signature(found, found.gravest) if found.gravest else None
    if not wanted or not reduce or REDUCED[wanted] == MOST_REDUCED.get(found.gravest, 40):
        return outcome
    REDUCED[wanted] += 1

    def fails(text: str) -> bool:
        return signature(trial.run(text, "<smaller>", converter, folder, found.gravest), found.gravest) == wanted

    odd = reduced(decisions.made, fails)
    outcome.text = write_model(Decisions(made=odd))
    outcome.told_by = ", ".join(f"{name}={index}" for name, index in sorted(odd.items()))
    return outcome


class Summary:
    def __init__(self):
        self.models = self.fused = self.with_site = 0
        self.skipped: collections.Counter = collections.Counter()
        self.declined: collections.Counter = collections.Counter()
        self.kinds: dict[str, list[int]] = collections.defaultdict(list)

    def add(self, seed: int, outcome: Outcome) -> None:
        if outcome.skipped:
            self.skipped[outcome.skipped.split(":")[0]] += 1
            return
        self.models += 1
        self.fused += outcome.fused > 0
        self.with_site += outcome.fused > 0 or bool(outcome.declined)
        self.declined.update(outcome.declined)
        if outcome.gravest:
            self.kinds[outcome.gravest].append(seed)

    def print(self, seconds: float) -> None:
        rate = self.models / max(seconds, 1e-9)
        skipped = sum(self.skipped.values())
        print(
            f"\n{self.models} models in {seconds:.0f} s, {rate:.1f} a second; {skipped} more that torch itself rejects"
        )
        print(f"{self.with_site} with attention that was reported, {self.fused} with a site that was fused")
        print("declined:")
        for reason, count in self.declined.most_common(20):
            print(f"  {count:5}  {reason}")
        print("differences: " + ("none" if not self.kinds else ""))
        for kind, seeds in sorted(self.kinds.items(), key=lambda entry: trial.KINDS.index(entry[0])):
            shown = " ".join(map(str, seeds[:12])) + (" ..." if len(seeds) > 12 else "")
            print(f"  {len(seeds):5}  {kind}: {shown}")


def report(seed: int, outcome: Outcome, findings: pathlib.Path | None) -> None:
    words = "; ".join(f"{kind}: {text}" for kind, text in outcome.differences.items())
    print(f"seed {seed}: {words}", flush=True)
    if outcome.told_by:
        print(f"    {outcome.told_by}", flush=True)
    if findings and outcome.text:
        findings.mkdir(parents=True, exist_ok=True)
        script = as_script(outcome.text, f"Seed {seed}. {words}")
        (findings / f"{outcome.gravest.replace(' ', '-')}-{seed}.py").write_text(script)


def seeds_of(text: str) -> list[int]:
    """ "12", "0:2000" or "3,17,29"."""
    seeds: list[int] = []
    for part in text.split(","):
        first, colon, last = part.partition(":")
        seeds += range(int(first), int(last)) if colon else [int(first)]
    return seeds


def arguments_of(command_line: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=seeds_of, default="0:2000", help="one, a range or a list (default: 0:2000)")
    parser.add_argument("--mode", choices=("generate", "mutate"), default="generate")
    parser.add_argument(
        "--time-budget", type=float, default=float("inf"), metavar="S", help="no new model after S seconds"
    )
    parser.add_argument("--jobs", type=int, default=1)
    program = os.environ.get("FLASHCONVERT")
    words = "the program (default: $FLASHCONVERT)"
    parser.add_argument("--flashconvert", type=pathlib.Path, default=program, metavar="PATH", help=words)
    exports = pathlib.Path(tempfile.gettempdir(), "flashconvert-models")
    words = "where --mode mutate keeps the exports of tests/models"
    parser.add_argument("--models", type=pathlib.Path, default=exports, help=words)
    parser.add_argument("--reduce", action="store_true", help="make failing models small (--mode generate)")
    words = "keep reduced models as scripts (implies --reduce)"
    parser.add_argument("--findings", type=pathlib.Path, metavar="DIR", help=words)
    parser.add_argument("--print", action="store_true", help="print the models' sources and do nothing else")
    arguments = parser.parse_args(command_line)
    arguments.reduce = arguments.reduce or arguments.findings is not None
    if arguments.mode == "mutate" and (arguments.reduce or arguments.print):
        parser.error("--print, --reduce and --findings are for --mode generate: a changed real model has no source")
    if arguments.flashconvert is None and not arguments.print:
        parser.error("say where the program is: --flashconvert PATH")
    return arguments


def main(command_line: list[str]) -> int:
    arguments = arguments_of(command_line)
    if arguments.print:
        for seed in arguments.seeds:
            print(f"# seed {seed}\n{write_model(Decisions(seed))}")
        return 0
    if arguments.mode == "mutate":
        import mutation

        mutation.export_models(arguments.models)
    start = time.monotonic()
    summary = Summary()
    setup = (arguments.flashconvert, arguments.mode, arguments.models, arguments.reduce)
    for seed, outcome in workers.run(worker, setup, arguments.seeds, arguments.jobs, start + arguments.time_budget):
        if isinstance(outcome, str):
            outcome = Outcome(differences={"crash": outcome}, gravest="crash")
        summary.add(seed, outcome)
        if outcome.gravest:
            report(seed, outcome, arguments.findings)
    summary.print(time.monotonic() - start)
    return 1 if summary.kinds else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
