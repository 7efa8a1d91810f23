"""Makes wrong checkpoints of right ones: seeded, so that each mutant can be made again from its number.

Two layers. Bytes: bits flipped and the file cut, checksums left as they were. Records: names, contents, pickles and code
changed, with right checksums, as somebody who means it would.
"""

import io
import pickletools
import random
import struct
import zipfile

HUGE = (0, 1, 2, 7, 255, 256, 2**15, 2**31 - 1, 2**31, 2**32 - 1, 2**40, 2**62, 2**63 - 1, -1, -2, -(2**31), -(2**63))


def records_of(content):
    """The archive's records in their order."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        return [(info.filename, archive.read(info)) for info in archive.infolist()]


def archive_of(records):
    """An archive of these records. Names may be anything, given twice, or hold a NUL, so that zipfile cannot write it."""
    body, table = bytearray(), bytearray()
    for name, content in records:
        raw = name if isinstance(name, bytes) else name.encode()
        checksum, size, at = zipfile.crc32(content), len(content), len(body)
        fields = struct.pack("<HHHHHIIIHH", 20, 0, 0, 0, 33, checksum, size, size, len(raw), 0)
        body += b"PK\x03\x04" + fields + raw + content
        table += b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHII", 0, 0, 0, 0, at) + raw
    end = struct.pack("<HHHHIIH", 0, 0, len(records), len(records), len(table), len(body), 0)
    return bytes(body + table + b"PK\x05\x06" + end)


def opcodes_of(pickle):
    """The pickle's opcodes with their arguments, as bytes."""
    starts = [at for _, _, at in pickletools.genops(pickle)] + [len(pickle)]
    return [pickle[begin:end] for begin, end in zip(starts, starts[1:])]


def integer(value):
    return b"\x8a\x08" + struct.pack("<q", value)


