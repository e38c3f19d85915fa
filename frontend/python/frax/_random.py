"""Keys of random numbers, which a model takes as inputs of type `key`."""
import operator

import numpy as np

from . import _errors


def checked_seed(seed):
    """A whole number of 64 bits; ctypes would cut a larger one."""
    seed = operator.index(seed)
    if not 0 <= seed < 2**64:
        raise _errors.ValueError("seed is %d, expected 0 … 2^64 - 1" % seed)
    return seed


def key(seed):
    """The key of a seed, 0 … 2^64 − 1: its two words of 32 bits, as `frax run --seed` makes it."""
    seed = checked_seed(seed)
    return np.array([seed & 0xffffffff, seed >> 32], np.uint32).view(np.int32)
