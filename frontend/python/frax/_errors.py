"""One exception for each status of frax.h, all of them frax.Error."""
import builtins

from . import _library
from ._library import lib

# In the order of FRAX_STATUSES: the class, and what else it is in Python.
_STATUSES = [
    ("Error", None),  # FRAX_OK
    ("SyntaxError", builtins.ValueError),
    ("TypeError", builtins.TypeError),
    ("ShapeError", builtins.ValueError),
    ("NameError", builtins.LookupError),
    ("ValueError", builtins.ValueError),
    ("NotDifferentiableError", builtins.ValueError),
    ("FileError", None),
    ("DivergedError", builtins.ArithmeticError),
    ("UsageError", builtins.TypeError),
    ("MemoryError", builtins.MemoryError),
    ("UnsupportedError", builtins.NotImplementedError),
    ("InternalError", builtins.RuntimeError),
    ("CancelledError", None),
]


class Error(Exception):
    """A call of frax that failed. status is the number in frax.h (`meaning` says it in words); line and column are 0
    where no model text is at fault."""

    status = 0

    def __init__(self, message, line=0, column=0):
        super().__init__(message)
        self.line, self.column = line, column

    @property
    def meaning(self):
        return lib.status_string(self.status).decode()

    def __reduce__(self):
        return type(self), (str(self), self.line, self.column)


def _make(status, name, base):
    bases = (Error,) if base is None else (Error, base)
    text = lib.status_string(status).decode() + "."
    return type(name, bases, {"status": status, "__doc__": text[0].upper() + text[1:], "__module__": "frax"})


_classes = [Error] + [_make(status, *entry) for status, entry in enumerate(_STATUSES) if status]
globals().update((c.__name__, c) for c in _classes)
__all__ = [c.__name__ for c in _classes]


def raise_error(status, error):
    """Raises what a call has returned and written to its FraxError."""
    c = _classes[status] if status < len(_classes) else Error
    exception = c(error.message.decode("utf-8", "replace"), error.line, error.column)
    exception.status = status
    raise exception


def call(function, *arguments):
    """A call that fills a FraxError."""
    error = _library.Error()
    status = function(*arguments, error)
    if status:
        raise_error(status, error)