class Mutator:
    def __init__(self, content, seed):
        self.content = content
        self.records = records_of(content)
        self.random = random.Random(seed)

    def mutant(self):
        """The bytes of one mutant, and the kind of change that made it."""
        kinds = (self.flip, self.cut, self.exchange, self.resize, self.rename, self.edit_directory, self.edit_pickle, self.edit_pickle,
                 self.edit_pickle, self.nest_pickle, self.edit_code, self.nest_code)
        change = self.random.choice(kinds)
        return change(), change.__name__

    def flip(self):
        content = bytearray(self.content)
        for _ in range(self.random.randint(1, 4)):
            content[self.random.randrange(len(content))] ^= 1 << self.random.randrange(8)
        return bytes(content)

    def cut(self):
        begin = self.random.randrange(len(self.content))
        return self.content[:begin] + (self.content[begin + self.random.randint(1, 5000) :] if self.random.random() < 0.5 else b"")

    def pick(self, ending=""):
        return self.random.choice([i for i, (name, _) in enumerate(self.records) if name.endswith(ending)])

    def with_record(self, index, content):
        records = list(self.records)
        records[index] = (records[index][0], content)
        return archive_of(records)

    def exchange(self):
        records, one, other = list(self.records), self.pick(), self.pick()
        records[one], records[other] = (records[one][0], records[other][1]), (records[other][0], records[one][1])
        return archive_of(records)

    def resize(self):
        index = self.pick()
        content = self.records[index][1]
        new = self.random.choice((b"", content[: len(content) // 2], content[:-1], content + b"\0", content * 3))
        return self.with_record(index, new)

    def rename(self):
        records, index = list(self.records), self.pick()
        name = records[index][0]
        root, rest = name.split("/", 1)
        new = self.random.choice((f"{root}/../{rest}", "/" + name, name + "\0", records[self.pick()][0], rest, name.upper(), "", name + "\x1b[2J",
                                  name.replace("/", "\\"), name + "x" * 600))
        records[index] = (new, records[index][1])
        if self.random.random() < 0.2:
            del records[self.pick()]
        return archive_of(records)

    def edit_directory(self):
        content = bytearray(self.content)
        table = content.rfind(b"PK\x01\x02", 0, len(content))
        first = content.find(b"PK\x01\x02", zipfile.ZipFile(io.BytesIO(self.content)).start_dir)
        at = self.random.randrange(first, len(content) - 4) if self.random.random() < 0.5 else table + self.random.randrange(4, 46)
        content[at : at + 4] = struct.pack("<I", self.random.choice(HUGE) & 0xFFFFFFFF)
        return bytes(content)

    def pick_pickle(self):
        # data.pkl is what most mistakes are about.
        return self.pick("data.pkl") if self.random.random() < 0.7 else self.pick(".pkl")

    def edit_pickle(self):
        index = self.pick_pickle()
        opcodes = opcodes_of(self.records[index][1])
        for _ in range(self.random.choice((1, 1, 1, 2, 5))):
            at = self.random.randrange(len(opcodes))
            kind = self.random.randrange(6)
            if kind == 0:
                del opcodes[at]
            elif kind == 1:
                opcodes.insert(at, self.random.choice(opcodes))
            elif kind == 2:
                opcodes[at] = self.random.choice(opcodes)
            elif kind == 3:
                opcodes[at] = self.random.choice((integer(self.random.choice(HUGE)), b"N", b"\x88", b"]", b"}", b")", b"(", b"t", b"e", b"u", b"R",
                                                  b"b", b"Q", b"\x81", b"\x85", b"s", b"l", b"d", b"X\x02\0\0\0\x1b[", b"G" + b"\x7f\xf0" + bytes(6)))
            elif kind == 4:
                numbers = [i for i, opcode in enumerate(opcodes) if opcode[:1] in b"KMJ" and len(opcode) > 1] or [at]
                opcodes[self.random.choice(numbers)] = integer(self.random.choice(HUGE))
            else:
                value = bytearray(opcodes[at])
                value[self.random.randrange(len(value))] = self.random.randrange(256)
                opcodes[at] = bytes(value)
            if not opcodes:
                break
        return self.with_record(index, b"".join(opcodes))

    def nest_pickle(self):
        index = self.pick_pickle()
        opcodes = opcodes_of(self.records[index][1])
        at = self.random.randrange(1, len(opcodes))
        depth = self.random.choice((100, 300, 5000, 200_000))
        nested = {
            "tuples": b"N" + b"\x85" * depth,
            "lists": b"](" * depth + b"e" * depth,
            "marks": b"(" * depth,
            "memo": b"r" + struct.pack("<I", depth * 20_000),
            "text": b"X" + struct.pack("<I", depth * 20_000),
            "shared": b"N" + b"".join(b"r" + struct.pack("<I", 300 + i) + b"j" + struct.pack("<I", 300 + i) + b"\x86" for i in range(min(depth, 300))),
            "sizes": b"(" + integer(2**62) * min(depth, 300) + b"t",
        }
        opcodes.insert(at, self.random.choice(list(nested.values())))
        return self.with_record(index, b"".join(opcodes))

    def edit_code(self):
        index = self.pick(".py")
        lines = self.records[index][1].decode().split("\n")
        for _ in range(self.random.choice((1, 1, 3))):
            at = self.random.randrange(len(lines))
            kind = self.random.randrange(6)
            if kind == 0:
                del lines[at]
            elif kind == 1:
                lines.insert(at, self.random.choice(lines))
            elif kind == 2:
                lines[at] = lines[at][: self.random.randint(0, len(lines[at]))]
            elif kind == 3:
                lines[at] = " " * self.random.choice((1, 2, 4, 100)) + lines[at]
            elif kind == 4:
                lines[at] = lines[at].replace(self.random.choice(("Tensor", "self", "int", "(", ")", "=", "torch", "0", "1")),
                                              self.random.choice(("", "int", "None", "x", "-1", "99999999999", "(", "[", "\0", "'")))
            else:
                lines.insert(at, self.random.choice(("  weight : Tensor", "    return self", "class A(Module):", "    x = torch.zeros([4])", "@", "\x1b[2J")))
            if not lines:
                break
        return self.with_record(index, "\n".join(lines).encode())

    def nest_code(self):
        index = self.pick(".py")
        lines = self.records[index][1].decode().split("\n")
        depth = self.random.choice((20, 100, 1000, 100_000))
        at = self.random.randrange(len(lines))
        indent = " " * self.random.choice((0, 4))
        lines.insert(at, self.random.choice((
            indent + "x = " + "(" * depth + "1" + ")" * depth,
            indent + "x = " + "not " * depth + "True",
            indent + "x = " + "1 + " * depth + "1",
            indent + "x = [" + "1, " * depth + "1]",
            indent + "x = a" + ".b" * depth,
            indent + "x : " + "List[" * depth + "int" + "]" * depth,
            "\n".join(indent + " " * i + "if True:" for i in range(min(depth, 2000))),
            indent + "if a:\n" + (indent + "elif b:\n" + indent + "  c\n") * min(depth, 5000),
            indent + "# type: " + "(" * depth + "int" + ")" * depth,
            indent + "x = '" + "(" * depth + "'",
        )))
        return self.with_record(index, "\n".join(lines).encode())
