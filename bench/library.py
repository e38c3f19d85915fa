"""library.py — libfrax in a Python process, as far as peers.py needs it: compile a model for given sizes, run it.

The structures are those of include/frax.h. Arrays are NumPy's; an executable keeps its inputs, params and outputs,
and run() is one call of frax_run on them.
"""
import ctypes
import os

import numpy as np

INPUT, PARAM, OUTPUT = range(3)
FORWARD, REVERSE = range(2)
DTYPES = {0: np.float64, 1: np.float32}


class Error(ctypes.Structure):
    _fields_ = [("status", ctypes.c_int), ("line", ctypes.c_int), ("column", ctypes.c_int),
                ("message", ctypes.c_char * 1024)]


class Size(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("value", ctypes.c_int64)]


class Tensor(ctypes.Structure):
    _fields_ = [("dtype", ctypes.c_int), ("rank", ctypes.c_int), ("dims", ctypes.c_int64 * 8), ("data", ctypes.c_void_p)]


class Options(ctypes.Structure):
    _fields_ = [("target", ctypes.c_int), ("mode", ctypes.c_int), ("of", ctypes.c_char_p),
                ("wrt", ctypes.POINTER(ctypes.c_char_p)), ("nwrt", ctypes.c_size_t), ("sizes", ctypes.POINTER(Size)),
                ("nsizes", ctypes.c_size_t), ("inputs", ctypes.c_void_p), ("threads", ctypes.c_int),
                ("no_cache", ctypes.c_int), ("debug", ctypes.c_int), ("stream", ctypes.c_char_p),
                ("chunk", ctypes.c_int64), ("progress", ctypes.c_void_p), ("log", ctypes.c_void_p),
                ("context", ctypes.c_void_p), ("order", ctypes.c_int), ("room", ctypes.c_char * 256)]  # for later fields


class Library:
    def __init__(self, path):
        # Bound to its own libraries first: other packages bring their own FFTW and BLAS.
        self.c = ctypes.CDLL(path, mode=os.RTLD_LOCAL | os.RTLD_NOW | getattr(os, "RTLD_DEEPBIND", 0))
        self.c.frax_default_options.restype = Options
        self.c.frax_executable_type.restype = Tensor
        self.c.frax_executable_name.restype = ctypes.c_char_p
        self.c.frax_executable_count.restype = ctypes.c_size_t
        for name in ("type", "name"):
            getattr(self.c, "frax_executable_" + name).argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]
        self.c.frax_executable_count.argtypes = [ctypes.c_void_p, ctypes.c_int]
        self.c.frax_model_destroy.argtypes = [ctypes.c_void_p]

    def compile(self, text, x, wrt=(), threads=1, **sizes):
        """An executable of the model, whose only input is x; `wrt` names what the gradient is for."""
        error, model, exe = Error(), ctypes.c_void_p(), ctypes.c_void_p()
        options = self.c.frax_default_options()
        options.mode, options.threads, options.no_cache = REVERSE if wrt else FORWARD, threads, 1
        options.wrt, options.nwrt = (ctypes.c_char_p * len(wrt))(*[w.encode() for w in wrt]), len(wrt)
        options.sizes = (Size * len(sizes))(*[Size(name.encode(), value) for name, value in sizes.items()])
        options.nsizes = len(sizes)
        self._check(self.c.frax_model_parse(text.encode(), b"peers", None, ctypes.byref(model), ctypes.byref(error)), error)
        status = self.c.frax_compile(model, ctypes.byref(options), ctypes.byref(exe), ctypes.byref(error))
        self.c.frax_model_destroy(model)
        self._check(status, error)
        return Executable(self, exe, x)

    @staticmethod
    def _check(status, error):
        if status:
            raise RuntimeError(error.message.decode())


class Executable:
    def __init__(self, library, handle, x):
        self.library, self.handle, self.error = library, handle, Error()
        self.names, arrays = [], []
        for role in (INPUT, PARAM, OUTPUT):
            count = library.c.frax_executable_count(handle, role)
            self.names.append([library.c.frax_executable_name(handle, role, i).decode() for i in range(count)])
            arrays.append([self._empty(role, i) for i in range(count)])
        arrays[INPUT] = [np.ascontiguousarray(x, arrays[INPUT][0].dtype)]
        self.arrays, self.pointers = arrays, [self._pointers(a) for a in arrays]
        for i, array in enumerate(arrays[PARAM]):
            status = library.c.frax_initial_param(handle, ctypes.c_size_t(i), ctypes.c_uint64(0),
                                                  array.ctypes.data_as(ctypes.c_void_p), ctypes.byref(self.error))
            library._check(status, self.error)
        self.call = (handle, *self.pointers, ctypes.byref(self.error))

    def _empty(self, role, i):
        t = self.library.c.frax_executable_type(self.handle, role, i)
        return np.empty(tuple(t.dims[: t.rank]), DTYPES[t.dtype])

    @staticmethod
    def _pointers(arrays):
        return (ctypes.c_void_p * max(1, len(arrays)))(*[a.ctypes.data for a in arrays])

    def run(self):
        if self.library.c.frax_run(*self.call):
            raise RuntimeError(self.error.message.decode())

    def outputs(self):
        return dict(zip(self.names[OUTPUT], self.arrays[OUTPUT]))
