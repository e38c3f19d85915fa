/* eager_shape.c — leaves and the ops that only move elements: views where strides can say it, else copies. */
#include "eager.h"
#include "half.h"
#include <string.h>

/* ---- Leaves: inputs are bound before the walk ---- */

/* 0, 1, 2, … along the axis, the same along the others. */
static FraxStatus eager_iota(Run *run, Value v) {
    const Node *node = graph_node(run->graph, v);
    FraxDType dtype = node->type.dtype;
    int axis = node->attrs->axis;
    int64_t n = node->type.shape.dims[axis];
    View line;
    FraxStatus status = view_create(run, dtype, &SHAPE(n), &line);
    if (status) return status;
    if (dtype == FRAX_F64)
        for (int64_t i = 0; i < n; i++) ((double *)line.data)[i] = (double)i;
    else if (dtype == FRAX_F32)
        for (int64_t i = 0; i < n; i++) ((float *)line.data)[i] = (float)i;
    else
        for (int64_t i = 0; i < n; i++) element_set(line.data, dtype, i, (double)i);
    line.shape = node->type.shape;
    memset(line.strides, 0, sizeof line.strides);
    line.strides[axis] = 1;
    run->values[v] = line;
    return FRAX_OK;
}

FraxStatus eager_given(Run *run, Value v) {
    const Node *node = graph_node(run->graph, v);
    if (node->op == OP_hole)
        return fail(run->err, FRAX_INTERNAL, "a hole for a tangent (n = %lld) cannot be executed",
                    (long long)node->attrs->n);
    if (node->op == OP_iota) return eager_iota(run, v);
    if (node->op == OP_constant)
        run->values[v] = (View){
            .data = (char *)&run->eager->constants[v], .dtype = node->type.dtype, .shape = node->type.shape};
    return FRAX_OK;
}

/* ---- Views ---- */

FraxStatus eager_same(Run *run, Value v) {
    run->values[v] = view_share(run_operand(run, v, 0));
    return FRAX_OK;
}

FraxStatus eager_guard(Run *run, Value v) {
    enum { PIECE = 64 };
    const View *x = run_operand(run, v, 0);
    const Node *node = graph_node(run->graph, v);
    Walk walk = walk_create(x);
    int64_t n = shape_size(&x->shape);
    double piece[PIECE]; /* room for the widest dtype */
    for (int64_t start = 0; start < n; start += PIECE) {
        int64_t count = MIN(PIECE, n - start);
        walk_read(&walk, start, count, piece);
        int64_t i = guard_find(node, x->dtype, piece, count);
        if (i < count)
            return guard_test(run->graph, node, element_get(piece, x->dtype, i), start + i, run->passed,
                              run->err);
    }
    return eager_same(run, v);
}

/* A function with a derivative of its own has the value of its first operand. */
FraxStatus eager_custom(Run *run, Value v) {
    return eager_same(run, v);
}

FraxStatus eager_transpose(Run *run, Value v) {
    View x = view_share(run_operand(run, v, 0));
    run->values[v] = view_permuted(&x, graph_node(run->graph, v)->attrs->perm);
    return FRAX_OK;
}

FraxStatus eager_broadcast(Run *run, Value v) {
    View y = view_share(run_operand(run, v, 0));
    const Shape *shape = &graph_type(run->graph, v)->shape;
    for (int i = 0; i < shape->rank; i++)
        if (y.shape.dims[i] != shape->dims[i]) y.strides[i] = 0;
    y.shape = *shape;
    run->values[v] = y;
    return FRAX_OK;
}

static void move_start(View *view, int64_t elements) {
    view->data += elements * (int64_t)frax_dtype_size(view->dtype);
}

FraxStatus eager_slice(Run *run, Value v) {
    const Node *node = graph_node(run->graph, v);
    View y = view_share(run_operand(run, v, 0));
    int64_t start = 0;
    y.shape = node->type.shape;
    for (int i = 0; i < y.shape.rank; i++) {
        start += node->attrs->lo[i] * y.strides[i];
        if (y.shape.dims[i] > 1) y.strides[i] *= node->attrs->step[i];
    }
    if (shape_size(&y.shape)) move_start(&y, start);
    run->values[v] = y;
    return FRAX_OK;
}

FraxStatus eager_flip(Run *run, Value v) {
    View y = view_share(run_operand(run, v, 0));
    int64_t start = 0;
    for (int i = 0; i < y.shape.rank; i++) {
        if (!(graph_node(run->graph, v)->attrs->axes >> i & 1)) continue;
        start += (y.shape.dims[i] - 1) * y.strides[i];
        y.strides[i] = -y.strides[i];
    }
    if (shape_size(&y.shape)) move_start(&y, start);
    run->values[v] = y;
    return FRAX_OK;
}

FraxStatus eager_reshape(Run *run, Value v) {
    const Node *node = graph_node(run->graph, v);
    const View *x = run_operand(run, v, 0);
    View *y = &run->values[v];
    if (view_is_dense(x)) {
        *y = view_share(x);
        y->shape = node->type.shape;
        shape_strides(&y->shape, y->strides);
        return FRAX_OK;
    }
    FraxStatus status = view_result(run, v);
    if (status) return status;
    View as_x = *y;
    as_x.shape = x->shape;
    shape_strides(&as_x.shape, as_x.strides);
    view_copy(run, &as_x, x);
    return FRAX_OK;
}

/* ---- Copies ---- */

typedef struct Zeros {
    char *data;
    size_t bytes;
} Zeros;

static void zero_chunk(const void *context, int64_t chunk) {
    const Zeros *z = context;
    size_t start = (size_t)chunk * CHUNK * 8;
    memset(z->data + start, 0, MIN(z->bytes - start, (size_t)CHUNK * 8));
}

FraxStatus eager_pad(Run *run, Value v) {
    const Node *node = graph_node(run->graph, v);
    const View *x = run_operand(run, v, 0);
    FraxStatus status = view_result(run, v);
    if (status) return status;
    View inside = run->values[v];
    Zeros z = {inside.data, (size_t)shape_size(&inside.shape) * frax_dtype_size(inside.dtype)};
    for_chunks(run, (double)z.bytes / 8, chunks_of((int64_t)z.bytes, CHUNK * 8), zero_chunk, &z);
    int64_t start = 0;
    inside.shape = x->shape;
    for (int i = 0; i < x->shape.rank; i++) {
        start += node->attrs->lo[i] * inside.strides[i];
        if (x->shape.dims[i] > 1) inside.strides[i] *= node->attrs->step[i];
    }
    if (shape_size(&x->shape)) move_start(&inside, start);
    view_copy(run, &inside, x);
    return FRAX_OK;
}

FraxStatus eager_concat(Run *run, Value v) {
    const Node *node = graph_node(run->graph, v);
    int axis = node->attrs->axis;
    FraxStatus status = view_result(run, v);
    if (status) return status;
    View part = run->values[v];
    for (int i = 0; i < node->nargs; i++) {
        const View *x = run_operand(run, v, i);
        part.shape = x->shape;
        view_copy(run, &part, x);
        move_start(&part, x->shape.dims[axis] * part.strides[axis]);
    }
    return FRAX_OK;
}
