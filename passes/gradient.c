/* gradient.c — reverse mode: forward mode along unknown tangents (holes), then the transpose of that linear
 * map.
 *
 * Everything that depends on a hole is linear in it and stays behind as dead nodes; the gradient itself
 * depends on no hole. The result is ordinary nodes, so it can be differentiated again.
 */
#include "passes.h"
#include "transpose.h"

/* An id above those of all holes, so that new holes are not shared with others. */
static int64_t unused_hole(const Graph *g) {
    int64_t id = 0;
    for (size_t v = 0; v < g->count; v++)
        if (g->nodes[v].op == OP_hole) id = MAX(id, g->nodes[v].attrs->n + 1);
    return id;
}

static FraxStatus check_cotangent(const Graph *g, Value output, Value cotangent, FraxError *err) {
    const Type *y = graph_type(g, output);
    char a[176], b[176];
    if (!dtype_is_float(y->dtype))
        return fail(err, FRAX_NOT_DIFFERENTIABLE,
                    "the output to differentiate has type %s, expected a floating dtype", type_text(y, a));
    if (cotangent == NO_VALUE && y->shape.rank > 0)
        return fail(err, FRAX_SHAPE, "the output to differentiate has type %s, expected a scalar",
                    type_text(y, a));
    if (cotangent == NO_VALUE) return FRAX_OK;
    const Type *ct = graph_type(g, cotangent);
    if (y->dtype != ct->dtype || !shape_equal(&y->shape, &ct->shape))
        return fail(err, FRAX_SHAPE, "the cotangent of an output of type %s has type %s", type_text(y, a),
                    type_text(ct, b));
    return FRAX_OK;
}

static FraxStatus check_cotangents(const Graph *g, const Value *outputs, const Value *cotangents, size_t n,
                                   FraxError *err) {
    FraxStatus status = FRAX_OK;
    for (size_t j = 0; j < n && !status; j++) status = check_cotangent(g, outputs[j], cotangents[j], err);
    return status;
}

/* What the walk needs: a tangent and a cotangent for each output, a hole for each of wrt. */
typedef struct Walk {
    Value *dy, *ct, *holes;
} Walk;

static FraxStatus linearise(Graph *g, const Value *outputs, const Value *cotangents, size_t noutputs,
                            const Value *wrt, size_t nwrt, const Walk *w, FraxError *err) {
    int64_t id = unused_hole(g);
    for (size_t i = 0; i < nwrt && !g->failed; i++)
        w->holes[i] = g_hole(g, *graph_type(g, wrt[i]), id + (int64_t)i);
    FraxStatus status = graph_status(g, err);
    if (!status) status = jvp(g, outputs, noutputs, wrt, w->holes, nwrt, w->dy, err);
    for (size_t j = 0; j < noutputs && !status; j++)
        w->ct[j] = cotangents[j] == NO_VALUE ? g_like(g, outputs[j], 1) : cotangents[j];
    return status;
}

FraxStatus vjp(Graph *g, const Value *outputs, const Value *cotangents, size_t noutputs, const Value *wrt,
               size_t nwrt, Value *grads, FraxError *err) {
    if (g->failed) return graph_status(g, err);
    FraxStatus status = check_cotangents(g, outputs, cotangents, noutputs, err);
    if (status || !nwrt) return status;
    Value *values = mem_alloc((2 * noutputs + nwrt) * sizeof *values);
    if (!values) return fail_memory(err, "differentiating");
    Walk w = {values, values + noutputs, values + 2 * noutputs};
    for (size_t i = 0; i < nwrt; i++) grads[i] = NO_VALUE;
    status = linearise(g, outputs, cotangents, noutputs, wrt, nwrt, &w, err);
    if (!status && noutputs) transpose_linear(g, w.dy, w.ct, noutputs, w.holes, nwrt, grads);
    for (size_t i = 0; !status && i < nwrt; i++)
        if (grads[i] == NO_VALUE) grads[i] = g_like(g, wrt[i], 0);
    mem_free(values);
    return status ? status : graph_status(g, err);
}

FraxStatus gradient(Graph *g, Value output, Value cotangent, const Value *wrt, size_t nwrt, Value *grads,
                    FraxError *err) {
    return vjp(g, &output, &cotangent, 1, wrt, nwrt, grads, err);
}
