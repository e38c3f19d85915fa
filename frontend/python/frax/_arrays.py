"""Arrays for frax: their types, their pointers.

NumPy arrays and all tensors with __dlpack__ in the host's memory are passed as they are. An array that is not
C-contiguous (or has not the strides that were compiled in) or not aligned is copied where it is read, and refused where
it is written. Dtypes and shapes must be those
of the signature; only Python's numbers, NumPy's scalars and lists of them are converted.
"""
import ctypes
import math

import numpy as np

from . import _errors
from ._library import DTYPES

try:
    from ml_dtypes import bfloat16
except ImportError:  # the bits, then
    bfloat16 = np.uint16

NUMPY_DTYPES = [np.dtype(d) for d in (np.float64, np.float32, bfloat16, np.float16, np.int32, np.bool_)]
# The kinds of NumPy's dtypes whose numbers are converted to each dtype.
_NUMBERS = ["biuf", "biuf", "" if bfloat16 is np.uint16 else "biuf", "biuf", "biu", "b"]
# The code and the bits of DLDataType.
_DLPACK_DTYPES = {(2, 64): "f64", (2, 32): "f32", (4, 16): "bf16", (2, 16): "f16", (0, 32): "i32", (6, 8): "bool"}
_HOST = (1, 3, 11)  # kDLCPU, kDLCUDAHost, kDLROCMHost
_NO_DTYPE = object()
_MOST = int(np.finfo(np.float64).max)

_from_buffer, _addressof = ctypes.c_char.from_buffer, ctypes.addressof


def type_text(dtype, shape):
    return "%s[%s]" % (dtype, ",".join(map(str, shape)))


def dtype_text(dtype):
    """By frax's name where it has one."""
    return DTYPES[NUMPY_DTYPES.index(dtype)] if dtype in NUMPY_DTYPES and dtype != np.uint16 else str(dtype)


