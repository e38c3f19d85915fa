"""frax.torch: models as functions and modules of PyTorch.

    import frax.torch

    f = frax.torch.function(model)                       # a torch.autograd.Function behind a call
    loss, logits = f(x, label, params={"w": w})
    loss.backward()

    net = frax.torch.Module(model, x, label)             # params are torch parameters, named as in the model
    optimizer = torch.optim.Adam(net.parameters())
    net(x, label).loss.backward()

Tensors on the CPU are passed without a copy (one that is not contiguous is copied). Dtypes are those of the model. The
gradients can be differentiated again, to any order (create_graph=True); torch.func.grad, vjp and vmap work as well, the
last by one call after the other. Each set of shapes is compiled at its first call. A backward pass computes what it needs
of the model again; nothing but the inputs and params is kept for it.
"""
try:
    import torch
except ImportError as error:
    raise ImportError("frax.torch needs PyTorch, which this Python lacks (pip install torch)") from error

import functools

import torch.utils._pytree

from . import _errors
from ._arrays import type_text
from ._executable import arrange, outputs_type
from ._library import DTYPES

__all__ = ["function", "Module"]

TORCH_DTYPES = [torch.float64, torch.float32, torch.bfloat16, torch.float16, torch.int32, torch.bool]


def _text(tensor):
    dtype = DTYPES[TORCH_DTYPES.index(tensor.dtype)] if tensor.dtype in TORCH_DTYPES else str(tensor.dtype)
    return type_text(dtype, tensor.shape)


def _check_tensor(name, tensor, expected, code):
    if tensor.device.type != "cpu":
        raise _errors.UnsupportedError("%s: the tensor is on %s; frax runs on the CPU: pass %s.cpu()"
                                       % (name, tensor.device, name))
    if tensor.layout != torch.strided:
        raise _errors.UnsupportedError("%s: the tensor is %s; frax takes dense ones" % (name, tensor.layout))
    if tensor.dtype != TORCH_DTYPES[code]:
        raise _errors.TypeError("%s: got %s, expected %s" % (name, _text(tensor), expected))


@functools.lru_cache(maxsize=None)
def _outputs_type(names):
    """Outputs are a tree to torch.func."""
    kind = outputs_type(names)
    register = getattr(torch.utils._pytree, "register_pytree_node", None)  # from PyTorch 2.2 on
    if register:
        register(kind, lambda outputs: (list(outputs), None), lambda leaves, _: kind(leaves))
    return kind


class _Program:
    """A model with its options. `order` 0 is the model: inputs and params give its outputs. Order k is the function
    that its k-fold backward pass calls: it takes a cotangent for each floating output of order k - 1 as well, and gives
    gradients by what `wrt` names and by the cotangents of order k - 1."""

    def __init__(self, model, options):
        self.model = model
        self.options = dict({"threads": torch.get_num_threads()}, **options)
        self.names = [*model.inputs, *model.params]
        self.ninputs = len(model.inputs)
        self.type = _outputs_type(tuple(model.outputs))

    def __reduce__(self):
        return _Program, (self.model, self.options)

    def executable(self, order, wrt, tensors):
        shapes = tuple(tuple(t.shape) for t in tensors[: self.ninputs])
        derivative = {"mode": "vjp", "wrt": wrt, "order": order} if order else {}
        return self.model._compiled(shapes, **derivative, **self.options)

    def run(self, order, wrt, tensors):
        exe = self.executable(order, wrt, tensors)
        inputs, params, outputs = exe.slots
        dense = []
        for slot, tensor in zip(inputs + params, tensors):
            if tensor.shape != slot.shape:
                raise _errors.ShapeError("%s: got %s, expected %s"
                                         % (slot.name, _text(tensor), slot.text))
            dense.append(tensor.contiguous().resolve_neg())
        results = [torch.empty(slot.shape, dtype=TORCH_DTYPES[slot.code]) for slot in outputs]
        addresses = [tensor.data_ptr() for tensor in dense]
        exe.run_at(addresses[: self.ninputs], addresses[self.ninputs :], [result.data_ptr() for result in results])
        return tuple(results)


def _setup_context(ctx, inputs, outputs):
    ctx.program, ctx.order, ctx.wrt, *tensors = inputs
    ctx.save_for_backward(*tensors)
    ctx.floating = [output.is_floating_point() for output in outputs]
    if not all(ctx.floating):
        ctx.mark_non_differentiable(*[output for output in outputs if not output.is_floating_point()])


def _backward(ctx, *cotangents):
    cotangents = [c for c, floating in zip(cotangents, ctx.floating) if floating]
    gradients = iter(_call(ctx.program, ctx.order + 1, ctx.wrt, *ctx.saved_tensors, *cotangents))
    by_name = {name: next(gradients) for name in ctx.wrt}
    first = [by_name.get(name) for name in ctx.program.names]
    return None, None, None, *first, *gradients  # those left are by the cotangents of lower orders


