"""The text of a TorchScript archive's code: read, with one line changed, written again."""

import pathlib
import re
import zipfile
from dataclasses import dataclass

import torch

CALL = re.compile(r"torch\.(\w+)\(")


@dataclass(frozen=True)
class Call:
    """torch.NAME(arguments) within a line, as indices into it."""

    name: str
    start: int
    end: int
    arguments: tuple[tuple[int, int], ...]

    def argument(self, line: str, number: int) -> str:
        first, last = self.arguments[number]
        return line[first:last].strip()


def calls_of(line: str) -> list[Call]:
    """Every call of a torch function in the line, inner ones too."""
    found = []
    for match in CALL.finditer(line):
        depth, begin, arguments = 0, match.end(), []
        for at in range(match.end() - 1, len(line)):
            if line[at] in "([{":
                depth += 1
            elif line[at] in ")]}":
                depth -= 1
            if (line[at] == "," and depth == 1) or depth == 0:
                if line[begin:at].strip():
                    arguments.append((begin, at))
                begin = at + 1
            if depth == 0:
                found.append(Call(match.group(1), match.start(), at + 1, tuple(arguments)))
                break
    return found


class Archive:
    def __init__(self, path: pathlib.Path):
        with zipfile.ZipFile(path) as archive:
            self.records = {name: archive.read(name) for name in archive.namelist()}
        self.root = next(iter(self.records)).split("/")[0]

    def code(self) -> dict[str, list[str]]:
        """The lines of each source file. Files are in the order of their names."""
        names = sorted(name for name in self.records if name.startswith(f"{self.root}/code/") and name.endswith(".py"))
        return {name: self.records[name].decode().split("\n") for name in names}

    def write(self, path: pathlib.Path, code: dict[str, list[str]]) -> None:
        changed = {name: "\n".join(lines).encode() for name, lines in code.items()}
        writer = torch._C.PyTorchFileWriter(str(path))
        for name, content in self.records.items():
            short = name.removeprefix(f"{self.root}/")
            # Maps from the code as it was to Python's lines would lead astray; the writer adds the rest itself.
            if name.endswith(".debug_pkl") or short in ("version", ".data/serialization_id"):
                continue
            content = changed.get(name, content)
            writer.write_record(short, content, len(content))
        writer.write_end_of_file()
