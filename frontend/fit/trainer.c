/* trainer.c — fitting: one executable for forward, adjoint and update, or L-BFGS around value and gradient.
 *
 * The trainer owns a buffer for every graph input beyond the model's own: params, the optimizer's state, the
 * step's scalars. Outputs that are donated go back into the buffer they came from, so that a step copies
 * nothing; all others have a small buffer of their own. Mini-batches are gathered into staging buffers by
 * batches.c. On a device the values stay in its memory (resident.c), and the buffers hold what they start
 * with.
 */
#include "api.h"
#include "batches.h"
#include "half.h"
#include "keys.h"
#include "lbfgs.h"
#include "model.h"
#include "moving.h"
#include "passes.h"
#include "resident.h"
#include <math.h>
#include <string.h>

/* Copies of the donated buffers, one after the other: what a step overwrites. */
typedef struct Snapshot {
    char *data; /* NULL on a device, which has a slot for each of its own */
    int slot;
    bool taken;
} Snapshot;

struct FraxTrainer {
    HandleKind kind;
    FraxFitOptions fit;
    Watch watch;
    FraxExecutable exe;
    Resident resident;        /* what stays on a device; the buffers are then only copies to start from */
    Batches *batches;         /* NULL: every step sees all rows */
    FitKeys *keys;            /* of random numbers; NULL: there are none, or lbfgs wants the same ones */
#define X(name) double *name; /* the buffer of input step.NAME; NULL for lbfgs */
    STEP_SCALARS(X)
#undef X
    const void **inputs;
    void **outputs;
    void **owned; /* buffers, to be freed: inputs from counts[FRAX_INPUT] on, then outputs that are not
                     donated */
    size_t nowned;
    bool has_snapshots;   /* with guards only */
    Snapshot now, before; /* at the start of this step and of the last good one */
    Lbfgs *lbfgs;
    Moving moving; /* for lbfgs */
    int64_t steps, evaluations;
    double loss;
    const char *outcome;
};

static const char *const no_more_steps = "all steps taken", *const stopped = "stopped by the caller",
                         *const diverged = "diverged", *const left_range = "a guarded value left its range";

static const Graph *graph_of(const FraxTrainer *t) {
    return executable_graph(t->exe.exe);
}

/* ---- Options ---- */

typedef struct OptimizerDefaults {
    double lr, weight_decay;
} OptimizerDefaults;

static const OptimizerDefaults optimizer_defaults[] = {
    [FRAX_SGD] = {1e-2, 0}, [FRAX_ADAM] = {1e-3, 0}, [FRAX_ADAMW] = {1e-3, 1e-2}, [FRAX_LBFGS] = {1, 0}};

FraxFitOptions frax_default_fit_options(FraxOptimizer optimizer) {
    FraxFitOptions fit = {.optimizer = optimizer,
                          .beta1 = 0.9,
                          .beta2 = 0.999,
                          .epsilon = 1e-8,
                          .steps = 100,
                          .tolerance = 1e-9};
    if ((size_t)optimizer < COUNT(optimizer_defaults)) {
        fit.lr = optimizer_defaults[optimizer].lr;
        fit.weight_decay = optimizer_defaults[optimizer].weight_decay;
    }
    return fit;
}

const char *fit_out_of_range(const FraxFitOptions *fit, double *value, const char **range) {
    const struct {
        const char *name;
        double value, below;
    } numbers[] = {{"lr", fit->lr, INFINITY},
                   {"momentum", fit->momentum, 1},
                   {"beta1", fit->beta1, 1},
                   {"beta2", fit->beta2, 1},
                   {"epsilon", fit->epsilon, INFINITY},
                   {"weight_decay", fit->weight_decay, INFINITY},
                   {"clip_norm", fit->clip_norm, INFINITY},
                   {"clip_value", fit->clip_value, INFINITY},
                   {"tolerance", fit->tolerance, INFINITY},
                   {"steps", (double)fit->steps, INFINITY},
                   {"batch", (double)fit->batch, INFINITY}};
    for (size_t i = 0; i < COUNT(numbers); i++) {
        if (numbers[i].value >= 0 && numbers[i].value < numbers[i].below) continue;
        *value = numbers[i].value;
        *range = numbers[i].below == 1 ? "at least 0 and below 1" : "a finite number, at least 0";
        return numbers[i].name;
    }
    return NULL;
}

