/* api.h — what the implementation of frax.h shares between its files and with the command line. */
#ifndef FRAX_API_H
#define FRAX_API_H

#include "executable.h"
#include "handle.h"
#include "ir.h"

/* A compiled graph and its roles. The graph's inputs are the model's inputs, then further ones (tangents and
   the states of a stream, or a trainer's state), then the params. In the signature, further ones follow the
   params. */
struct FraxExecutable {
    HandleKind kind;
    Executable *exe;
    size_t counts[3]; /* by FraxRole: what the signature shows */
    size_t nparams;   /* the model's own */
    size_t nfurther;
    size_t nstates;               /* of a stream: the last of the further ones, and the last outputs */
    FraxStream *inputs, *outputs; /* how the model's own are streamed; NULL: not at all */
    bool has_state; /* a trainer's: needs more inputs than the signature shows, so that only the trainer runs
                       it */
};

/* Where the i-th param of the signature stands among the graph's inputs. */
static inline size_t param_position(const FraxExecutable *exe, size_t i) {
    size_t inputs = exe->counts[FRAX_INPUT];
    return i < exe->nparams ? inputs + exe->nfurther + i : inputs + i - exe->nparams;
}

/* The value at this place of the signature, in the executable's graph or the one that it is made from. */
static inline Value graph_value(const FraxExecutable *exe, const Graph *g, FraxRole role, size_t i) {
    if (role == FRAX_OUTPUT) return g->outputs[i].value;
    return g->inputs[role == FRAX_PARAM ? param_position(exe, i) : i];
}

/* The type at this place of the signature; NULL if there is none. */
const Type *signature_type(const FraxExecutable *exe, FraxRole role, size_t i);

/* The caller's pointers to the inputs: FRAX_USAGE where one is NULL or misaligned. */
FraxStatus check_inputs(const FraxExecutable *exe, const char *call, const void *const *inputs,
                        FraxError *err);

/* The model's graph for these sizes, differentiated by options->mode and streamed by options->stream. The
   caller owns it. streams (may be NULL): gets inputs, outputs and nstates. */
FraxStatus model_graph(const FraxModel *model, const FraxOptions *options, Graph **graph,
                       FraxExecutable *streams, FraxError *err);

/* Replaces *graph, the differentiated one for these sizes, by that of one chunk (streams.c). */
FraxStatus stream_model(const FraxModel *model, const FraxOptions *options, const int64_t *values,
                        Graph **graph, FraxExecutable *streams, FraxError *err);

/* The first number of a fit that is out of its range, as a name in FraxFitOptions, with its value and the
   range in words; NULL: there is none. */
const char *fit_out_of_range(const FraxFitOptions *fit, double *value, const char **range);

/* How much of FILE.frax:NAME is the path. */
size_t model_path_length(const char *spec);

/* The same in steps, for the trainer. */
FraxStatus bind_options(const FraxModel *model, const FraxOptions *options, int64_t **values, FraxError *err);
/* The output to differentiate: a floating scalar. */
FraxStatus find_objective(const Graph *g, const char *of, Value *value, FraxError *err);
/* The values that options->wrt names, allocated; params_only leaves inputs out. */
FraxStatus find_wrt(const Graph *g, const FraxOptions *options, bool params_only, Value **wrt, size_t *nwrt,
                    FraxError *err);
static inline Watch watch_of(const FraxOptions *options) {
    return (Watch){options->progress, options->log, options->context};
}
/* FRAX_VJP: the outputs become gradients, with cotangents as further inputs (vjp.c). */
FraxStatus differentiate_outputs(Graph *g, const FraxOptions *options, FraxError *err);
/* options->layouts, in the graph; exe has its counts (layouts.c). */
FraxStatus apply_layouts(const FraxExecutable *exe, Graph *g, const FraxOptions *options, FraxError *err);
/* Of a value of the signature, in elements; NULL: dense. */
const int64_t *compiled_strides(const FraxExecutable *exe, FraxRole role, size_t i);
/* Compiles g, which it takes over, with options->target and so on. */
FraxStatus compile_graph(Graph *g, const FraxOptions *options, Executable **exe, FraxError *err);

#endif
