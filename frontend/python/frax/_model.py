"""Models: loaded or parsed, called on arrays of any size, compiled, differentiated, fitted."""
import collections
import ctypes
import operator
import os
import weakref

import numpy as np

from . import _errors, _library
from ._arrays import Slot, shape_of
from ._executable import Executable, arrange
from ._library import DTYPES, INPUT, MODES, OUTPUT, PARAM, TARGETS, lib
from ._random import checked_seed

_KEPT = 64  # executables that a model keeps for calls, the last ones


def load(spec):
    """The model in a file: "FILE.frax", or "FILE.frax:NAME" for one of several."""
    path, colon, name = os.fsdecode(spec).rpartition(":")
    if not (path and name) or "/" in name:
        path, name = os.fsdecode(spec), None
    try:
        with open(path, "rb") as file:
            text = file.read()
    except OSError as error:
        raise _errors.FileError("%s: %s" % (path, error.strerror)) from error
    return parse(text.decode("utf-8", "surrogateescape"), path, name)


def parse(text, file="<text>", name=None):
    """The model in a text; `file` is only used in messages, `name` chooses one of several models."""
    handle = ctypes.c_void_p()
    _errors.call(lib.model_parse, encode("text", text), os.fsencode(file), encode("name", name), handle)
    return Model(handle, text, file)


def encode(what, text):
    """As a string of C."""
    if text is not None and "\0" in text:
        raise _errors.ValueError("%s holds a NUL character" % what)
    return None if text is None else text.encode("utf-8", "surrogateescape")


def integer(what, value, bits=64):
    """A number that C's signed type holds; ctypes would cut it."""
    number = operator.index(value)
    if not -(2 ** (bits - 1)) <= number < 2 ** (bits - 1):
        raise _errors.ValueError("%s is %d, which %d bits cannot hold" % (what, number, bits))
    return number


def _guarded(function, raised, otherwise):
    """A callback whose exceptions wait in `raised` until the call returns."""

    def call(*arguments):
        try:
            return function(*arguments)
        except BaseException as exception:
            raised.append(exception)
            return otherwise

    return call


def choice(what, value, choices):
    if value not in choices:
        raise _errors.ValueError("%s is %r; expected one of %s" % (what, value, ", ".join(choices)))
    return choices.index(value)