static FraxStatus check_fit(const FraxFitOptions *fit, FraxError *err) {
    double value;
    const char *range;
    if ((size_t)fit->optimizer >= COUNT(optimizer_defaults))
        return fail(err, FRAX_USAGE, "fit.optimizer is %d, which is no FraxOptimizer", (int)fit->optimizer);
    const char *name = fit_out_of_range(fit, &value, &range);
    if (name) return fail(err, FRAX_VALUE, "fit.%s is %g; expected %s", name, value, range);
    if (fit->optimizer != FRAX_LBFGS) return FRAX_OK;
    if (fit->batch)
        return fail(err, FRAX_USAGE, "lbfgs takes no mini-batches: its line search needs one function");
    if (fit->clip_norm || fit->clip_value || fit->weight_decay || fit->momentum)
        return fail(err, FRAX_USAGE, "lbfgs takes no clipping, weight decay or momentum");
    return FRAX_OK;
}

/* ---- The graph of a step ---- */

/* Outputs: the objective first; then for lbfgs the gradients, else what the optimizer adds. */
static FraxStatus append_step(FraxTrainer *t, Graph *g, const FraxOptions *options, FraxError *err) {
    Value objective, *wrt = NULL, *grads = NULL;
    size_t n;
    FraxStatus status = find_objective(g, options->of, &objective, err);
    if (!status) status = find_wrt(g, options, true, &wrt, &n, err);
    if (!status) status = moving_note(&t->moving, g, wrt, n, err);
    if (!status && !(grads = mem_calloc(n, sizeof *grads))) status = fail_memory(err, "the trainer");
    if (!status) status = gradient(g, objective, NO_VALUE, wrt, n, grads, err);
    if (!status) {
        g->noutputs = 0; /* the model's other outputs are not wanted */
        graph_output(g, options->of ? options->of : "loss", objective);
        t->exe.counts[FRAX_OUTPUT] = 1;
        for (size_t i = 0; i < n && t->fit.optimizer == FRAX_LBFGS; i++)
            graph_output(g, graph_node(g, wrt[i])->attrs->name, grads[i]);
        if (t->fit.optimizer != FRAX_LBFGS) status = optimizer_append(g, &t->fit, wrt, grads, n, err);
    }
    mem_free(grads);
    mem_free(wrt);
    return status ? status : graph_status(g, err);
}

static FraxStatus compile_step(FraxTrainer *t, const FraxModel *model, const FraxOptions *options,
                               FraxError *err) {
    int64_t *values;
    Graph *g = NULL;
    FraxStatus status = bind_options(model, options, &values, err);
    if (status) return status;
    if (t->fit.batch) status = batches_create(model, &t->fit, values, &t->batches, err);
    if (!status && t->fit.optimizer != FRAX_LBFGS) status = fit_keys_create(model, &t->keys, err);
    if (!status) status = model_lower(model, values, &g, err);
    mem_free(values);
    if (!status) {
        t->exe.counts[FRAX_INPUT] = model_count(model, FRAX_INPUT);
        t->exe.counts[FRAX_PARAM] = t->exe.nparams = model_count(model, FRAX_PARAM);
        status = append_step(t, g, options, err);
        t->exe.nfurther = g->ninputs - t->exe.counts[FRAX_INPUT] - t->exe.nparams;
    }
    if (!status) return compile_graph(g, options, &t->exe.exe, err);
    graph_destroy(g);
    return status;
}

/* ---- Snapshots: a step that a guard fails leaves nothing behind ---- */

typedef void CopyBuffer(void *buffer, char *copy, size_t bytes);

static void save(void *buffer, char *copy, size_t bytes) {
    memcpy(copy, buffer, bytes);
}