class Slot:
    """A place in a signature: a name, a type, and the strides in bytes if they are not those of a dense array."""

    __slots__ = ("name", "code", "dtype", "shape", "text", "nbytes", "fast", "strides", "low", "high")

    def __init__(self, name, code, shape, text=None, strides=None):
        self.name, self.code, self.dtype, self.shape = name, code, NUMPY_DTYPES[code], tuple(shape)
        self.text = text or type_text(DTYPES[code], self.shape)
        self.nbytes = math.prod(self.shape) * self.dtype.itemsize
        # The dtype for which the buffer protocol gives the pointer (it knows nothing of bfloat16); NumPy's own are
        # mostly this very object.
        self.fast = self.dtype if self.nbytes and DTYPES[code] != "bf16" else _NO_DTYPE
        self.strides, self.low, self.high = None, 0, self.nbytes  # the bytes around the first element
        if strides is not None and self.nbytes and not self._are(strides, self._dense()):
            self.strides, self.fast = tuple(strides), _NO_DTYPE
            reach = [(n - 1) * s for n, s in zip(self.shape, strides)]
            self.low, self.high = sum(min(r, 0) for r in reach), sum(max(r, 0) for r in reach) + self.dtype.itemsize

    def _dense(self):
        return tuple(math.prod(self.shape[i + 1 :]) * self.dtype.itemsize for i in range(len(self.shape)))

    def _are(self, strides, others):
        return all(a == b for n, a, b in zip(self.shape, strides, others) if n > 1)

    def _lies(self, value):
        """Does this array lie as it was compiled?"""
        flags = value.flags
        return flags.aligned and (self._are(value.strides, self.strides) if self.strides else flags.c_contiguous)

    def __repr__(self):
        return "%s: %s" % (self.name, self.text)

    def address(self, array):
        """Of an array of this type. The buffer protocol is quick, but gives no pointer to what cannot be written."""
        if self.fast is self.dtype and array.flags.writeable:
            return _addressof(_from_buffer(array))
        return array.ctypes.data

    def empty(self):
        if not self.strides:
            return np.empty(self.shape, self.dtype)
        room = np.empty(self.high - self.low, np.uint8)
        return np.ndarray(self.shape, self.dtype, room, -self.low, self.strides)

    def _copy(self, value):
        if not self.strides:
            return np.array(value, order="C")
        if self._overlaps():
            raise _errors.ValueError("%s: got strides %s, but %s were compiled in, which no copy can have"
                                     % (self.name, value.strides, self.strides))
        copy = self.empty()
        copy[...] = value
        return copy

    def _overlaps(self):
        """May elements lie over each other? As in ir/strides.c."""
        reach = 0
        for step, n in sorted((abs(s), n) for n, s in zip(self.shape, self.strides) if n > 1):
            if step <= reach or step == 0:
                return True
            reach += step * (n - 1)
        return False

    def is_apart(self, at, other, other_at):
        """Do no elements of this place at this address and of another meet? As in frontend/views.c."""
        if at + self.high <= other_at + other.low or other_at + other.high <= at + self.low:
            return True
        if not self.nbytes or not other.nbytes:
            return True
        return any(self._is_apart_modulo(at, other, other_at, abs(step)) for step in self.strides or () if step)

    def _is_apart_modulo(self, at, other, other_at, period):
        x, n = self._residue(at, period)
        y, m = other._residue(other_at, period)
        return n <= period and m <= period and n <= (y - x) % period <= period - m

    def _residue(self, at, period):
        """Where the elements lie modulo the period: an interval."""
        reach = [(n - 1) * s for n, s in zip(self.shape, self.strides or self._dense()) if s % period]
        return at + sum(min(r, 0) for r in reach), sum(map(abs, reach)) + self.dtype.itemsize

    def check(self, dtype, shape):
        if dtype != DTYPES[self.code]:
            raise _errors.TypeError("%s: got %s, expected %s" % (self.name, type_text(dtype, shape), self.text))
        if shape != self.shape:
            raise _errors.ShapeError("%s: got %s, expected %s" % (self.name, type_text(dtype, shape), self.text))

    def _numbers(self, value):
        if type(value) is float and self.shape == () and self.code == 0:
            return np.array(value)
        array = np.asarray(value)
        kinds = _NUMBERS[self.code]
        if array.dtype.kind not in kinds:
            if "i" in kinds and array.dtype.kind in "fO":  # what NumPy makes of whole numbers beyond 64 bits
                numbers = (int, float, np.integer, np.floating) if "f" in kinds else (int, np.integer)
                objects = np.asarray(value, object)
                if objects.size and all(isinstance(number, numbers) for number in objects.flat):
                    return self._held(objects)
            if not kinds:
                raise _errors.TypeError("%s: numbers become bf16 only where the package ml_dtypes is installed; "
                                        "without it, give the bits as an array of uint16" % self.name)
            self.check(dtype_text(array.dtype), array.shape)
        if np.can_cast(array.dtype, self.dtype):
            return array.astype(self.dtype, copy=False)
        return self._held(array)

    def _held(self, array):
        """Numbers in this dtype; one that it cannot hold does not become another one, or infinite."""
        if self.dtype.kind == "i":
            limits = np.iinfo(self.dtype)
            lost = (array < limits.min) | (array > limits.max)
        else:
            if array.dtype.kind == "O":  # float() refuses whole numbers beyond f64
                lost = np.array([isinstance(n, int) and abs(n) > _MOST for n in array.flat]).reshape(array.shape)
                self._refuse(array, lost)
            with np.errstate(over="ignore"):
                is_finite = np.isfinite(array.astype(np.longdouble))
                array = array.astype(np.float64)
                lost = is_finite & ~np.isfinite(array.astype(self.dtype).astype(np.float64))
        self._refuse(array, lost)
        return array.astype(self.dtype)

    def _refuse(self, array, lost):
        if np.any(lost):
            raise _errors.ValueError("%s: %s is beyond the range of %s"
                                     % (self.name, array[lost].flat[0], DTYPES[self.code]))

    def pointer(self, value, write=False):
        """The address of the value's elements, and an object that keeps them there."""
        if not isinstance(value, np.ndarray):
            if hasattr(value, "__dlpack__") and not isinstance(value, np.generic):
                return self._tensor(value, write)
            if write:
                raise _errors.TypeError("%s: cannot write to %s; expected an array" % (self.name, type(value).__name__))
            if value is None:
                raise _errors.UsageError("%r is missing" % self)
            value = self._numbers(value)
        if isinstance(value, np.ma.MaskedArray) and np.ma.is_masked(value):
            raise _errors.ValueError("%s: elements are masked, and every element is read" % self.name)
        self.check(DTYPES[self.code] if value.dtype == self.dtype else dtype_text(value.dtype), value.shape)
        lies = self._lies(value)
        if write and not (value.flags.writeable and lies):
            raise _errors.UsageError("%s: the array to write to must be writeable, %s and aligned" % (
                self.name, "with strides %s" % (self.strides,) if self.strides else "C-contiguous"))
        if not lies:
            value = self._copy(value)
        return self.address(value), value

    def _tensor(self, value, write):
        tensor = Dlpack(value, self.name)
        self.check(tensor.dtype, tensor.shape)
        lies = tensor.contiguous and tensor.pointer % self.dtype.alignment == 0
        if self.strides:
            steps = tensor.strides or [s // self.dtype.itemsize for s in self._dense()]
            lies = (self._are([s * self.dtype.itemsize for s in steps], self.strides)
                    and tensor.pointer % self.dtype.alignment == 0)
        if write and (tensor.readonly or not lies):
            raise _errors.UsageError("%s: the tensor to write to must be writeable, %s and aligned" % (
                self.name, "with strides %s" % (self.strides,) if self.strides else "C-contiguous"))
        if lies:
            return tensor.pointer, tensor
        return self.pointer(tensor.copy(self.dtype))


def shape_of(value, slot):
    """The shape of an argument for a slot of unknown shape, and the argument itself, as an array if it was numbers."""
    if not isinstance(value, np.ndarray) and (isinstance(value, np.generic) or not hasattr(value, "__dlpack__")):
        value = slot._numbers(value)
    return tuple(value.shape if hasattr(value, "shape") else Dlpack(value, slot.name).shape), value


def pointer_array(n):
    return (ctypes.c_void_p * max(n, 1))()


# ---- DLPack ----


class _Tensor(ctypes.Structure):  # DLTensor
    _fields_ = [
        ("data", ctypes.c_void_p), ("device_type", ctypes.c_int32), ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32), ("code", ctypes.c_uint8), ("bits", ctypes.c_uint8), ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)), ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


