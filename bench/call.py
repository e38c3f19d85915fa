"""call.py — what a call of a small compiled model costs from Python.

    PYTHONPATH=frontend/python python3 bench/call.py

The time of a call is the least mean of many blocks of calls. frax_run is the same call with the pointers in place: the
difference is Python's. Frameworks are timed where they are installed.
"""
import functools
import sys
import timeit

import numpy as np

sys.dont_write_bytecode = True
import frax
from frax._library import lib

SCALE = "model scale(x: f64[T]) {\n param a: f64 = 2\n y = a * x\n return y\n}\n"
BLOCK = 100
BAR = 10  # µs, for a call of a small model with NumPy arrays


def show(name, call, bar=None):
    time = min(timeit.repeat(call, number=BLOCK, repeat=1000)) / BLOCK * 1e6
    judged = "  <= %d µs  %s" % (bar, "ok" if time <= bar else "MISSED") if bar else ""
    print("%-52s %8.2f µs%s" % (name, time, judged))


def bare(exe):
    frame = exe._frames[0]
    return functools.partial(lib.run, exe._handle, frame.inputs, exe._initial_pointers, frame.outputs, frame.by_error)


def numpy_calls():
    model, x, y, a = frax.parse(SCALE), np.ones(32), np.empty(32), np.array(0.3)
    exe = model.compile(x, threads=1)
    show("scale 32: exe(x)", lambda: exe(x), BAR)
    show("  exe(x, out=y)", lambda: exe(x, out=y), BAR)
    show("  exe(x, params={'a': a})", lambda: exe(x, params={"a": a}), BAR)
    show("  exe(x, a=0.3)", lambda: exe(x, a=0.3), BAR)
    show("  model(x)", lambda: model(x))
    show("  frax_run", bare(exe))
    model = frax.load("frontend/examples/classifier.frax")
    x, label = np.ones((1, 32), "f"), np.zeros(1, "i")
    exe = model.compile(x, label, threads=1)
    params = exe.initial()
    show("classifier 1x32: exe(x, label)", lambda: exe(x, label), BAR)
    show("  exe(x, label, params=params), 3 params", lambda: exe(x, label, params=params), BAR)
    show("  frax_run", bare(exe))


def torch_calls():
    import torch
    import frax.torch

    x, a = torch.ones(32, dtype=torch.float64), torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    exe = frax.parse(SCALE).compile((32,), threads=1)
    show("scale 32: exe(tensor), by DLPack", lambda: exe(x))
    f = frax.torch.function(frax.parse(SCALE), threads=1)
    show("  frax.torch: f(x, a=a)", lambda: f(x, a=a))
    show("  the same and its backward pass", lambda: torch.autograd.grad(f(x, a=a).sum(), a))


def jax_calls():
    import jax
    import frax.jax

    jax.config.update("jax_enable_x64", True)
    x, f = jax.numpy.ones(32), jax.jit(frax.jax.function(frax.parse(SCALE), threads=1))
    show("scale 32: frax.jax: jit(f)(x)", lambda: f(x).block_until_ready())


numpy_calls()
for calls in (torch_calls, jax_calls):
    try:
        calls()
    except ImportError as error:
        print(error)