static void restore(void *buffer, char *copy, size_t bytes) {
    memcpy(buffer, copy, bytes);
}

/* Calls `copy` (may be NULL) for each donated buffer and its part of `data`; returns the size of it all. */
static size_t each_donated(const FraxTrainer *t, CopyBuffer *copy, char *data) {
    const Graph *g = graph_of(t);
    size_t at = 0;
    for (size_t o = 0; o < g->noutputs; o++) {
        if (g->outputs[o].donated == NO_VALUE) continue;
        size_t bytes = type_bytes(graph_type(g, g->outputs[o].value));
        if (copy && bytes) copy(t->outputs[o], data + at, bytes);
        at += bytes;
    }
    return at;
}

static bool has_guards(const Graph *g) {
    bool found = false;
    for (size_t v = 0; v < g->count && !found; v++) found = g->nodes[v].op == OP_guard;
    return found;
}

static FraxStatus allocate_snapshots(FraxTrainer *t, FraxError *err) {
    size_t bytes = each_donated(t, NULL, NULL);
    t->has_snapshots = bytes && has_guards(graph_of(t));
    if (!t->has_snapshots || executable_has_memory(t->exe.exe)) return FRAX_OK;
    t->now.data = mem_alloc(bytes);
    t->before.data = mem_alloc(bytes);
    return t->now.data && t->before.data ? FRAX_OK : fail_memory(err, "the trainer's state");
}

static FraxStatus take_snapshot(FraxTrainer *t, FraxError *err) {
    FraxStatus status = FRAX_OK;
    if (!t->has_snapshots) return status;
    if (t->resident.exe)
        status = executable_save(t->resident.exe, t->now.slot, err);
    else
        each_donated(t, save, t->now.data);
    t->now.taken = !status;
    return status;
}

static FraxStatus restore_snapshot(FraxTrainer *t, const Snapshot *snapshot, FraxError *err) {
    if (t->resident.exe) return executable_restore(t->resident.exe, snapshot->slot, err);
    each_donated(t, restore, snapshot->data);
    return FRAX_OK;
}

/* Where the model could last be evaluated: the start of the step before, whose result is out of range. */
static FraxStatus settle_snapshot(FraxTrainer *t, FraxStatus status) {
    if (!t->has_snapshots) return status;
    if (status) {
        bool back = status == FRAX_VALUE && t->before.taken;
        restore_snapshot(t, back ? &t->before : &t->now, NULL); /* the run's fault is the one to report */
        t->before.taken = false;
        return status;
    }
    Snapshot good = t->now;
    t->now = t->before;
    t->before = good;
    return status;
}

/* ---- Buffers ---- */

static void *new_buffer(FraxTrainer *t, const Type *type) {
    size_t bytes = type_bytes(type);
    void *buffer = mem_aligned(MAX(bytes, 8));
    if (!buffer) return NULL;
    memset(buffer, 0, MAX(bytes, 8));
    return t->owned[t->nowned++] = buffer;
}

static double *find_scalar(const FraxTrainer *t, const char *name) {
    const Graph *g = graph_of(t);
    for (size_t i = t->exe.counts[FRAX_INPUT]; i < g->ninputs; i++)
        if (!strcmp(graph_node(g, g->inputs[i])->attrs->name, name)) return (double *)t->inputs[i];
    return NULL;
}

