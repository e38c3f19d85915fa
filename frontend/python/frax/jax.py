"""frax.jax: models as functions of JAX.

    import frax.jax

    f = frax.jax.function(model)
    loss, logits = f(x, label, params={"w": w, "b": b})       # also under jax.jit
    slopes = jax.grad(lambda p: f(x, label, params=p).loss)(params)

The function runs through jax.pure_callback on the CPU and has its reverse mode by jax.custom_vjp, again and again: grad,
vjp, jacrev to any order; not jvp or jacfwd, which custom_vjp excludes. vmap makes one call after the other. Dtypes are
those of the model: f64 needs jax.config.update("jax_enable_x64", True). Each set of shapes is compiled when it is traced.
"""
try:
    import jax
except ImportError as error:
    raise ImportError("frax.jax needs JAX, which this Python lacks (pip install jax)") from error

import functools

import jax.numpy as jnp
import numpy as np

from . import _errors
from ._arrays import type_text
from ._executable import arrange, outputs_type
from ._library import DTYPES

__all__ = ["function", "initial"]

JAX_DTYPES = [jnp.float64, jnp.float32, jnp.bfloat16, jnp.float16, jnp.int32, jnp.bool_]
_FLOATING = 4  # the first so many


@functools.lru_cache(maxsize=None)
def _outputs_type(names):
    """Outputs are a tree to JAX."""
    kind = outputs_type(names)
    jax.tree_util.register_pytree_node(kind, lambda outputs: (tuple(outputs), None), lambda _, leaves: kind(leaves))
    return kind


def _code(declared):
    return DTYPES.index(declared.partition("[")[0])


class _Program:
    """A model with its options. `order` 0 is the model: inputs and params give its outputs. Order k is the function
    that the reverse of order k - 1 calls: it takes a cotangent for each floating output of that one as well, and gives
    gradients by what `wrt` names and by the cotangents of order k - 1."""

    def __init__(self, model, wrt, options):
        self.model, self.options = model, options
        self.types = [*model.inputs.items(), *model.params.items()]
        floating = [name for name, declared in self.types if _code(declared) < _FLOATING]
        self.wrt = tuple(floating if wrt is None else [wrt] if isinstance(wrt, str) else wrt)
        unknown = set(self.wrt) - set(floating)
        if unknown:
            raise _errors.NameError("%s has no floating input or param %s" % (model.name, ", ".join(sorted(unknown))))
        self.type = _outputs_type(tuple(model.outputs))
        self.functions = {}

    def function(self, order):
        """As a function of JAX of one array for each input, param and cotangent."""
        if order not in self.functions:
            self.functions[order] = self.make_function(order)
        return self.functions[order]

    def make_function(self, order):
        call = jax.custom_vjp(functools.partial(self.run, order))

        def backward(arrays, cotangents):
            cotangents = [c for c in cotangents if c.dtype != jax.dtypes.float0]
            gradients = iter(self.function(order + 1)(*arrays, *cotangents))
            by_name = {name: next(gradients) for name in self.wrt}
            return (*(by_name.get(name) for name, _ in self.types), *gradients)  # None is zero

        call.defvjp(lambda *arrays: (call(*arrays), arrays), backward)
        return call

    def run(self, order, *arrays):
        n = len(self.model.inputs)
        arrays = [jnp.asarray(array) for array in arrays]  # under jax.grad a Python number may come as one
        derivative = {"mode": "vjp", "wrt": self.wrt, "order": order} if order else {}
        exe = self.model._compiled(tuple(tuple(a.shape) for a in arrays[:n]), **derivative, **self.options)
        inputs, params, outputs = exe.slots
        for slot, array in zip(inputs + params, arrays):
            slot.check(DTYPES[slot.code], tuple(array.shape))

        def run(*arrays):
            results = [slot.empty() for slot in outputs]
            read = [slot.pointer(np.asarray(array)) for slot, array in zip(inputs + params, arrays)]
            addresses = [address for address, _ in read]
            exe.run_at(addresses[:n], addresses[n:], [slot.address(r) for slot, r in zip(outputs, results)])
            return tuple(results)

        types = tuple(jax.ShapeDtypeStruct(slot.shape, JAX_DTYPES[slot.code]) for slot in outputs)
        return jax.pure_callback(run, types, *arrays, vmap_method="sequential")


def _arrays(types, values):
    """The values as arrays of the declared dtypes; numbers are converted."""
    arrays = []
    for (name, declared), value in zip(types, values):
        dtype = JAX_DTYPES[_code(declared)]
        if dtype == jnp.float64 and not jax.config.jax_enable_x64:
            raise _errors.TypeError('%s is %s in the model: jax.config.update("jax_enable_x64", True) comes first'
                                    % (name, declared))
        if value is None:
            raise _errors.UsageError("%s: %s is missing" % (name, declared))
        if not hasattr(value, "dtype"):
            value = jnp.asarray(value, dtype)
        if value.dtype != dtype:
            names = {np.dtype(d): DTYPES[i] for i, d in enumerate(JAX_DTYPES)}
            got = type_text(names.get(np.dtype(value.dtype), value.dtype), value.shape)
            raise _errors.TypeError("%s: got %s, expected %s" % (name, got, declared))
        arrays.append(value)
    return arrays


def function(model, wrt=None, **options):
    """The model as a function f(*inputs, params=None, **named), with inputs in order or by name and params by name or in
    a dict; a param that is not given has its initial value.

    wrt: names of the inputs and params to differentiate by, by default all floating ones; the others are constants, as
    under jax.lax.stop_gradient. options: threads, target, cache as Model.compile."""
    program = _Program(model, wrt, options)

    def call(*inputs, params=None, **named):
        arrays = _arrays(model.inputs.items(), arrange(model.name, model._slots, inputs, named))
        named = dict(params or {}, **named)
        unknown = named.keys() - model.params.keys()
        if unknown:
            raise _errors.NameError("%s has no input or param %s; there are %s" % (
                model.name, ", ".join(sorted(unknown)), ", ".join(name for name, _ in program.types)))
        if len(named) < len(model.params):
            named = dict(initial(model, *arrays, **options), **named)
        arrays += _arrays(model.params.items(), [named[name] for name in model.params])
        results = program.function(0)(*arrays)
        return results[0] if len(results) == 1 else program.type(results)

    call.__name__ = call.__qualname__ = model.name
    call.__doc__ = repr(model)
    return call


def initial(model, *examples, sizes=None, seed=0, **options):
    """The initial values of the params by name, for inputs of the shapes of the examples; as Model.compile."""
    shapes = tuple(e if e is None or isinstance(e, tuple) else tuple(e.shape) for e in examples)
    exe = model.compile(*shapes, sizes=sizes, **options) if sizes else model._compiled(shapes, **options)
    return {name: jnp.asarray(value) for name, value in exe.initial(seed).items()}