class _Versioned(ctypes.Structure):  # DLManagedTensorVersioned
    _fields_ = [
        ("major", ctypes.c_uint32), ("minor", ctypes.c_uint32), ("context", ctypes.c_void_p),
        ("deleter", ctypes.c_void_p), ("flags", ctypes.c_uint64), ("tensor", _Tensor),
    ]


def _capsule_function(name, result, *arguments):
    function = getattr(ctypes.pythonapi, name)
    function.restype, function.argtypes = result, arguments
    return function


_is_valid = _capsule_function("PyCapsule_IsValid", ctypes.c_int, ctypes.py_object, ctypes.c_char_p)
_get_pointer = _capsule_function("PyCapsule_GetPointer", ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)


class Dlpack:
    """A look at what __dlpack__ exports. The capsule is not consumed: it frees the export when it goes."""

    def __init__(self, value, name):
        device = value.__dlpack_device__()
        if device[0] not in _HOST:
            raise _errors.UnsupportedError(
                "%s: the tensor is on a device (DLPack type %d); frax runs on the CPU: copy it there first"
                % (name, device[0]))
        try:
            self.capsule = value.__dlpack__(max_version=(1, 0))
        except TypeError:  # made for DLPack before 1.0
            self.capsule = value.__dlpack__()
        self.readonly = False
        if _is_valid(self.capsule, b"dltensor_versioned"):
            managed = _Versioned.from_address(_get_pointer(self.capsule, b"dltensor_versioned"))
            if managed.major != 1:
                raise _errors.UnsupportedError("%s: DLPack version %d is not known here" % (name, managed.major))
            self.readonly, t = bool(managed.flags & 1), managed.tensor
        else:
            t = _Tensor.from_address(_get_pointer(self.capsule, b"dltensor"))
        self.shape = tuple(t.shape[: t.ndim])
        self.strides = tuple(t.strides[: t.ndim]) if t.strides else None
        self.pointer = (t.data or 0) + t.byte_offset
        known = _DLPACK_DTYPES.get((t.code, t.bits)) if t.lanes == 1 else None
        self.dtype = known or "DLPack dtype (%d, %d, %d)" % (t.code, t.bits, t.lanes)

    @property
    def contiguous(self):
        if not math.prod(self.shape):
            return True
        step = 1
        for n, stride in zip(reversed(self.shape), reversed(self.strides or ())):
            if n != 1 and stride != step:
                return False
            step *= n
        return True

    def copy(self, dtype):
        """Of a tensor with strides, as a dense array."""
        if self.strides is None:
            self.strides = tuple(math.prod(self.shape[i + 1 :]) for i in range(len(self.shape)))
        last = sum((n - 1) * abs(s) for n, s in zip(self.shape, self.strides)) + 1
        low = sum((n - 1) * s for n, s in zip(self.shape, self.strides) if s < 0)
        data = (ctypes.c_char * (last * dtype.itemsize)).from_address(self.pointer + low * dtype.itemsize)
        flat = np.frombuffer(data, np.dtype((np.void, dtype.itemsize)))[-low:]
        strides = [s * dtype.itemsize for s in self.strides]
        return np.array(np.lib.stride_tricks.as_strided(flat, self.shape, strides), order="C").view(dtype)