static FraxStatus allocate(FraxTrainer *t, FraxError *err) {
    const Graph *g = graph_of(t);
    t->inputs = mem_calloc(g->ninputs + 1, sizeof *t->inputs);
    t->outputs = mem_calloc(g->noutputs + 1, sizeof *t->outputs);
    t->owned = mem_calloc(g->ninputs + g->noutputs, sizeof *t->owned);
    if (!t->inputs || !t->outputs || !t->owned) return fail_memory(err, "the trainer");
    for (size_t i = t->exe.counts[FRAX_INPUT]; i < g->ninputs; i++)
        if (!(t->inputs[i] = new_buffer(t, graph_type(g, g->inputs[i]))))
            return fail_memory(err, "the trainer's state");
    for (size_t o = 0; o < g->noutputs; o++) {
        for (size_t i = 0; i < g->ninputs; i++)
            if (g->outputs[o].donated == g->inputs[i]) t->outputs[o] = (void *)t->inputs[i];
        if (!t->outputs[o] && !(t->outputs[o] = new_buffer(t, graph_type(g, g->outputs[o].value))))
            return fail_memory(err, "the trainer's state");
    }
#define X(name) t->name = find_scalar(t, "step." #name);
    STEP_SCALARS(X)
#undef X
    FraxStatus status = allocate_snapshots(t, err);
    return status ? status : batches_allocate(t->batches, g, err);
}

static void *param_buffer(const FraxTrainer *t, size_t i) {
    return (void *)t->inputs[param_position(&t->exe, i)];
}

/* On a device all that the host does not change between steps stays there: not the step's scalars, its keys,
   the rows of a batch, and what lbfgs moves. */
static FraxStatus settle_values(FraxTrainer *t, FraxError *err) {
    const Graph *g = graph_of(t);
    bool *kept = mem_calloc(g->ninputs + 1, sizeof *kept);
    for (size_t i = 0; kept && i < g->ninputs; i++)
        kept[i] = i < t->exe.counts[FRAX_INPUT]
                      ? !batches_has(t->batches, i) && !fit_keys_has(t->keys, i)
                      : strncmp(graph_node(g, g->inputs[i])->attrs->name, "step.", strlen("step.")) != 0;
    for (size_t i = 0; kept && i < t->moving.n && t->fit.optimizer == FRAX_LBFGS; i++)
        kept[t->moving.inputs[i]] = false;
    t->before.slot = 1;
    return resident_start(&t->resident, t->exe.exe, kept, t->exe.counts[FRAX_INPUT], t->inputs, err);
}

/* ---- L-BFGS ---- */

static FraxStatus watch_step(const FraxTrainer *t, int64_t done, FraxError *err) {
    return watch_stage(&t->watch, "step", done, t->fit.steps, err);
}

static FraxStatus evaluate(void *context, const double *x, double *value, double *grad, FraxError *err) {
    FraxTrainer *t = context;
    const Graph *g = graph_of(t);
    FraxStatus status = watch_step(t, t->steps - 1, err); /* t->steps counts this one already */
    if (status) return status;
    moving_scatter(&t->moving, g, x, t->inputs);
    status = executable_run(t->exe.exe, t->inputs, t->outputs, err);
    if (status) return status;
    *value = element_get(t->outputs[0], graph_type(g, g->outputs[0].value)->dtype, 0);
    moving_gather(&t->moving, g, (const void *const *)t->outputs + 1, grad);
    return FRAX_OK;
}

/* The current params as one vector; NULL when out of memory. */
static double *gather_point(const FraxTrainer *t) {
    const void **buffers = mem_calloc(MAX(t->moving.n, 1), sizeof *buffers);
    double *x = mem_calloc(MAX(moving_size(&t->moving, graph_of(t)), 1), sizeof *x);
    for (size_t i = 0; buffers && i < t->moving.n; i++) buffers[i] = t->inputs[t->moving.inputs[i]];
    if (buffers && x) moving_gather(&t->moving, graph_of(t), buffers, x);
    bool ok = buffers && x;
    mem_free(buffers);
    if (!ok) mem_free(x);
    return ok ? x : NULL;
}

static FraxStatus start_lbfgs(FraxTrainer *t, FraxError *err) {
    double *x = gather_point(t);
    if (!x) return fail_memory(err, "L-BFGS");
    if (t->lbfgs)
        lbfgs_restart(t->lbfgs, x);
    else
        t->lbfgs = lbfgs_create(
            moving_size(&t->moving, graph_of(t)), x,
            &(LbfgsOptions){evaluate, t, t->fit.tolerance, moving_epsilon(&t->moving, graph_of(t))});
    mem_free(x);
    return t->lbfgs ? FRAX_OK : fail_memory(err, "L-BFGS");
}

