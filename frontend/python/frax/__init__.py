"""frax: a compiler for fractional models, on NumPy arrays and DLPack tensors.

    import frax, numpy as np

    model = frax.load("nile.frax")                  # or frax.parse(text)
    loss, e = model(x, d=0.3)                       # compiled for x's shape at the first call
    gradient = model.grad(x)["d"]
    fit = model.fit(x, optimizer="lbfgs", steps=50)
    loss, e = model(x, params=fit.params)
    frax.save_params("fitted.safetensors", fit.params)      # as `frax fit --save`; load_params reads it

    exe = model.compile(x, grad=True)               # one call of machine code, a few microseconds
    exe(x, d=0.3, out={"e": e})

A model that draws random numbers takes a key: model(x, k=frax.key(seed=7)).

Arrays are passed without a copy; one that is not C-contiguous or not aligned is copied where it is read and refused
where it is written. Dtypes are those of the model, never converted, but for Python's numbers and lists of them. bf16 is
ml_dtypes.bfloat16 where that package is installed, else its bits as uint16. Faults are frax.Error, by status:
frax.ShapeError, frax.TypeError … with line and column in the model.

frax.torch makes a model a function and a module of PyTorch, frax.jax a function of JAX; import them by name.
"""
from . import _errors
from ._errors import *  # noqa: F401,F403 — the exceptions
from ._executable import Executable, Outputs, Stream
from ._fit import Fit, Trainer
from ._library import path as library_path
from ._model import Model, load, parse
from ._params import load_params, save_params
from ._random import key

__version__ = "0.1.0"
__all__ = ["load", "parse", "key", "Model", "Executable", "Outputs", "Stream", "Trainer", "Fit", "load_params",
           "save_params", "library_path", *_errors.__all__]
