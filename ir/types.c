/* types.c — shapes and types as values, and the op table. Stands at the bottom of ir. */
#include "ir.h"
#include <string.h>

/* ---- Shapes ---- */

bool shape_equal(const Shape *a, const Shape *b) {
    if (a->rank != b->rank) return false;
    for (int i = 0; i < a->rank; i++)
        if (a->dims[i] != b->dims[i]) return false;
    return true;
}

int64_t shape_size(const Shape *shape) {
    int64_t size = 1;
    for (int i = 0; i < shape->rank; i++) size *= shape->dims[i];
    return size;
}

size_t type_bytes(const Type *type) {
    return (size_t)shape_size(&type->shape) * frax_dtype_size(type->dtype);
}

bool shape_overflows(const Shape *shape) {
    int64_t bytes = 8; /* the widest element */
    for (int i = 0; i < shape->rank; i++) {
        if (shape->dims[i] < 0) return true;
        /* Empty axes do not excuse the others: strides are products too. */
        if (mul_overflows(bytes, MAX(shape->dims[i], 1), &bytes) || bytes > INT64_MAX / 2) return true;
    }
    return false;
}

void shape_strides(const Shape *shape, int64_t strides[MAX_RANK]) {
    int64_t stride = 1;
    for (int i = shape->rank - 1; i >= 0; i--) {
        strides[i] = stride;
        stride *= MAX(shape->dims[i], 1);
    }
}

const char *shape_text(const Shape *shape, char buffer[160]) {
    size_t used = 0;
    buffer[used++] = '[';
    for (int i = 0; i < shape->rank; i++)
        used += (size_t)snprintf(buffer + used, 160 - used, i ? ",%lld" : "%lld", (long long)shape->dims[i]);
    snprintf(buffer + used, 160 - used, "]");
    return buffer;
}

const char *type_text(const Type *type, char buffer[176]) {
    size_t used = (size_t)snprintf(buffer, 16, "%s", frax_dtype_name(type->dtype));
    shape_text(&type->shape, buffer + used);
    return buffer;
}

bool shape_broadcast(const Shape *a, const Shape *b, Shape *result) {
    Shape r = {.rank = MAX(a->rank, b->rank)};
    for (int i = 1; i <= r.rank; i++) { /* aligned at the last axis */
        int64_t da = i <= a->rank ? a->dims[a->rank - i] : 1, db = i <= b->rank ? b->dims[b->rank - i] : 1;
        if (da != db && da != 1 && db != 1) return false;
        r.dims[r.rank - i] = da == 1 ? db : da;
    }
    *result = r;
    return true;
}

bool dtype_is_half(FraxDType dtype) {
    return dtype == FRAX_F16 || dtype == FRAX_BF16;
}

bool dtype_is_float(FraxDType dtype) {
    return dtype <= FRAX_F16;
}

/* ---- Ops ---- */

const OpInfo op_table[OP_COUNT] = {
#define OP(name, arity, kind, infer, attrs) {#name, arity, KIND_##kind, attrs},
#include "ops.def"
};

#define X(code, name) name,
const char *const part_names[PART_COUNT] = {PARTS(X)};
const char *const engine_names[ENGINE_COUNT] = {ENGINES(X)};
const char *const init_names[INIT_COUNT] = {INITS(X)};
const char *const region_names[REGION_COUNT] = {REGIONS(X)};
#undef X

/* Which infer rules keep elements in their place. */
enum {
    POINTWISE_given = 0,
    POINTWISE_floating = 1,
    POINTWISE_number = 1,
    POINTWISE_logic = 1,
    POINTWISE_compare = 1,
    POINTWISE_cast = 1,
    POINTWISE_same = 1,
    POINTWISE_uniform = 1,
    POINTWISE_guard = 0, /* a message names the element: no pass may move or repeat them */
    POINTWISE_select = 1,
    POINTWISE_reshape = 0,
    POINTWISE_transpose = 0,
    POINTWISE_broadcast = 0,
    POINTWISE_slice = 0,
    POINTWISE_pad = 0,
    POINTWISE_concat = 0,
    POINTWISE_flip = 0,
    POINTWISE_reduce = 0,
    POINTWISE_argmax = 0,
    POINTWISE_matmul = 0,
    POINTWISE_rfft = 0,
    POINTWISE_spectral = 0,
    POINTWISE_cross_spectrum = 0,
    POINTWISE_causal_conv = 0,
    POINTWISE_causal_correlation = 0,
    POINTWISE_weights = 0,
    POINTWISE_exponential_conv = 0,
    POINTWISE_exponential_correlation = 0,
    POINTWISE_custom = 0,
};

bool op_is_pointwise(Op op) {
    static const bool pointwise[OP_COUNT] = {
#define OP(name, arity, kind, infer, attrs) POINTWISE_##infer,
#include "ops.def"
    };
    return pointwise[op];
}

bool op_is_reduction(Op op) {
    return op == OP_sum || op == OP_reduce_max || op == OP_reduce_min || op == OP_argmax;
}

bool op_from_name(const char *name, Op *op) {
    for (int i = 0; i < OP_COUNT; i++)
        if (!strcmp(op_table[i].name, name)) {
            *op = (Op)i;
            return true;
        }
    return false;
}
