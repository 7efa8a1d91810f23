"""Prints what attention_bench.py measured: a line a shape, a summary of each group, and tables for the documentation.

A row: {"group", "name", "dtype", "causal", "kernel", "ceiling_ms", "results"}; its results: a column's name to {"ms",
"tflops", "relative_error", "wrong"} or {"unavailable": reason}.
"""

import math

TITLES = {"flash": "FlashAttention-2", "cudnn": "cuDNN", "fa3": "FlashAttention-3"}
NAME_WIDTH = 34


def speed(row, column):
    """TFLOP/s, None where there is no right result."""
    result = row["results"].get(column, {})
    return None if result.get("wrong") else result.get("tflops")


def best_competitor(row, competitors):
    return max((column for column in competitors if speed(row, column)), key=lambda column: speed(row, column), default=None)


def ratio(row, ours, competitors):
    """Our speed over the best competitor's; None where either is missing."""
    best = best_competitor(row, competitors)
    return speed(row, ours) / speed(row, best) if best and speed(row, ours) else None


def share(row, ours):
    """Of the speed that the card's ceilings allow."""
    return row["ceiling_ms"] / row["results"][ours]["ms"] if speed(row, ours) else None


def geometric_mean(values):
    return math.exp(sum(map(math.log, values)) / len(values))


def _number(value, digits):
    return "-" if value is None else f"{value:.{digits}f}"


def _three_figures(value):
    return _number(value, 0 if value is None or value >= 100 else 1 if value >= 10 else 2)


class ResultTable:
    def __init__(self, libraries, competitors):
        self.libraries, self.competitors = list(libraries), list(competitors)
        self.columns = self.libraries + self.competitors
        self.ours = self.libraries[0]

    def header(self):
        names = "".join(f"{column:>10}" for column in self.columns)
        return f"{'TFLOP/s':{NAME_WIDTH}}{names}   ratio ceiling   error  kernel"

    def line(self, row):
        cells = "".join(f"{self._cell(row, column):>10}" for column in self.columns)
        figures = f"{_number(ratio(row, self.ours, self.competitors), 2):>8}{_number(share(row, self.ours), 2):>8}"
        error = row["results"][self.ours].get("relative_error", math.nan)
        return f"{row['name']:{NAME_WIDTH}}{cells}{figures}{error:8.0e}  {row['kernel']}"

    @staticmethod
    def _cell(row, column):
        return "WRONG" if row["results"].get(column, {}).get("wrong") else _number(speed(row, column), 1)

    def summary(self, rows):
        """Lines: each group's geometric means and least ratio, and those of its parts by dtype and mask."""
        yield f"{'':{NAME_WIDTH}}  ratio: mean   least   ceiling: mean   shapes"
        for name, members in _groups(rows):
            parts = {}
            for row in members:
                parts.setdefault((row["dtype"], row["causal"]), []).append(row)
            yield self._summary_line(name, members)
            if len(parts) > 1:
                for (dtype, causal), part in parts.items():
                    yield self._summary_line(f"  {name} {dtype}{' causal' if causal else ''}", part)

    def errors(self, rows):
        """Lines: in float32, our mean and largest errors over the least of the competitors', where those are the most."""
        for kind in ("mean_error", "largest_error"):
            ratios = []
            for row in rows:
                others = [row["results"][name][kind] for name in self.competitors if kind in row["results"].get(name, {})]
                ours = row["results"][self.ours].get(kind)
                if row["dtype"] == "fp32" and ours and others and min(others) > 0:
                    ratios.append((ours / min(others), row["name"]))
            if ratios:
                most, where = max(ratios)
                mean = geometric_mean([value for value, _ in ratios])
                yield f"fp32 {kind.replace('_', ' ')} over the least competitor's: mean {mean:.2f}, most {most:.2f} at {where}"

    def _summary_line(self, name, rows):
        ratios = [(ratio(row, self.ours, self.competitors), row["name"]) for row in rows]
        ratios = [item for item in ratios if item[0] is not None]
        shares = [value for value in (share(row, self.ours) for row in rows) if value is not None]
        least, where = min(ratios, default=(None, ""))
        mean = geometric_mean([value for value, _ in ratios]) if ratios else None
        mean_share = geometric_mean(shares) if shares else None
        count = f"{len(shares)} of {len(rows)}" if len(shares) < len(rows) else str(len(rows))
        return (f"{name:{NAME_WIDTH}}{_number(mean, 3):>13}{_number(least, 3):>8}{_number(mean_share, 3):>16}   {count}"
                + (f"   least at {where}" if where else ""))

    def markdown(self, rows):
        """A table a group, with the columns that have figures in it."""
        for name, members in _groups(rows):
            columns = [column for column in self.columns if any(speed(row, column) for row in members)]
            titles = [TITLES.get(column, column) for column in columns]
            yield f"| {name} | " + " | ".join(titles) + " | ratio to the best | share of the ceiling |"
            yield "| --- |" + " ---: |" * (len(columns) + 2)
            for row in members:
                best = best_competitor(row, self.competitors)
                cells = [_three_figures(speed(row, column)) for column in columns]
                cells = [f"**{cell}**" if column == best else cell for column, cell in zip(columns, cells)]
                figures = [_number(ratio(row, self.ours, self.competitors), 2), _number(share(row, self.ours), 2)]
                yield f"| {row['name']} | " + " | ".join(cells + figures) + " |"
            yield ""


def _groups(rows):
    names = dict.fromkeys(row["group"] for row in rows)
    return [(name, [row for row in rows if row["group"] == name]) for name in names]