class _Call(torch.autograd.Function):
    """program.run, whose backward pass is the same of the next order."""

    @staticmethod
    def forward(ctx, *inputs):
        program, order, wrt, *tensors = inputs
        outputs = program.run(order, wrt, tensors)
        _setup_context(ctx, inputs, outputs)
        return outputs

    backward = staticmethod(_backward)


class _TransformedCall(torch.autograd.Function):
    """The same for torch.func, which wants it in this form; a call of this one takes 25 microseconds longer."""

    @staticmethod
    def forward(program, order, wrt, *tensors):
        return program.run(order, wrt, tensors)

    setup_context = staticmethod(_setup_context)
    backward = staticmethod(_backward)

    @staticmethod
    def vmap(info, in_dims, program, order, wrt, *tensors):
        results = []
        for i in range(info.batch_size):
            rows = [t if dim is None else t.select(dim, i) for t, dim in zip(tensors, in_dims[3:])]
            results.append(_call(program, order, wrt, *rows))
        return tuple(map(torch.stack, zip(*results))), (0,) * len(results[0])


_transforms_active = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)


def _call(*inputs):
    return (_TransformedCall if _transforms_active() else _Call).apply(*inputs)


def _apply(program, tensors):
    """Outputs as a call of the model gives them, on one tensor for each input and param."""
    wrt = tuple(name for name, t in zip(program.names, tensors) if t.requires_grad)
    results = _call(program, 0, wrt, *tensors)
    return results[0] if len(results) == 1 else program.type(results)


def _tensors(types, values):
    """The values as tensors of the declared types; numbers are converted."""
    tensors = []
    for (name, expected), value in zip(types.items(), values):
        code = DTYPES.index(expected.partition("[")[0])
        if value is None:
            raise _errors.UsageError("%s: %s is missing" % (name, expected))
        if not isinstance(value, torch.Tensor):
            value = torch.as_tensor(value, dtype=TORCH_DTYPES[code])
        _check_tensor(name, value, expected, code)
        tensors.append(value)
    return tensors


def _initial(exe, arrays):
    """The params' initial values as tensors by name."""
    values = {}
    for slot, array in zip(exe.slots[1], arrays.values()):
        bits = array.view("int16") if DTYPES[slot.code] == "bf16" else array  # NumPy has no bfloat16
        values[slot.name] = torch.from_numpy(bits).view(TORCH_DTYPES[slot.code])
    return values


def function(model, **options):
    """The model as a differentiable function of tensors: f(*inputs, params=None, **named), with inputs in order or by
    name and params by name or in a dict; a param that is not given has its initial value. options: threads (by default
    PyTorch's), target, cache."""
    program = _Program(model, options)

    def call(*inputs, params=None, **named):
        tensors = _tensors(model.inputs, arrange(model.name, model._slots, inputs, named))
        named = dict(params or {}, **named)
        unknown = named.keys() - model.params.keys()
        if unknown:
            raise _errors.NameError("%s has no input or param %s; there are %s"
                                    % (model.name, ", ".join(sorted(unknown)), ", ".join(program.names)))
        if len(named) < len(model.params):
            exe = program.executable(0, (), tensors)
            named = dict(_initial(exe, exe.kept_initial), **named)
        return _apply(program, tensors + _tensors(model.params, [named[name] for name in model.params]))

    call.__name__ = call.__qualname__ = model.name
    call.__doc__ = repr(model)
    return call


class Module(torch.nn.Module):
    """The model as a module: its params are torch parameters of their names, called as function() but for them.

    examples, sizes: as Model.compile; they fix the sizes of the params. Sizes that no param has may differ from call to
    call. seed: of random initial values, by default drawn from PyTorch's generator. options: as function().
    """

    def __init__(self, model, *examples, sizes=None, seed=None, **options):
        super().__init__()
        self._program = _Program(model, options)
        shapes = [e if e is None or isinstance(e, tuple) else tuple(e.shape) for e in examples]
        exe = model.compile(*shapes, sizes=sizes, **self._program.options)
        seed = int(torch.randint(2**62, ())) if seed is None else seed
        for name, value in _initial(exe, exe.initial(seed)).items():
            if hasattr(self, name):
                raise _errors.NameError("param %s has the name of an attribute of torch.nn.Module; rename it" % name)
            if value.is_floating_point():
                self.register_parameter(name, torch.nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def forward(self, *inputs, **named):
        model = self._program.model
        tensors = _tensors(model.inputs, arrange(model.name, model._slots, inputs, named))
        if named:
            raise _errors.NameError("%s has no input %s" % (model.name, ", ".join(sorted(named))))
        params = _tensors(model.params, [getattr(self, name) for name in model.params])
        return _apply(self._program, tensors + params)

    def extra_repr(self):
        return repr(self._program.model)
