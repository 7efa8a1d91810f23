"""The console command: the program takes this process's place."""

import os
import sys

from ._program import InstallationError, program


def main() -> None:
    try:
        path, environment = program()
    except InstallationError as problem:
        print(f"error: {problem}", file=sys.stderr)
        sys.exit(2)
    os.execve(path, ["flashconvert", *sys.argv[1:]], environment)


if __name__ == "__main__":
    main()
