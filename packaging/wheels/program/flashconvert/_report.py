"""The JSON report as an object."""


class Report(dict):
    """A JSON object whose fields are also attributes: report.parity.passed is report["parity"]["passed"].

    The fields are those of docs/report.md. `log` is what the program said on its console.
    """

    log: str = ""

    def __getattr__(self, name):
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the report has no field {name!r}") from None