/* lbfgs: by itself, at a minimum or not. */
static bool has_ended(const FraxTrainer *t) {
    return t->lbfgs && lbfgs_outcome(t->lbfgs) != LBFGS_RUNNING;
}

static FraxStatus step_lbfgs(FraxTrainer *t, double *loss, FraxError *err) {
    size_t bad = 0;
    FraxStatus status = lbfgs_step(t->lbfgs, &bad, err);
    *loss = lbfgs_value(t->lbfgs);
    t->evaluations = lbfgs_evaluations(t->lbfgs);
    moving_scatter(&t->moving, graph_of(t), lbfgs_point(t->lbfgs), t->inputs);
    if (status != FRAX_DIVERGED) return status;
    if (bad == moving_size(&t->moving, graph_of(t)))
        return fail(err, FRAX_DIVERGED, "step %lld: the loss is %g", (long long)t->steps,
                    isnan(*loss) ? NAN : *loss);
    return fail(err, FRAX_DIVERGED, "step %lld: the gradient of param %s is not finite (loss %g)",
                (long long)t->steps, moving_name(&t->moving, graph_of(t), bad), *loss);
}

/* ---- Optimizers inside the graph ---- */

static void set_scalars(FraxTrainer *t) {
    double n = (double)t->steps;
    *t->lr = t->fit.lr ? t->fit.lr : optimizer_defaults[t->fit.optimizer].lr;
    *t->correction1 = 1 / (1 - pow(t->fit.beta1, n));
    *t->correction2 = 1 / (1 - pow(t->fit.beta2, n));
}

/* What the step's check.* outputs say. */
static FraxStatus check_finite(const FraxTrainer *t, double loss, FraxError *err) {
    const Graph *g = graph_of(t);
    const char *prefix = "check.";
    for (size_t i = 1; i < g->noutputs; i++) {
        const Output *out = &g->outputs[i];
        if (strncmp(out->name, prefix, strlen(prefix))) continue;
        if (!isfinite(loss) && t->steps == 1) break; /* no step went before: the data are at fault */
        if (!isfinite(element_get(t->outputs[i], graph_type(g, out->value)->dtype, 0)))
            return fail(
                err, FRAX_DIVERGED,
                "step %lld: param %s is not finite any more (loss before the step: %g); a smaller learning "
                "rate or clipping may help",
                (long long)t->steps, out->name + strlen(prefix), isnan(loss) ? NAN : loss);
    }
    if (isfinite(loss)) return FRAX_OK;
    return fail(err, FRAX_DIVERGED, "step %lld: the loss is %g", (long long)t->steps,
                isnan(loss) ? NAN : loss);
}

static FraxStatus step_graph(FraxTrainer *t, double *loss, FraxError *err) {
    const Graph *g = graph_of(t);
    set_scalars(t);
    FraxStatus status = take_snapshot(t, err);
    if (!status) status = settle_snapshot(t, executable_run(t->exe.exe, t->inputs, t->outputs, err));
    t->evaluations++;
    if (status) return status;
    *loss = element_get(t->outputs[0], graph_type(g, g->outputs[0].value)->dtype, 0);
    return check_finite(t, *loss, err);
}

/* The fault of a guard, with the step and, where steps led there, what may help. */
static FraxStatus fail_range(const FraxTrainer *t, FraxError *err) {
    static const char help[] =
        "; a smaller learning rate may help, or a parameter that cannot leave the range, "
        "as lo + (hi - lo) * sigmoid(rho)";
    if (!err) return FRAX_VALUE;
    FraxError fault = *err;
    fail(err, FRAX_VALUE, "step %lld: %.*s%s", (long long)t->steps,
         (int)(sizeof fault.message - sizeof help - 32), fault.message, t->steps > 1 ? help : "");
    err->line = fault.line;
    err->column = fault.column;
    return FRAX_VALUE;
}

/* ---- Public ---- */

