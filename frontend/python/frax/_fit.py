"""Fitting: one compiled step of forward, adjoint and update, with params and the optimizer's state inside."""
import collections
import ctypes
import weakref

from . import _errors, _library
from ._arrays import Slot, pointer_array
from ._executable import arrange, check_mapping, signature
from ._library import OPTIMIZERS, PARAM, lib
from ._model import choice, integer
from ._random import checked_seed

Fit = collections.namedtuple("Fit", "params loss steps evaluations converged outcome")
Fit.__doc__ = """What a fit came to: params (arrays by name), loss of the last step, numbers of steps and evaluations of
the model, whether the optimizer has converged, and why the fit ended, in words."""


class Trainer:
    """A fit in progress. Inputs as in a call of the model. One thread at a time.

    optimizer: sgd, adam, adamw or lbfgs. steps, lr, momentum, beta1, beta2, epsilon, weight_decay, clip_norm,
    clip_value, batch, seed, tolerance: as FraxFitOptions in frax.h; what is not given has the default there.
    of, wrt: what is minimised (loss), which params move (all). sizes, threads, target, device, cache: as Model.compile.
    """

    def __init__(self, model, *inputs, optimizer="adam", params=None, progress=None, of=None, wrt=None, sizes=None,
                 threads=0, target="cpu", device=0, cache=True, **options):
        fit = lib.default_fit_options(choice("optimizer", optimizer, OPTIMIZERS))
        own = [name for name, _ in fit._fields_[1:] if name not in ("progress", "context", "_room")]
        for name in [name for name in options if name in own]:
            value = options.pop(name)
            check = {"steps": integer, "batch": integer, "seed": lambda _, seed: checked_seed(seed)}.get(name)
            setattr(fit, name, check(name, value) if check else value)
        values, shapes = model._arrange(inputs, options)
        if options:
            raise _errors.UsageError("fit: no option or input %s; options are %s"
                                     % (", ".join(options), ", ".join(["optimizer"] + own)))
        self._model = model.name
        self._inputs = [Slot(slot.name, slot.code, shape) for slot, shape in zip(model._slots, shapes)]
        self._values, self._progress, self._raised = values, progress, None
        self._callback = fit.progress = self._make_callback()
        self._handle = ctypes.c_void_p()
        compile_options = model._options(shapes, sizes, of, wrt, threads, target, device, cache)
        _errors.call(lib.trainer_create, model._handle, compile_options, fit, self._handle)
        finalizer = weakref.finalize(self, lib.trainer_destroy, self._handle)
        finalizer.atexit = False
        own_params = signature(lib.trainer_executable(self._handle), PARAM)
        self._params = own_params[: len(model.params)]
        if params is not None:
            self.set_params(params)

    def __reduce__(self):
        raise _errors.UsageError("a trainer cannot be copied or pickled; its params can")

    def _make_callback(self):
        me = weakref.ref(self)  # the callback must not keep its own trainer

        def progress(context, step, evaluations, loss):
            trainer = me()
            try:
                return bool(trainer._progress and trainer._progress(step, evaluations, loss))
            except BaseException as exception:
                trainer._raised = exception
                return 1

        return _library.Progress(progress)

    @property
    def params(self):
        """Copies of the current values, by name."""
        values = {}
        for i, slot in enumerate(self._params):
            values[slot.name] = slot.empty()
            _errors.call(lib.trainer_get_param, self._handle, i, values[slot.name].ctypes.data)
        return values

    def set_params(self, params):
        check_mapping(params, "params")
        unknown = set(params.keys()) - {slot.name for slot in self._params}
        if unknown:
            raise _errors.NameError("%s has no param %s" % (self._model, ", ".join(sorted(map(str, unknown)))))
        for i, slot in enumerate(self._params):
            if slot.name in params:
                pointer, keep = slot.pointer(params[slot.name])
                _errors.call(lib.trainer_set_param, self._handle, i, pointer)

    def _call(self, function, inputs, named):
        values = self._values
        if inputs or named:
            values = arrange(self._model, self._inputs, inputs, named)
        pointers, kept = pointer_array(len(self._inputs)), []
        for i, slot in enumerate(self._inputs):
            pointers[i], keep = slot.pointer(values[i])
            kept.append(keep)
        loss = ctypes.c_double()
        try:
            _errors.call(function, self._handle, pointers, loss)
        except _errors.Error as error:
            error.params = self.params
            raise
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised
        return loss.value

    def step(self, *inputs, **named):
        """One step, on these inputs or those of the start. Returns the loss before it."""
        return self._call(lib.trainer_step, inputs, named)

    def run(self, *inputs, **named):
        """All steps. Returns a Fit."""
        loss = self._call(lib.trainer_run, inputs, named)
        return Fit(self.params, loss, self.steps, self.evaluations, self.converged, self.outcome)

    @property
    def steps(self):
        return lib.trainer_steps(self._handle)

    @property
    def evaluations(self):
        return lib.trainer_evaluations(self._handle)

    @property
    def converged(self):
        return bool(lib.trainer_converged(self._handle))

    @property
    def outcome(self):
        return lib.trainer_outcome(self._handle).decode()