class Model:
    """From load or parse. inputs, params and outputs are the types by name, in the model's own symbols."""

    def __init__(self, *parsed):
        if len(parsed) != 3 or not isinstance(parsed[0], ctypes.c_void_p):
            raise _errors.UsageError('a Model comes from frax.load("FILE.frax") or frax.parse(text)')
        handle, *self._source = parsed
        self._handle, self._kept = handle, collections.OrderedDict()
        finalizer = weakref.finalize(self, lib.model_destroy, handle)
        finalizer.atexit = False
        self.name = lib.model_name(handle).decode()
        self.inputs, self.params, self.outputs = (self._types(role) for role in (INPUT, PARAM, OUTPUT))
        # Names and dtypes; the shapes are known with the sizes.
        self._slots = [Slot(name, DTYPES.index(t.partition("[")[0]), (), t) for name, t in self.inputs.items()]

    def _types(self, role):
        count = lib.model_count(self._handle, role)
        texts = lambda get: [(get(self._handle, role, i) or b"?").decode() for i in range(count)] # ?: some sizes only
        return dict(zip(texts(lib.model_value_name), texts(lib.model_value_type)))

    def __reduce__(self):
        return parse, (*self._source, self.name)

    def __repr__(self):
        show = lambda types: ", ".join("%s: %s" % item for item in types.items())
        return "<frax.Model %s(%s) params(%s) -> %s>" % (
            self.name, show(self.inputs), show(self.params), show(self.outputs))

    # ---- Compiling ----

    def compile(self, *examples, sizes=None, mode="forward", grad=False, of=None, wrt=None, order=0, threads=0,
                target="cpu", device=0, cache=True, debug=False, stream=None, chunk=0, seed=0, progress=None, log=None,
                like=None):
        """Machine code for one set of sizes: an Executable.

        examples: arrays whose shapes the inputs will have, in order (None: not given), or shapes as tuples.
        sizes: a dict of the model's size symbols, as far as the examples do not give them.
        mode: forward; reverse (the same as grad=True: grad.NAME of the scalar output `of`, by default loss);
            jvp (takes tangents, gives tangent.OUT); hvp (takes tangents, gives grad.NAME and hvp.NAME);
            vjp (takes cotangents, gives grad.NAME in place of the outputs; `order` as in frax.h).
        wrt: names of the params or inputs to differentiate by; all params unless given.
        threads: 0 for as many as there are processors. target: cpu, eager, reference or cuda; device: which GPU, from 0.
        cache: of kernels on disk.
        stream, chunk: take the data along a size in chunks; see Executable.stream.
        seed: of random initial values.
        like: a dict of arrays by name (or their strides in bytes, as tuples) whose strides are compiled in, for inputs,
            params and results: arrays that lie so are used in place, for out= too. What has one name as an input and
            as a result (a state, say) gets them in both places.
        progress: called as progress(stage, done, total) while compiling; a true result ends that with CancelledError.
        log: called with a line on what was done and why.
        """
        raised, seed = [], checked_seed(seed)
        options = self._options(examples, sizes, of, wrt, threads, target, device, cache)
        options.mode = choice("mode", "reverse" if grad and mode == "forward" else mode, MODES)
        options.debug, options.order, options.chunk = bool(debug), integer("order", order, 32), integer("chunk", chunk)
        options.stream = encode("stream", stream)
        options.layouts, options.nlayouts = self._layouts(like or {})
        if progress:
            options.progress = _library.CompileProgress(_guarded(
                lambda context, stage, done, total: bool(progress(stage.decode(), done, total)), raised, 1))
        if log:
            options.log = _library.Log(_guarded(lambda context, line: log(line.decode()), raised, None))
        handle = ctypes.c_void_p()
        try:
            _errors.call(lib.compile, self._handle, options, handle)
        finally:
            if raised:
                raise raised[0]
        return Executable(handle, self.name, seed)

    def _options(self, examples, sizes, of, wrt, threads, target, device, cache):
        options = lib.default_options()
        options.target, options.device = choice("target", target, TARGETS), integer("device", device, 32)
        options.threads, options.no_cache = integer("threads", threads, 32), not cache
        options.of = encode("of", of)
        if isinstance(wrt, str):
            wrt = [wrt]
        if wrt is not None:
            options.wrt, options.nwrt = (ctypes.c_char_p * (len(wrt) or 1))(*[encode("wrt", w) for w in wrt]), len(wrt)
        sizes = sizes or {}
        options.sizes = (_library.Size * (len(sizes) or 1))(*[(encode("sizes", n), integer(n, v))
                                                                   for n, v in sizes.items()])
        options.nsizes = len(sizes)
        options.inputs = self._examples(examples)
        return options

    def _examples(self, examples):
        if len(examples) > len(self.inputs):
            raise _errors.UsageError("%s has %d inputs, got %d examples"
                                     % (self.name, len(self.inputs), len(examples)))
        tensors = (_library.Tensor * (len(self.inputs) or 1))()
        for i, slot in enumerate(self._slots):
            example = examples[i] if i < len(examples) else None
            tensors[i].dtype, tensors[i].rank = slot.code, -1
            if example is None:
                continue
            shape = example if isinstance(example, tuple) else shape_of(example, slot)[0]
            tensors[i].rank = len(shape)
            tensors[i].dims[: len(shape)] = shape[: _library.MAX_RANK]
        return tensors

    def _layouts(self, like):
        layouts = []
        for name, example in like.items():
            strides = example if isinstance(example, tuple) else np.asarray(example).strides
            roles = [INPUT] if name in self.inputs else [PARAM] if name in self.params else []
            if name.startswith(("tangent.", "cotangent.", "state.")):
                roles = [PARAM]
            if not roles or name in self.outputs or name.startswith("state."):
                roles.append(OUTPUT)
            for role in roles:
                layout = _library.Layout(role, encode("like", name), len(strides))
                layout.strides[: len(strides)] = strides[: _library.MAX_RANK]
                layouts.append(layout)
        return (_library.Layout * (len(layouts) or 1))(*layouts), len(layouts)

    def _compiled(self, shapes, **options):
        """The executable for these shapes, kept for the next call."""
        key = shapes, tuple(options.items())
        exe = self._kept.get(key)
        if exe is None:
            exe = self.compile(*shapes, **options)
            if len(self._kept) >= _KEPT:
                self._kept.popitem(last=False)  # at once: other threads may be here
            self._kept[key] = exe
        return exe

    # ---- Calling ----

    def _arrange(self, inputs, named):
        """The inputs in order and their shapes; numbers become arrays."""
        values = arrange(self.name, self._slots, inputs, named)
        shapes = []
        for i, value in enumerate(values):
            if value is None:
                raise _errors.UsageError("input %s: %s is missing" % list(self.inputs.items())[i])
            shape, values[i] = shape_of(value, self._slots[i])
            shapes.append(shape)
        return values, tuple(shapes)

    def __call__(self, *inputs, params=None, out=None, **named):
        """Runs the model on arrays, compiled for their shapes at the first call. Arguments as Executable's."""
        values, shapes = self._arrange(inputs, named)
        return self._compiled(shapes)(*values, params=params, out=out, **named)

    def grad(self, *inputs, of=None, wrt=None, params=None, **named):
        """The gradients of the scalar output `of` (loss) by the names in wrt (all params), as arrays by name."""
        values, shapes = self._arrange(inputs, named)
        wrt = (wrt,) if isinstance(wrt, str) else tuple(wrt) if wrt is not None else None
        exe = self._compiled(shapes, mode="reverse", of=of, wrt=wrt)
        results = exe(*values, params=params, **named)
        return {name[len("grad."):]: results[name] for name in results.names[len(self.outputs):]}

    def fit(self, *inputs, progress=None, params=None, **options):
        """Learns the params: options["steps"] steps of options["optimizer"], or until that has converged. Takes the
        options of Trainer; progress(step, evaluations, loss) is called after each step, a true result ends the fit.
        Returns a Fit. An error that ends a fit (DivergedError, ValueError) has the params of that moment in .params.
        """
        from ._fit import Trainer

        trainer = Trainer(self, *inputs, params=params, progress=progress, **options)
        return trainer.run()
