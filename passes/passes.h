/* passes.h — differentiation, and the passes that turn a model's graph into a schedule of kernels.
 *
 * A pass reads one graph and returns another (or NULL with *err filled); the table in pipeline.c lists all of
 * them in the order they run. After each pass the graph is verified, can be printed, and can be read back.
 */
#ifndef FRAX_PASSES_H
#define FRAX_PASSES_H

#include "ir.h"

/* ---- Differentiation: both append ordinary nodes to the graph, so they can be applied again and again ----
 */

/* Forward mode. tangents[i] is the tangent of wrt[i] (same type, floating); out_tangents[j] becomes the
   tangent of outputs[j], or NO_VALUE where it is zero. */
FraxStatus jvp(Graph *g, const Value *outputs, size_t noutputs, const Value *wrt, const Value *tangents,
               size_t nwrt, Value *out_tangents, FraxError *err);

/* Reverse mode: jvp, then transposition. grads[i] becomes Jᵀ·cotangent for wrt[i], of wrt[i]'s type (a zero
   constant where nothing depends on it). cotangent NO_VALUE stands for ones, allowed when `output` is a
   floating scalar. */
FraxStatus gradient(Graph *g, Value output, Value cotangent, const Value *wrt, size_t nwrt, Value *grads,
                    FraxError *err);
/* The same for several outputs, each with its cotangent (or NO_VALUE, as above): grads[i] is the sum. */
FraxStatus vjp(Graph *g, const Value *outputs, const Value *cotangents, size_t noutputs, const Value *wrt,
               size_t nwrt, Value *grads, FraxError *err);

/* ---- Optimizers: one step as nodes of the graph ---- */

/* Inputs f64[] named step.NAME that the caller sets for each step t = 1, 2, …: the learning rate, and Adam's
   bias corrections 1/(1 − β₁ᵗ) and 1/(1 − β₂ᵗ). */
#define STEP_SCALARS(X) X(lr) X(correction1) X(correction2)

/* Appends the update of params[i] by its gradient grads[i] (overwritten). Further inputs: step.*, and
   state.*, which start at zero. Further outputs: each param and each state under its own name, donated; and
   check.PARAM, a scalar that is finite if and only if the new value is. Not for FRAX_LBFGS. */
FraxStatus optimizer_append(Graph *g, const FraxFitOptions *fit, const Value *params, Value *grads, size_t n,
                            FraxError *err);

/* ---- Notes ---- */

/* Notes in the graph which engine each convolution of engine=auto gets, and why. The pass `engine` does so
   too. */
void note_engines(Graph *g);

/* ---- Passes ---- */

/* The order is the order of running. name, one line for `frax help passes`. */
#define PASSES(X)                                                                                            \
    X(simplify, "algebraic rules; custom derivatives and gradient stops are resolved")                       \
    X(cse, "common subexpressions become one node")                                                          \
    X(dce, "nodes that no output needs are dropped")                                                         \
    X(guard, "guards become checks that the run makes outside its kernels")                                  \
    X(sink_broadcast, "pointwise ops move above broadcasts, onto fewer elements")                            \
    X(layout, "transposes are absorbed into matmul operands and into each other")                            \
    X(engine, "each causal convolution gets its engine: direct, padded spectra, or a matrix product")        \
    X(strides, "arrays of the caller that cannot be used as they lie get copies")                            \
    X(fuse, "nodes are gathered into kernels; every stored value names its kernel")                          \
    X(plan, "stored values get their place in memory")

typedef Graph *Pass(const Graph *graph, FraxError *err);

#define X(name, summary) Graph *pass_##name(const Graph *graph, FraxError *err);
PASSES(X)
#undef X

typedef struct PassInfo {
    const char *name, *summary;
    Pass *run;
} PassInfo;

extern const PassInfo pass_table[];
extern const size_t pass_count;

/* Replaces *graph by the result of all passes up to and including `until` (NULL: all). On failure *graph is
 * destroyed and NULL. */
FraxStatus run_passes(Graph **graph, const char *until, FraxError *err);
/* The same for someone who waits. */
FraxStatus run_passes_watched(Graph **graph, const char *until, const Watch *watch, FraxError *err);

/* FRAX_SHAPE, with line and column but not yet located, where an op reads the order of the rows: the
   leading axis, called `symbol`, of the inputs marked in `batched`. */
FraxStatus rows_any_order(const Graph *graph, const bool *batched, const char *symbol, FraxError *err);

#endif
