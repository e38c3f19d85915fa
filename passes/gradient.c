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

FraxStatus gradient(Graph *g, Value output, Value cotangent, const Value *wrt, size_t nwrt, Value *grads,
                    FraxError *err) {
    if (g->failed) return graph_status(g, err);
    FraxStatus status = check_cotangent(g, output, cotangent, err);
    if (status || !nwrt) return status;
    Value *holes = mem_alloc(nwrt * sizeof *holes), dy = NO_VALUE;
    if (!holes) return fail_memory(err, "differentiating");
    int64_t id = unused_hole(g);
    for (size_t i = 0; i < nwrt && !g->failed; i++) {
        holes[i] = g_hole(g, *graph_type(g, wrt[i]), id + (int64_t)i);
        grads[i] = NO_VALUE;
    }
    status = graph_status(g, err);
    if (!status) status = jvp(g, &output, 1, wrt, holes, nwrt, &dy, err);
    if (!status && dy != NO_VALUE) {
        Value ct = cotangent == NO_VALUE ? g_like(g, output, 1) : cotangent;
        transpose_linear(g, dy, ct, holes, nwrt, grads);
    }
    for (size_t i = 0; !status && i < nwrt; i++)
        if (grads[i] == NO_VALUE) grads[i] = g_like(g, wrt[i], 0);
    mem_free(holes);
    return status ? status : graph_status(g, err);
}
