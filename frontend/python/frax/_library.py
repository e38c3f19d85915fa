"""Finding libfrax, and its interface (include/frax.h) in ctypes.

Structures that may gain fields at their end in a later libfrax have room behind the known ones, so that a call which
fills or reads all of them stays inside. tests/test_abi.py compares the known part with the header.
"""
import ctypes
import glob
import os
from ctypes import POINTER, c_char, c_char_p, c_double, c_int, c_int64, c_size_t, c_uint64, c_void_p

MAX_RANK = 8
INPUT, PARAM, OUTPUT = range(3)
MODES = ("forward", "reverse", "jvp", "hvp", "vjp")
TARGETS = ("cpu", "eager", "reference", "cuda")
OPTIMIZERS = ("sgd", "adam", "adamw", "lbfgs")
DTYPES = ("f64", "f32", "bf16", "f16", "i32", "bool")

_ROOM = ("_room", c_char * 512)


class Error(ctypes.Structure):
    _fields_ = [("status", c_int), ("line", c_int), ("column", c_int), ("message", c_char * 1024), _ROOM]


class Tensor(ctypes.Structure):  # stands in arrays, so it cannot grow
    _fields_ = [("dtype", c_int), ("rank", c_int), ("dims", c_int64 * MAX_RANK), ("data", c_void_p)]


class View(ctypes.Structure):
    _fields_ = [("dtype", c_int), ("rank", c_int), ("dims", c_int64 * MAX_RANK), ("strides", c_int64 * MAX_RANK),
                ("data", c_void_p), ("read_only", c_int)]


class Layout(ctypes.Structure):
    _fields_ = [("role", c_int), ("name", c_char_p), ("rank", c_int), ("strides", c_int64 * MAX_RANK)]


class Size(ctypes.Structure):
    _fields_ = [("name", c_char_p), ("value", c_int64)]


CompileProgress = ctypes.CFUNCTYPE(c_int, c_void_p, c_char_p, c_int64, c_int64)
Log = ctypes.CFUNCTYPE(None, c_void_p, c_char_p)


class Options(ctypes.Structure):
    _fields_ = [
        ("target", c_int), ("mode", c_int), ("of", c_char_p), ("wrt", POINTER(c_char_p)), ("nwrt", c_size_t),
        ("sizes", POINTER(Size)), ("nsizes", c_size_t), ("inputs", POINTER(Tensor)), ("threads", c_int),
        ("no_cache", c_int), ("debug", c_int), ("stream", c_char_p), ("chunk", c_int64), ("progress", CompileProgress),
        ("log", Log), ("context", c_void_p), ("order", c_int),
        ("layouts", POINTER(Layout)), ("nlayouts", c_size_t), ("device", c_int), _ROOM,
    ]


class Memory(ctypes.Structure):
    _fields_ = [
        ("temporary_bytes", c_size_t), ("live_bytes", c_size_t), ("static_bytes", c_size_t), ("moved_bytes", c_size_t),
        ("kernels", c_size_t), ("compile_seconds", c_double), ("from_cache", c_int), _ROOM,
    ]


class Stream(ctypes.Structure):
    _fields_ = [("axis", c_int), ("skip", c_int64), ("length", c_int64)]


Progress = ctypes.CFUNCTYPE(c_int, c_void_p, c_int64, c_int64, c_double)


class FitOptions(ctypes.Structure):
    _fields_ = [
        ("optimizer", c_int), ("lr", c_double), ("momentum", c_double), ("beta1", c_double), ("beta2", c_double),
        ("epsilon", c_double), ("weight_decay", c_double), ("clip_norm", c_double), ("clip_value", c_double),
        ("steps", c_int64), ("batch", c_int64), ("seed", c_uint64), ("tolerance", c_double), ("progress", Progress),
        ("context", c_void_p), _ROOM,
    ]


