"""An exception for each exit code of the program."""


class ConversionError(Exception):
    """A conversion that did not end well. `report` is None where it ended before there was one."""

    exit_code = 1

    def __init__(self, message, report=None, log=""):
        super().__init__(message)
        self.report = report
        self.log = log


class InternalError(ConversionError):
    """Unexpected: please report it."""

    exit_code = 1


class UsageError(ConversionError):
    """Arguments that contradict each other, or have no effect."""

    exit_code = 2


class UnfusedError(ConversionError):
    """strict=True, and an attention site was left unfused. The target was written."""

    exit_code = 3


class InputError(ConversionError):
    """The source cannot be read, or is not a TorchScript checkpoint."""

    exit_code = 4


class ParityError(ConversionError):
    """The converted model does not compute the same. The target was not written; `report.parity` says where."""

    exit_code = 5


class OutputError(ConversionError):
    """The target, or the report, cannot be written."""

    exit_code = 6


class LimitError(ConversionError):
    """The conversion needed more memory, or took longer, than it may."""

    exit_code = 7


BY_EXIT_CODE = {error.exit_code: error for error in ConversionError.__subclasses__()}
