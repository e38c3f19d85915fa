"""A compiled model: called on arrays, as often as you like, from any thread.

A call must cost little beside a small model's kernels. What depends on the signature alone is prepared once: the types
to compare with, the pointers of params that keep their initial values, and frames, each the room of one call in flight.
"""
import ctypes
import functools
import threading
import weakref

import numpy as np

from . import _errors, _library
from ._arrays import Slot, pointer_array
from ._library import INPUT, OUTPUT, PARAM, lib
from ._random import checked_seed

_from_buffer, _addressof, _run = ctypes.c_char.from_buffer, ctypes.addressof, lib.run
_ndarray, _empty = np.ndarray, np.empty


class Outputs(tuple):
    """The results of a call in the order of the signature; outputs["grad.d"] and outputs.loss are results by name."""

    __slots__ = ()
    names = ()
    _at = {}

    def __getitem__(self, key):
        return tuple.__getitem__(self, self._at[key] if isinstance(key, str) else key)

    def __getattr__(self, name):
        at = self._at.get(name)
        if at is None:
            raise AttributeError("no output %s; there are %s" % (name, ", ".join(self.names)))
        return tuple.__getitem__(self, at)

    def asdict(self):
        return dict(zip(self.names, self))

    def __repr__(self):
        return "Outputs(%s)" % ", ".join("%s=%r" % pair for pair in zip(self.names, self))

    def __reduce__(self):
        return _outputs, (self.names, tuple(self))


@functools.lru_cache(maxsize=None)
def outputs_type(names):
    at = {name: i for i, name in enumerate(names)}
    return type("Outputs", (Outputs,), {"__slots__": (), "names": names, "_at": at, "__module__": "frax"})


def _outputs(names, values):
    return outputs_type(names)(values)


def signature(handle, role):
    slots = []
    for i in range(lib.executable_count(handle, role)):
        v = lib.executable_view(handle, role, i)
        slots.append(Slot(lib.executable_name(handle, role, i).decode(), v.dtype, v.dims[: v.rank],
                          strides=v.strides[: v.rank]))
    return slots


def arrange(model, slots, values, named):
    """The values in the order of the slots; those of other names are left in `named`."""
    if len(values) > len(slots):
        raise _errors.UsageError("%s takes %d inputs (%s), got %d"
                                 % (model, len(slots), ", ".join(s.name for s in slots), len(values)))
    values = list(values) + [None] * (len(slots) - len(values))
    for i, slot in enumerate(slots):
        if slot.name in named:
            if values[i] is not None:
                raise _errors.UsageError("input %s is given twice" % slot.name)
            values[i] = named.pop(slot.name)
    return values


def check_mapping(values, name):
    if not (hasattr(values, "keys") and hasattr(values, "get")):
        raise _errors.UsageError("%s is a %s; expected arrays by name, as a dict" % (name, type(values).__name__))


class _Frame:
    """The room of one call in flight."""

    __slots__ = ("inputs", "params", "outputs", "error", "by_error")

    def __init__(self, exe):
        self.inputs = pointer_array(len(exe._inputs))
        self.params = pointer_array(len(exe._params))
        self.outputs = pointer_array(len(exe._outputs))
        self.error = _library.Error()
        self.by_error = ctypes.byref(self.error)


