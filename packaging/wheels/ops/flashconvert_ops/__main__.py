"""python -m flashconvert_ops: prints the path of the operator library."""

from . import library_path

print(library_path())
