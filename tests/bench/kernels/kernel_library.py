"""The kernels through ctypes: libflashconvert_bench_kernels.so called on torch tensors."""

import ctypes
import itertools
import math
import os

import torch

_DTYPES = {torch.float16: 0, torch.bfloat16: 1, torch.float32: 2}
_NO_BIAS, _SAME_AS_QUERY, _FLOAT32, _BOOLEAN = range(4)


class _TensorView(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p)] + [
        (name, ctypes.c_int64) for name in ("batch_stride", "head_stride", "row_stride")
    ]


class _BiasView(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("kind", ctypes.c_uint8)] + [
        (name, ctypes.c_int64)
        for name in ("batch_inner", "outer_batch_stride", "inner_batch_stride", "head_stride", "row_stride",
                     "column_stride")
    ]


class _Problem(ctypes.Structure):
    _fields_ = (
        [("dtype", ctypes.c_uint8)]
        + [(name, ctypes.c_int64)
           for name in ("batch", "heads", "key_heads", "query_length", "key_length", "head_dim", "value_dim")]
        + [(name, _TensorView) for name in ("query", "key", "value")]
        + [("bias", _BiasView), ("output", ctypes.c_void_p)]
        + [(name, ctypes.c_int64) for name in ("output_batch_stride", "output_head_stride", "output_row_stride")]
        + [("scale", ctypes.c_float), ("softcap", ctypes.c_float)]
        + [(name, ctypes.c_int64) for name in ("window_left", "window_right", "diagonal")]
        + [("zero_masked_rows", ctypes.c_bool)]
    )


class KernelLibrary:
    """One build of the kernels; with `kernel`, each call takes the first kernel whose name holds that text."""

    def __init__(self, path, kernel=""):
        self._library = ctypes.CDLL(os.path.abspath(path))
        self._kernel = kernel
        self._library.flashconvert_bench_kernel.restype = ctypes.c_char_p
        self._library.flashconvert_bench_workspace.restype = ctypes.c_size_t
        self._library.flashconvert_bench_problem_bytes.restype = ctypes.c_size_t
        pointers = [ctypes.c_void_p] * 3  # problem, workspace, stream
        self._library.flashconvert_bench_forward.argtypes = pointers
        if kernel:  # builds to compare with may be older than this
            self._library.flashconvert_bench_candidate.restype = ctypes.c_char_p
            self._library.flashconvert_bench_workspace_with.restype = ctypes.c_size_t
            self._library.flashconvert_bench_forward_with.argtypes = [ctypes.c_char_p, *pointers]
        assert self._library.flashconvert_bench_problem_bytes() == ctypes.sizeof(_Problem)
        major, minor = torch.cuda.get_device_capability()
        self._compute_capability = 10 * major + minor

    @staticmethod
    def options(shape):
        """The arguments of `attention` besides the tensors that compute an attention_shapes.Shape."""
        return {"window_left": shape.window_left, "window_right": 0 if shape.causal else -1,
                "diagonal": shape.diagonal, "softcap": shape.softcap}

    def kernel_name(self, query, key, value, **options):
        """The kernel that `attention` runs; None where there is none."""
        problem, _ = self._problem(query, key, value, **options)
        name = self._name(problem)
        return name.decode() if name else None

    def attention(self, query, key, value, **options):
        """query, key, value: [B, H, L, D]; the result is [B, H, Lq, Dv], in memory [B, Lq, H, Dv]. Options: bias, scale,
        and softcap, window_left, window_right and diagonal as AttentionProblem has them."""
        return self.run(query, key, value, **options)[0]

    def run(self, query, key, value, **options):
        """As `attention`, but (result, name of the kernel, workspace or None)."""
        problem, output = self._problem(query, key, value, **options)
        name = self._name(problem)
        if self._kernel and name is None:
            raise RuntimeError(f"no {self._kernel} kernel takes this")
        size = self._workspace_bytes(problem, name)
        workspace = torch.empty(size, dtype=torch.uint8, device=query.device) if size else None
        arguments = [ctypes.byref(problem), workspace.data_ptr() if size else None,
                     torch.cuda.current_stream().cuda_stream]
        code = (self._library.flashconvert_bench_forward_with(name, *arguments) if self._kernel
                else self._library.flashconvert_bench_forward(*arguments))
        if code != 0:
            raise RuntimeError(f"attention_forward returned {code}")
        return output, name.decode() if name else None, workspace

    def _workspace_bytes(self, problem, name):
        arguments = [ctypes.byref(problem), self._compute_capability]
        if self._kernel:
            return self._library.flashconvert_bench_workspace_with(name, *arguments)
        return self._library.flashconvert_bench_workspace(*arguments)

    def _name(self, problem):
        if not self._kernel:
            return self._library.flashconvert_bench_kernel(ctypes.byref(problem), self._compute_capability)
        for index in itertools.count():
            name = self._library.flashconvert_bench_candidate(
                ctypes.byref(problem), self._compute_capability, ctypes.c_size_t(index))
            if name is None or self._kernel.encode() in name:
                return name

    @staticmethod
    def _problem(query, key, value, bias=None, scale=None, softcap=0, window_left=-1, window_right=-1, diagonal=0):
        batch, heads, query_length, head_dim = query.shape
        value_dim = value.shape[3]
        output = torch.empty(batch, query_length, heads, value_dim, dtype=query.dtype, device=query.device)
        output = output.transpose(1, 2)

        def view(tensor):
            return _TensorView(tensor.data_ptr(), *tensor.stride()[:3])

        problem = _Problem(
            dtype=_DTYPES[query.dtype], batch=batch, heads=heads, key_heads=key.shape[1], query_length=query_length,
            key_length=key.shape[2], head_dim=head_dim, value_dim=value_dim, query=view(query), key=view(key),
            value=view(value), output=output.data_ptr(), output_batch_stride=output.stride(0),
            output_head_stride=output.stride(1), output_row_stride=output.stride(2),
            scale=1 / math.sqrt(head_dim) if scale is None else scale, softcap=softcap,
            window_left=window_left, window_right=window_right, diagonal=diagonal)
        problem.bias = _BiasView(None, _NO_BIAS, 1, 0, 0, 0, 0, 0)
        if bias is not None:
            bias = bias.expand(batch, heads, query_length, key.shape[2])
            kind = (_BOOLEAN if bias.dtype == torch.bool
                    else _SAME_AS_QUERY if bias.dtype == query.dtype else _FLOAT32)
            strides = bias.stride()
            problem.bias = _BiasView(bias.data_ptr(), kind, 1, strides[0], 0, strides[1], strides[2], strides[3])
        return problem, output
