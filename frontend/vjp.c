/* vjp.c — FRAX_VJP: cotangents times the Jacobian, as often as options->order asks.
 *
 * One application replaces the outputs of the graph, a function F of wrt, by those of
 *
 *     (wrt, cotangents) ↦ Σ over the floating outputs of F: cotangentᵀ · ∂output/∂wrt
 *
 * which is again a function of what it differentiates by: the next application takes the cotangents into wrt.
 */
#include "api.h"
#include "passes.h"

/* A function in the graph: its floating outputs and the names they have, and what it is differentiated by. */
typedef struct Function {
    Value *wrt, *outputs, *cotangents;
    size_t nwrt, noutputs;
} Function;

static const char *value_name(const Graph *g, Value v) {
    return graph_node(g, v)->attrs->name;
}

static Value add_cotangent(Graph *g, const Output *output) {
    const char *full = arena_printf(&g->arena, "cotangent.%s", output->name);
    if (!full) return graph_fail(g, FRAX_MEMORY, "out of memory for the derivatives' names");
    return g_input(g, full, *graph_type(g, output->value));
}

static FraxStatus gather_outputs(Graph *g, Function *f, FraxError *err) {
    Value *values = mem_calloc(MAX(2 * g->noutputs, 1), sizeof *values);
    if (!values) return fail_memory(err, "cotangents");
    f->outputs = values;
    f->cotangents = values + g->noutputs;
    for (size_t i = 0; i < g->noutputs; i++) {
        if (!dtype_is_float(graph_type(g, g->outputs[i].value)->dtype)) continue;
        f->cotangents[f->noutputs] = add_cotangent(g, &g->outputs[i]);
        f->outputs[f->noutputs++] = g->outputs[i].value;
    }
    return graph_status(g, err);
}

static void replace_outputs(Graph *g, const Function *f, const Value *grads, int order) {
    g->noutputs = 0;
    for (size_t i = 0; i < f->nwrt; i++) {
        const char *of = value_name(g, f->wrt[i]),
                   *full = order > 1 ? arena_printf(&g->arena, "grad%d.%s", order, of)
                                     : arena_printf(&g->arena, "grad.%s", of);
        if (full)
            graph_output(g, full, grads[i]);
        else
            graph_fail(g, FRAX_MEMORY, "out of memory for the derivatives' names");
    }
}

/* The order-th application. f->wrt gains the cotangents. */
static FraxStatus apply(Graph *g, Function *f, int order, FraxError *err) {
    Value *grads = mem_calloc(f->nwrt, sizeof *grads), *wrt = NULL;
    FraxStatus status = grads ? gather_outputs(g, f, err) : fail_memory(err, "derivatives");
    if (!status) status = vjp(g, f->outputs, f->cotangents, f->noutputs, f->wrt, f->nwrt, grads, err);
    if (!status) replace_outputs(g, f, grads, order);
    if (!status && !(wrt = mem_calloc(f->nwrt + f->noutputs, sizeof *wrt)))
        status = fail_memory(err, "derivatives");
    if (!status) {
        for (size_t i = 0; i < f->nwrt; i++) wrt[i] = f->wrt[i];
        for (size_t i = 0; i < f->noutputs; i++) wrt[f->nwrt + i] = f->cotangents[i];
        mem_free(f->wrt);
        f->wrt = wrt;
        f->nwrt += f->noutputs;
    }
    mem_free(grads);
    mem_free(f->outputs);
    f->outputs = f->cotangents = NULL;
    f->noutputs = 0;
    return status ? status : graph_status(g, err);
}

FraxStatus differentiate_outputs(Graph *g, const FraxOptions *options, FraxError *err) {
    if (options->of)
        return fail(err, FRAX_USAGE,
                    "options.of is %s, but FRAX_VJP has a cotangent for every floating output", options->of);
    if (options->stream)
        return fail(err, FRAX_UNSUPPORTED,
                    "FRAX_VJP cannot stream: cotangents pass through the model from the end of the signal");
    Function f = {0};
    FraxStatus status = find_wrt(g, options, false, &f.wrt, &f.nwrt, err);
    for (int order = 1; order <= MAX(options->order, 1) && !status; order++)
        status = apply(g, &f, order, err);
    mem_free(f.wrt);
    return status;
}