_error, _role = POINTER(Error), c_int
# Name without frax_, result, arguments. frax_run is called with what _executable.py has prepared: no conversions.
_FUNCTIONS = [
    ("status_string", c_char_p, [c_int]),
    ("dtype_name", c_char_p, [c_int]),
    ("model_load", c_int, [c_char_p, POINTER(c_void_p), _error]),
    ("model_parse", c_int, [c_char_p, c_char_p, c_char_p, POINTER(c_void_p), _error]),
    ("model_destroy", None, [c_void_p]),
    ("model_count", c_size_t, [c_void_p, _role]),
    ("model_value_name", c_char_p, [c_void_p, _role, c_size_t]),
    ("model_value_type", c_char_p, [c_void_p, _role, c_size_t]),
    ("model_name", c_char_p, [c_void_p]),
    ("default_options", Options, []),
    ("compile", c_int, [c_void_p, POINTER(Options), POINTER(c_void_p), _error]),
    ("executable_destroy", None, [c_void_p]),
    ("executable_count", c_size_t, [c_void_p, _role]),
    ("executable_name", c_char_p, [c_void_p, _role, c_size_t]),
    ("executable_type", Tensor, [c_void_p, _role, c_size_t]),
    ("executable_view", View, [c_void_p, _role, c_size_t]),
    ("executable_memory", Memory, [c_void_p]),
    ("executable_stream", Stream, [c_void_p, _role, c_size_t]),
    ("executable_states", c_size_t, [c_void_p]),
    ("run", c_int, None),
    ("initial_param", c_int, [c_void_p, c_size_t, c_uint64, c_void_p, _error]),
    ("default_fit_options", FitOptions, [c_int]),
    ("trainer_create", c_int, [c_void_p, POINTER(Options), POINTER(FitOptions), POINTER(c_void_p), _error]),
    ("trainer_destroy", None, [c_void_p]),
    ("trainer_step", c_int, [c_void_p, c_void_p, POINTER(c_double), _error]),
    ("trainer_run", c_int, [c_void_p, c_void_p, POINTER(c_double), _error]),
    ("trainer_steps", c_int64, [c_void_p]),
    ("trainer_evaluations", c_int64, [c_void_p]),
    ("trainer_converged", c_int, [c_void_p]),
    ("trainer_outcome", c_char_p, [c_void_p]),
    ("trainer_executable", c_void_p, [c_void_p]),
    ("trainer_get_param", c_int, [c_void_p, c_size_t, c_void_p, _error]),
    ("trainer_set_param", c_int, [c_void_p, c_size_t, c_void_p, _error]),
]


def _candidates():
    """Where libfrax may be: FRAX_LIBRARY alone if set; beside this file; in build/ of the checkout; the loader's path."""
    given = os.environ.get("FRAX_LIBRARY")
    if given:
        return [os.path.abspath(given) if os.path.exists(given) else given]
    here = os.path.dirname(os.path.abspath(__file__))
    build = os.path.join(here, "..", "..", "..", "build")
    files = [f for folder in (here, build) for f in sorted(glob.glob(os.path.join(folder, "libfrax.so*")))[:1]]
    return files + ["libfrax.so.0.1", "libfrax.so.0", "libfrax.so"]


def _open():
    # Bound to its own libraries first: other packages bring their own FFTW and BLAS.
    mode = os.RTLD_LOCAL | os.RTLD_NOW | getattr(os, "RTLD_DEEPBIND", 0)
    tried = []
    for path in _candidates():
        try:
            return ctypes.CDLL(path, mode=mode), path
        except OSError as error:
            tried.append("  %s" % (error if path in str(error) else "%s: %s" % (path, error)))
    raise ImportError(
        "frax: no libfrax could be loaded. Build it (./dev build) and set FRAX_LIBRARY=.../build/libfrax.so, or install "
        "it where the system looks for libraries. Tried:\n" + "\n".join(tried))


def _bind():
    library, path = _open()
    functions = {}
    for name, result, arguments in _FUNCTIONS:
        try:
            function = getattr(library, "frax_" + name)
        except AttributeError:
            raise ImportError("frax: %s has no frax_%s; it is older than this package" % (path, name)) from None
        function.restype = result
        if arguments is not None:
            function.argtypes = arguments
        functions[name] = function
    return type("Library", (), {name: staticmethod(f) for name, f in functions.items()}), path


lib, path = _bind()
