"""Prints what models_gpu.py measured.

A row: {"model", "form", "dtype", "fused", "sites", "ms": {"original", "converted" and perhaps "compiled"}, "alone_ms" of
one request with a wait after it, "errors": {"original", "converted"}, (mean, largest), or empty}.
"""

import math


class ModelTable:
    def __init__(self, with_compile):
        self.rows = []
        self._columns = ["original", "converted"] + (["compiled"] if with_compile else [])

    def header(self):
        names = "".join(f"{name:>11}" for name in self._columns)
        return f"{'':52}{'form':10}dtype{names}  original/converted  fused       one request   ratio   mean error (largest)"

    def line(self, row):
        times = "".join(f"{self._time(row, name, 2):>11}" for name in self._columns)
        fused, alone = f"{row['fused']} of {row['sites']}", row["alone_ms"]
        errors = " -> ".join("{:.1e} ({:.1e})".format(*row["errors"][name]) for name in row["errors"])
        return (f"{row['model']:52}{row['form']:10}{row['dtype']:5}{times}{self._ratio(row):20.2f}  {fused:10}"
                f"{alone['original']:6.2f} -> {alone['converted']:4.2f}{alone['original'] / alone['converted']:8.2f}   {errors}")

    @staticmethod
    def _time(row, name, digits):
        return f"{row['ms'][name]:.{digits}f}" if name in row["ms"] else "-"

    @staticmethod
    def _ratio(row):
        return row["ms"]["original"] / row["ms"]["converted"]

    def summary(self):
        """The geometric mean of original/converted by form and dtype, and against the fastest other way."""
        groups = {}
        for row in self.rows:
            groups.setdefault(f"{row['form']}, {row['dtype']}", []).append(self._ratio(row))
        for name, ratios in groups.items():
            mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
            yield f"{name}: {mean:.2f} times as fast as the original on average, at least {min(ratios):.2f}"
        for (model, dtype), rows in self._by_model().items():
            ours = min(row["ms"]["converted"] for row in rows)
            others = min(time for row in rows for name, time in row["ms"].items() if name != "converted")
            yield f"{model}, {dtype}: best converted {ours:.2f} ms, best other {others:.2f} ms, {others / ours:.2f}"

    def _by_model(self):
        models = {}
        for row in self.rows:
            models.setdefault((row["model"], row["dtype"]), []).append(row)
        return models

    def markdown(self):
        """A row a model and dtype: original and converted of each form, then torch.compile."""
        compiled = "compiled" in self._columns
        yield "| ms | dtype | original → converted |" + (" torch.compile |" if compiled else "") + " one request | mean error |"
        yield "| --- | --- | --- |" + (" ---: |" if compiled else "") + " --- | --- |"
        for (model, dtype), rows in self._by_model().items():
            forms = "; ".join(f"{row['form']} {self._time(row, 'original', 1)} → {self._time(row, 'converted', 1)}"
                              f" ({self._ratio(row):.2f})" for row in rows)
            last = [self._time(row, "compiled", 1) for row in rows if "compiled" in row["ms"]]
            alone = min((row["alone_ms"] for row in rows), key=lambda times: times["converted"])
            original = min(row["alone_ms"]["original"] for row in rows)
            means = [row["errors"][name][0] for row in rows[-1:] for name in row["errors"]]
            yield (f"| {model} | {dtype} | {forms} |" + (f" {(last or ['-'])[0]} |" if compiled else "")
                   + f" {original:.2f} → {alone['converted']:.2f} ({original / alone['converted']:.2f}) |"
                   + f" {' → '.join(f'{mean:.1e}' for mean in means)} |")
