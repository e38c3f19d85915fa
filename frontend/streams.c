/* streams.c — a model streamed along one of its sizes: which inputs have that size, and their places.
 *
 * The graph is lowered for the whole signal, differentiated, and handed to passes/stream.c with the streamed
 * axis of each input. What further inputs there are (tangents) have the axes of what they belong to.
 */
#include "api.h"
#include "lower.h"
#include "stream.h"
#include <string.h>

FraxStatus model_find_size(const FraxModel *model, const char *name, size_t *index, FraxError *err) {
    for (*index = 0; *index < model->nsizes; ++*index)
        if (!strcmp(model->sizes[*index], name)) return FRAX_OK;
    const char *near = nearest_name(name, model->sizes, model->nsizes);
    return fail(err, FRAX_NAME,
                near ? "model %s has no size '%s'; did you mean '%s'?" : "model %s has no size '%s'",
                model->decl->name.text, name, near);
}

static bool mentions(const Expr *e, const char *symbol) {
    if (e->kind == EXPR_NAME) return !strcmp(e->text, symbol);
    for (size_t i = 0; (e->kind == EXPR_UNARY || e->kind == EXPR_BINARY) && i < e->count; i++)
        if (mentions(e->items[i], symbol)) return true;
    return false;
}

FraxStatus model_size_axis(const FraxModel *model, size_t size, size_t input, int *axis, FraxError *err) {
    const Decl *decl = &model->decl->inputs[input];
    const char *symbol = model->sizes[size], *why = NULL;
    *axis = NOT_STREAMED;
    for (int i = 0; i < decl->type.rank; i++) {
        const Expr *e = decl->type.dims[i];
        if (!mentions(e, symbol)) continue;
        if (e->kind != EXPR_NAME) why = "in an expression";
        if (*axis != NOT_STREAMED) why = "on two axes";
        *axis = i;
    }
    if (!why) return FRAX_OK;
    FraxError local;
    err = err ? err : &local;
    fail(err, FRAX_SHAPE, "streaming %s: input %s is %s, with %s %s; expected %s alone on one axis", symbol,
         decl->name.text, model->types[FRAX_INPUT][input], symbol, why, symbol);
    err->line = decl->name.loc.line;
    err->column = decl->name.loc.column;
    return model_locate(model, err);
}

static const char *input_name(const Graph *g, size_t i) {
    return graph_node(g, g->inputs[i])->attrs->name;
}

/* axes[i] of each input of the graph. */
static FraxStatus input_axes(const FraxModel *model, size_t size, const Graph *g, int *axes, FraxError *err) {
    size_t n = model_count(model, FRAX_INPUT), streamed = 0;
    const char *prefix = "tangent.";
    for (size_t i = 0; i < g->ninputs; i++) axes[i] = NOT_STREAMED;
    for (size_t i = 0; i < n; i++) {
        FraxStatus status = model_size_axis(model, size, i, &axes[i], err);
        if (status) return status;
        streamed += axes[i] != NOT_STREAMED;
        for (size_t k = n; k < g->ninputs; k++)
            if (!strncmp(input_name(g, k), prefix, strlen(prefix)) &&
                !strcmp(input_name(g, k) + strlen(prefix), input_name(g, i)))
                axes[k] = axes[i];
    }
    if (streamed) return FRAX_OK;
    return fail(err, FRAX_SHAPE, "streaming %s: no input of model %s has that size", model->sizes[size],
                model->decl->name.text);
}

/* Fills streams->inputs, outputs and nstates; its tables belong to the caller. */
static FraxStatus note_streams(const StreamSpec *spec, const StreamPlace *places, size_t nstates,
                               size_t ninputs, size_t noutputs, FraxExecutable *streams, FraxError *err) {
    streams->inputs = mem_calloc(MAX(ninputs, 1), sizeof *streams->inputs);
    streams->outputs = mem_calloc(MAX(noutputs, 1), sizeof *streams->outputs);
    if (!streams->inputs || !streams->outputs) return fail_memory(err, "streaming a model");
    for (size_t i = 0; i < ninputs; i++)
        streams->inputs[i] = (FraxStream){spec->axes[i], 0, spec->axes[i] == NOT_STREAMED ? 1 : spec->length};
    for (size_t i = 0; i < noutputs; i++)
        streams->outputs[i] = (FraxStream){places[i].axis, places[i].skip, places[i].length};
    streams->nstates = nstates;
    return FRAX_OK;
}

FraxStatus stream_model(const FraxModel *model, const FraxOptions *options, const int64_t *values,
                        Graph **graph, FraxExecutable *streams, FraxError *err) {
    size_t size, nstates = 0;
    FraxError fault = {0};
    FraxStatus status = model_find_size(model, options->stream, &size, err);
    if (status) return status;
    if (options->chunk < 1)
        return fail(err, FRAX_USAGE, "options.chunk is %lld; expected 1 or more samples of %s",
                    (long long)options->chunk, options->stream);
    if (values[size] < 2)
        return fail(err, FRAX_SHAPE, "streaming %s: the signal has %lld samples; expected 2 or more",
                    options->stream, (long long)values[size]);
    int *axes = mem_calloc(MAX((*graph)->ninputs, 1), sizeof *axes);
    StreamPlace *places = mem_calloc(MAX((*graph)->noutputs, 1), sizeof *places);
    StreamSpec spec = {options->stream, values[size], options->chunk, axes};
    status = axes && places ? input_axes(model, size, *graph, axes, &fault)
                            : fail_memory(&fault, "streaming a model");
    if (!status) {
        Graph *chunk = stream_graph(*graph, &spec, places, &nstates, &fault);
        status = chunk ? FRAX_OK : fault.status == FRAX_MEMORY ? FRAX_MEMORY : model_locate(model, &fault);
        if (chunk && streams)
            status =
                note_streams(&spec, places, nstates, (*graph)->ninputs, (*graph)->noutputs, streams, &fault);
        graph_destroy(*graph);
        *graph = chunk;
    }
    mem_free(axes);
    mem_free(places);
    if (status && err) *err = fault;
    return status;
}
