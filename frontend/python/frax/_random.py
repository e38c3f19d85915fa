"""Keys of random numbers, which a model takes as inputs of type `key`."""
import numpy as np


def key(seed):
    """The key of a seed, 0 … 2^64 − 1: its two words of 32 bits, as `frax run --seed` makes it."""
    seed = int(seed)
    if not 0 <= seed < 2**64:
        raise ValueError("seed is %d, expected 0 … 2^64 - 1" % seed)
    return np.array([seed & 0xffffffff, seed >> 32], np.uint32).view(np.int32)