class Executable:
    """From Model.compile. Call it with the inputs in order or by name, and with params by name:

        loss, e = exe(x)            exe(x, d=0.3)            exe(x, params={"d": 0.3}, out={"e": e})

    A param that is not given has its initial value. One output comes as an array, several as Outputs. With `out`, a
    sequence in the order of the outputs (None: a new array) or a dict by name, results are written there.
    """

    def __init__(self, handle=None, model=None, seed=0):
        if not isinstance(handle, ctypes.c_void_p):
            raise _errors.UsageError("an Executable comes from Model.compile")
        self._handle, self._model, self._seed = handle, model, seed
        finalizer = weakref.finalize(self, lib.executable_destroy, handle)
        finalizer.atexit = False
        self._inputs, self._params, self._outputs = (signature(handle, role) for role in (INPUT, PARAM, OUTPUT))
        self._type = outputs_type(tuple(s.name for s in self._outputs))
        self._frames = []
        self._nstates = lib.executable_states(handle)
        own = len(self._params) - self._nstates
        further = [s for s in self._params[:own] if s.name.startswith(("tangent.", "cotangent."))]
        self._own = own - len(further)  # the model's own params come first
        self._initial = self._initial_pointers = None  # made when a call needs them
        self._initial_lock = threading.Lock()

    # ---- What it is ----

    @property
    def slots(self):
        """The signature: names, dtypes and shapes of inputs, params and outputs."""
        return self._inputs, self._params, self._outputs

    @property
    def inputs(self):
        """The types of the inputs by name, as text; params and outputs alike."""
        return {s.name: s.text for s in self._inputs}

    @property
    def params(self):
        return {s.name: s.text for s in self._params}

    @property
    def outputs(self):
        return {s.name: s.text for s in self._outputs}

    @property
    def memory(self):
        """What FraxMemory says: temporary_bytes, kernels, compile_seconds, from_cache …"""
        memory = lib.executable_memory(self._handle)
        return {name: getattr(memory, name) for name, _ in memory._fields_ if name != "_room"}

    def initial(self, seed=0):
        """The params' initial values, new arrays by name; random ones depend on the seed."""
        values = {}
        for i, slot in enumerate(self._params[: self._own]):
            values[slot.name] = slot.empty()
            _errors.call(lib.initial_param, self._handle, i, checked_seed(seed), values[slot.name].ctypes.data)
        return values

    @property
    def kept_initial(self):
        """The same for this executable's own seed, the arrays that calls without params read; not to be written."""
        self._keep_initial()
        return self._initial

    def empty(self):
        """New arrays for `out`, by name."""
        return {slot.name: slot.empty() for slot in self._outputs}

    def _keep_initial(self):
        with self._initial_lock:
            if self._initial_pointers is None:
                self._initial = self.initial(self._seed)
                pointers = pointer_array(len(self._params))
                for i, array in enumerate(self._initial.values()):
                    pointers[i] = array.ctypes.data
                self._initial_pointers = pointers  # last: others look at it without the lock
        return self._initial_pointers

    def __reduce__(self):
        raise _errors.UsageError("an executable cannot be copied or pickled; its model can, and be compiled again")

    def __repr__(self):
        return "<frax.Executable %s(%s) -> %s>" % (
            self._model, ", ".join(map(repr, self._inputs)), ", ".join(map(repr, self._outputs)))

    # ---- Calling it ----

    def __call__(self, *inputs, params=None, out=None, tangents=None, cotangents=None, **named):
        slots = self._inputs
        if named or len(inputs) != len(slots):
            inputs = arrange(self._model, slots, inputs, named)
        if named or tangents or cotangents:
            params = self._merge(params, named, tangents, cotangents)
        try:
            frame = self._frames.pop()
        except IndexError:
            frame = _Frame(self)
        kept = []
        self._point(slots, inputs, frame.inputs, kept)
        if params is None and len(self._params) == self._own:
            param_pointers = self._initial_pointers or self._keep_initial()
        else:
            param_pointers = frame.params
            values = self._complete({} if params is None else params)  # which may be nobody else's
            self._point(self._params, values, param_pointers, kept)
        pointers = frame.outputs
        if out is None:
            results = []
            for i, slot in enumerate(self._outputs):
                array = slot.empty() if slot.strides else _empty(slot.shape, slot.dtype)
                pointers[i] = slot.address(array)
                results.append(array)
        else:
            results = self._write(out, pointers, kept)
            self._apart(frame, param_pointers)
        status = _run(self._handle, frame.inputs, param_pointers, pointers, frame.by_error)
        if status:
            _errors.raise_error(status, frame.error)
        self._frames.append(frame)
        return results[0] if len(results) == 1 else self._type(results)

    def run_at(self, inputs, params, outputs):
        """A run on addresses in the order of the signature, which the caller answers for."""
        try:
            frame = self._frames.pop()
        except IndexError:
            frame = _Frame(self)
        for places, addresses in ((frame.inputs, inputs), (frame.params, params), (frame.outputs, outputs)):
            for i, address in enumerate(addresses):
                places[i] = address
        status = _run(self._handle, frame.inputs, frame.params, frame.outputs, frame.by_error)
        if status:
            _errors.raise_error(status, frame.error)
        self._frames.append(frame)

    @staticmethod
    def _point(slots, values, pointers, kept, write=False):
        """The values' addresses, for as long as the caller keeps them; what keeps converted ones goes into `kept`."""
        i = 0
        for slot, value in zip(slots, values):
            if (type(value) is _ndarray and value.dtype is slot.fast and value.shape == slot.shape
                    and value.flags.carray):  # C-contiguous, aligned and writeable
                pointers[i] = _addressof(_from_buffer(value))
            else:
                pointers[i], keep = slot.pointer(value, write)
                kept.append(keep)
            i += 1

    def _write(self, out, pointers, kept):
        if isinstance(out, dict):
            if not out.keys() <= self._type._at.keys():
                unknown = out.keys() - self._type._at.keys()
                raise _errors.NameError("%s has no output %s" % (self._model, ", ".join(sorted(map(str, unknown)))))
            out = [out.get(slot.name) for slot in self._outputs]
        elif len(self._outputs) == 1 and not isinstance(out, (list, tuple)):
            out = [out]
        elif not isinstance(out, (list, tuple)):
            raise _errors.UsageError("out is a %s; expected a dict by name, or a list of arrays" % type(out).__name__)
        if len(out) != len(self._outputs):
            raise _errors.UsageError("out has %d arrays; %s has %d outputs"
                                     % (len(out), self._model, len(self._outputs)))
        results = [slot.empty() if array is None else array for slot, array in zip(self._outputs, out)]
        self._point(self._outputs, results, pointers, kept, write=True)
        return results

    def _apart(self, frame, params):
        """Nothing may overlap an array that is written, but that a state may be written over its own param."""
        others = [(at or 0, slot) for at, slot in (*zip(frame.inputs, self._inputs), *zip(params, self._params))]
        for start, slot in zip(frame.outputs, self._outputs):
            start = start or 0  # of an empty array
            low, high = start + slot.low, start + slot.high
            for at, other in others:
                if (low < at + other.high and at + other.low < high and not slot.is_apart(start, other, at)
                        and not (at == start and slot.name == other.name and slot.name.startswith("state."))):
                    raise _errors.UsageError("the array for output %s overlaps that of %s" % (slot.name, other.name))
            others.append((start, slot))

    def _merge(self, params, named, tangents, cotangents):
        for values, what in ((params, "params"), (tangents, "tangents"), (cotangents, "cotangents")):
            check_mapping({} if values is None else values, what)
        params = dict(params or {}, **named)
        params.update(("tangent.%s" % name, value) for name, value in (tangents or {}).items())
        params.update(("cotangent.%s" % name, value) for name, value in (cotangents or {}).items())
        return params

    def _complete(self, params):
        """The params in order, with initial values where none are given."""
        check_mapping(params, "params")
        values, found = [], 0
        for i, slot in enumerate(self._params):
            value = params.get(slot.name)
            if value is not None:
                found += 1
            elif i < self._own:
                value = self.kept_initial[slot.name]
            values.append(value)
        if found != len(params):
            self._refuse_names(params)
        return values

    def _refuse_names(self, params):
        unknown = params.keys() - {slot.name for slot in self._params}
        if unknown:
            raise _errors.NameError("%s has no input or param %s; there are %s" % (
                self._model, ", ".join(sorted(map(str, unknown))), ", ".join(s.name for s in self._inputs + self._params)))

    # ---- Streaming ----

    def stream(self, params=None):
        """A run over a signal, chunk by chunk: see Stream."""
        return Stream(self, params)

    def place(self, name):
        """Where an input or output stands in the stream: (axis, skip, length), axis < 0 if it is not streamed."""
        for role, slots in ((INPUT, self._inputs), (OUTPUT, self._outputs)):
            for i, slot in enumerate(slots):
                if slot.name == name:
                    s = lib.executable_stream(self._handle, role, i)
                    return s.axis, s.skip, s.length
        raise _errors.NameError("%s has no input or output %s" % (self._model, name))


