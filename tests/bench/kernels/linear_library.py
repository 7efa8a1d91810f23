"""The kernels for linear layers through ctypes: libflashconvert_bench_kernels.so called on torch tensors."""

import ctypes
import os

import torch

ACTIVATIONS = {None: 0, "gelu": 1, "gelu_tanh": 2, "relu": 3, "silu": 4}


class _MatrixView(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("row_stride", ctypes.c_int64), ("column_stride", ctypes.c_int64)]

    @staticmethod
    def of(tensor):
        return _MatrixView(tensor.data_ptr(), *tensor.stride())


class _Problem(ctypes.Structure):
    _fields_ = (
        [(name, ctypes.c_int64) for name in ("rows", "in_features", "out_features")]
        + [("input", _MatrixView), ("weight", _MatrixView), ("bias", ctypes.c_void_p), ("activation", ctypes.c_uint8),
           ("output", ctypes.c_void_p), ("output_row_stride", ctypes.c_int64)]
    )


class LinearLibrary:
    """One build of the kernels."""

    def __init__(self, path):
        self._library = ctypes.CDLL(os.path.abspath(path))
        self._library.flashconvert_bench_linear_kernel.restype = ctypes.c_char_p
        self._library.flashconvert_bench_linear_kernel.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
        self._library.flashconvert_bench_linear_workspace.restype = ctypes.c_size_t
        self._library.flashconvert_bench_linear_workspace.argtypes = [ctypes.c_char_p, ctypes.c_void_p, ctypes.c_int]
        self._library.flashconvert_bench_linear_forward.argtypes = [ctypes.c_char_p] + [ctypes.c_void_p] * 3
        self._library.flashconvert_bench_linear_problem_bytes.restype = ctypes.c_size_t
        assert self._library.flashconvert_bench_linear_problem_bytes() == ctypes.sizeof(_Problem)
        major, minor = torch.cuda.get_device_capability()
        self._compute_capability = 10 * major + minor

    def kernel_names(self, input, weight):
        """All kernels that take the operands; the first is the preferred one."""
        problem, names = self._problem(input, weight, None, None, input.new_empty(0, weight.shape[0])), []
        while (name := self._library.flashconvert_bench_linear_kernel(
                ctypes.byref(problem), self._compute_capability, len(names))) is not None:
            names.append(name.decode())
        return names

    def linear(self, input, weight, bias=None, activation=None, kernel=None, output=None):
        """input [M, K], weight [N, K], any strides; the result is [M, N]."""
        if output is None:
            output = input.new_empty(input.shape[0], weight.shape[0])
        problem = self._problem(input, weight, bias, activation, output)
        kernel = kernel.encode() if kernel else None
        size = self._library.flashconvert_bench_linear_workspace(kernel, ctypes.byref(problem), self._compute_capability)
        workspace = torch.empty(size, dtype=torch.uint8, device=input.device)
        code = self._library.flashconvert_bench_linear_forward(
            kernel, ctypes.byref(problem), workspace.data_ptr(), torch.cuda.current_stream().cuda_stream)
        if code:
            raise RuntimeError(f"CUDA error {code}")
        return output

    @staticmethod
    def _problem(input, weight, bias, activation, output):
        return _Problem(input.shape[0], input.shape[1], weight.shape[0], _MatrixView.of(input), _MatrixView.of(weight),
                        None if bias is None else bias.data_ptr(), ACTIVATIONS[activation], output.data_ptr(), output.stride(0))