FraxStatus frax_trainer_create(const FraxModel *model, const FraxOptions *options, const FraxFitOptions *fit,
                               FraxTrainer **trainer, FraxError *err) {
    if (!trainer) return fail(err, FRAX_USAGE, "frax_trainer_create: trainer is NULL");
    *trainer = NULL;
    if (!handle_is(model, HANDLE_MODEL)) return handle_fail(model, "frax_trainer_create", "model", err);
    if (!fit) return fail(err, FRAX_USAGE, "frax_trainer_create: fit is NULL");
    FraxOptions defaults = frax_default_options();
    FraxStatus status = check_fit(fit, err);
    if (!status && options && options->stream)
        status = fail(err, FRAX_USAGE, "options.stream: a fit sees its data whole, or in mini-batches");
    if (!status && options && options->nlayouts)
        status = fail(err, FRAX_USAGE, "options.layouts: a trainer takes dense arrays");
    if (status) return status;
    FraxTrainer *t = mem_calloc(1, sizeof *t);
    if (!t) return fail_memory(err, "the trainer");
    t->kind = HANDLE_TRAINER;
    t->exe.kind = HANDLE_EXECUTABLE;
    t->fit = *fit;
    t->watch = watch_of(options ? options : &defaults);
    t->exe.has_state = true;
    t->loss = NAN;
    t->outcome = "not started";
    status = compile_step(t, model, options ? options : &defaults, err);
    if (!status) status = allocate(t, err);
    for (size_t i = 0; i < t->exe.counts[FRAX_PARAM] && !status; i++)
        status = frax_initial_param(&t->exe, i, fit->seed, param_buffer(t, i), err);
    if (!status) status = settle_values(t, err);
    if (!status && fit->optimizer == FRAX_LBFGS) status = start_lbfgs(t, err);
    if (status)
        frax_trainer_destroy(t);
    else
        *trainer = t;
    return status;
}

void frax_trainer_destroy(FraxTrainer *t) {
    if (!handle_is(t, HANDLE_TRAINER)) return;
    for (size_t i = 0; i < t->nowned; i++) mem_free(t->owned[i]);
    mem_free(t->owned);
    mem_free(t->inputs);
    mem_free(t->outputs);
    mem_free(t->now.data);
    mem_free(t->before.data);
    moving_free(&t->moving);
    resident_end(&t->resident);
    lbfgs_destroy(t->lbfgs);
    batches_destroy(t->batches);
    fit_keys_destroy(t->keys);
    executable_destroy(t->exe.exe);
    t->exe.kind = HANDLE_DESTROYED;
    handle_free(t);
}

/* Points to the caller's arrays; those that a device keeps are copied to it. */
static FraxStatus take_inputs(FraxTrainer *t, const void *const *inputs, FraxError *err) {
    FraxStatus status = check_inputs(&t->exe, "frax_trainer_step", inputs, err);
    for (size_t i = 0; i < t->exe.counts[FRAX_INPUT] && !status; i++) {
        t->inputs[i] = inputs[i];
        status = resident_upload(&t->resident, i, inputs[i], err);
    }
    return status;
}

static FraxStatus take_step(FraxTrainer *t, const void *const *inputs, double *loss, FraxError *err) {
    FraxStatus status;
    for (size_t i = 0; i < t->exe.counts[FRAX_INPUT]; i++) t->inputs[i] = inputs[i];
    if (has_ended(t)) {
        if (loss) *loss = t->loss;
        return FRAX_OK;
    }
    status = watch_step(t, t->steps, err);
    if (status) {
        t->outcome = stopped;
        return status;
    }
    t->steps++;
    batches_next(t->batches, t->inputs);
    fit_keys_next(t->keys, t->steps, t->inputs);
    status = t->lbfgs ? step_lbfgs(t, &t->loss, err) : step_graph(t, &t->loss, err);
    if (status == FRAX_CANCELLED) {
        t->outcome = stopped;
        t->steps--;
    }
    if (status == FRAX_DIVERGED) t->outcome = diverged;
    if (status == FRAX_VALUE) {
        t->outcome = left_range;
        fail_range(t, err);
    }
    if (loss) *loss = t->loss;
    return status;
}