class Stream:
    """A signal without end through an executable that was compiled with stream= and chunk=. Call it with one chunk of
    the inputs after the other; it keeps the states between the calls, in `states` by name. One thread at a time."""

    def __init__(self, exe, params=None):
        k = exe._nstates
        self._exe, self._frame = exe, _Frame(exe)
        params = {} if params is None else params
        check_mapping(params, "params")
        given = set(params.keys()) & {slot.name for slot in exe._params[len(exe._params) - k :]}
        if given:
            raise _errors.UsageError("%s is a state of the stream: set it in `states`" % ", ".join(sorted(given)))
        self._visible = exe._outputs[: len(exe._outputs) - k]
        self._type = outputs_type(tuple(s.name for s in self._visible))
        self.states = {slot.name: slot.empty() for slot in exe._params[len(exe._params) - k :]}
        self.reset()
        self._kept = []
        values = exe._complete(dict(params, **self.states))
        exe._point(exe._params, values, self._frame.params, self._kept)
        self._kept.append(values)
        for i, array in enumerate(self.states.values()):
            self._frame.outputs[len(self._visible) + i] = array.ctypes.data

    def __reduce__(self):
        raise _errors.UsageError("a stream cannot be copied or pickled; `states` holds what it remembers")

    def reset(self):
        for state in self.states.values():
            state[...] = 0

    def __call__(self, *inputs, **named):
        exe, frame, kept = self._exe, self._frame, []
        inputs = arrange(exe._model, exe._inputs, inputs, named)
        if named:
            raise _errors.NameError("%s has no input %s" % (exe._model, ", ".join(sorted(named))))
        exe._point(exe._inputs, inputs, frame.inputs, kept)
        results = [slot.empty() for slot in self._visible]
        for i, array in enumerate(results):
            frame.outputs[i] = array.ctypes.data
        status = _run(exe._handle, frame.inputs, frame.params, frame.outputs, frame.by_error)
        if status:
            _errors.raise_error(status, frame.error)
        return results[0] if len(results) == 1 else self._type(results)
