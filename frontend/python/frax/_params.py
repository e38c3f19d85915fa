"""Params in safetensors files, which `frax --load` and `--save` read and write as well."""
import json
import math

import numpy as np

from . import _errors
from ._arrays import NUMPY_DTYPES

_NAMES = ["F64", "F32", "BF16", "F16", "I32", "BOOL"]  # in the order of NUMPY_DTYPES
_LIMIT = 100 << 20  # of the header, as in the format's own reader


def save_params(path, params):
    """Writes arrays by name, a fit's params say."""
    header, chunks, at = {}, [], 0
    for name, value in params.items():
        array = np.asarray(value)
        if array.dtype not in NUMPY_DTYPES:
            raise _errors.TypeError("%s: %s is not a dtype of frax" % (name, array.dtype))
        chunks.append(array.tobytes())
        header[name] = {"dtype": _NAMES[NUMPY_DTYPES.index(array.dtype)], "shape": list(array.shape),
                        "data_offsets": [at, at + array.nbytes]}
        at += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.writelines(chunks)


def _array(entry, data):
    start, end = entry["data_offsets"]
    dtype, shape = NUMPY_DTYPES[_NAMES.index(entry["dtype"])], tuple(entry["shape"])
    if not 0 <= start <= end <= len(data) or end - start != math.prod(shape) * dtype.itemsize:
        raise ValueError("an array does not fit its place in the file")
    return np.frombuffer(data[start:end], dtype).reshape(shape).copy()


def load_params(path):
    """The arrays in a file, by name."""
    with open(path, "rb") as file:
        data = file.read()
    try:
        length = int.from_bytes(data[:8], "little")
        if not 2 <= length <= min(_LIMIT, len(data) - 8):
            raise ValueError("no header")
        header = json.loads(data[8 : 8 + length])
        return {name: _array(entry, data[8 + length :]) for name, entry in header.items() if name != "__metadata__"}
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise _errors.FileError("%s is not a safetensors file with dtypes of frax: %s" % (path, error)) from None