FraxStatus frax_trainer_step(FraxTrainer *t, const void *const *inputs, double *loss, FraxError *err) {
    if (!handle_is(t, HANDLE_TRAINER)) return handle_fail(t, "frax_trainer_step", "trainer", err);
    FraxStatus status = take_inputs(t, inputs, err);
    return status ? status : take_step(t, inputs, loss, err);
}

FraxStatus frax_trainer_run(FraxTrainer *t, const void *const *inputs, double *loss, FraxError *err) {
    if (!handle_is(t, HANDLE_TRAINER)) return handle_fail(t, "frax_trainer_run", "trainer", err);
    t->outcome = no_more_steps;
    if (loss) *loss = NAN;
    FraxStatus status = t->fit.steps ? take_inputs(t, inputs, err) : FRAX_OK;
    for (int64_t i = 0; i < t->fit.steps && !status; i++) {
        status = take_step(t, inputs, loss, err);
        if (status) return status;
        bool stop = t->fit.progress && t->fit.progress(t->fit.context, t->steps, t->evaluations, t->loss);
        if (stop) t->outcome = stopped;
        if (has_ended(t)) t->outcome = lbfgs_outcome_text(lbfgs_outcome(t->lbfgs));
        if (stop || has_ended(t)) break;
    }
    return status;
}

int64_t frax_trainer_steps(const FraxTrainer *t) {
    return handle_is(t, HANDLE_TRAINER) ? t->steps : 0;
}

int64_t frax_trainer_evaluations(const FraxTrainer *t) {
    return handle_is(t, HANDLE_TRAINER) ? t->evaluations : 0;
}

/* A guard ends a fit where the slope may be anything. */
int frax_trainer_converged(const FraxTrainer *t) {
    return handle_is(t, HANDLE_TRAINER) && has_ended(t) && lbfgs_outcome(t->lbfgs) != LBFGS_BOUND;
}

const char *frax_trainer_outcome(const FraxTrainer *t) {
    return handle_is(t, HANDLE_TRAINER) ? t->outcome : "no trainer";
}

const FraxExecutable *frax_trainer_executable(const FraxTrainer *t) {
    return handle_is(t, HANDLE_TRAINER) ? &t->exe : NULL;
}

static FraxStatus check_param(const FraxTrainer *t, size_t i, const void *data, FraxError *err) {
    if (!handle_is(t, HANDLE_TRAINER)) return handle_fail(t, "the call for a param", "trainer", err);
    if (!data) return fail(err, FRAX_USAGE, "the pointer to a param is NULL");
    if (i < t->exe.counts[FRAX_PARAM]) return FRAX_OK;
    return fail(err, FRAX_USAGE, "there is no param %zu; the trainer has %zu", i, t->exe.counts[FRAX_PARAM]);
}

static size_t param_bytes(const FraxTrainer *t, size_t i) {
    const Graph *g = graph_of(t);
    const Type *type = graph_type(g, g->inputs[param_position(&t->exe, i)]);
    return type_bytes(type);
}

FraxStatus frax_trainer_get_param(const FraxTrainer *t, size_t i, void *data, FraxError *err) {
    FraxStatus status = check_param(t, i, data, err);
    if (status) return status;
    memcpy(data, param_buffer(t, i), param_bytes(t, i));
    return resident_download(&t->resident, param_position(&t->exe, i), data, err);
}

FraxStatus frax_trainer_set_param(FraxTrainer *t, size_t i, const void *data, FraxError *err) {
    FraxStatus status = check_param(t, i, data, err);
    if (status) return status;
    memcpy(param_buffer(t, i), data, param_bytes(t, i));
    t->before.taken = false;
    status = resident_upload(&t->resident, param_position(&t->exe, i), data, err);
    if (status) return status;
    return t->lbfgs ? start_lbfgs(t, err) : FRAX_OK;
}
