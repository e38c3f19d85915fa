/* infer.c — the shape and dtype rule of every op: infer_<rule>, named by the op table.
 *
 * The rules are the definition of a well-formed node: the builder, the reader and the verifier all use them.
 * A message says what the op got and what it expects.
 */
#include "ir.h"
#include <math.h>
#include <string.h>

typedef struct Infer {
    const Graph *graph;
    Op op;
    const Type *args[3]; /* the first three operands */
    const Value *values;
    int nargs;
    const Attrs *attrs;
    const Type *given;
    Type *type;
    FraxError *err;
} Infer;

typedef FraxStatus InferRule(const Infer *in);

static const char *op_name(const Infer *in) {
    return op_table[in->op].name;
}

static FraxStatus wrong_dtype(const Infer *in, const char *expected) {
    char got[176];
    return fail(in->err, FRAX_TYPE, "%s: got %s, expected %s", op_name(in), type_text(in->args[0], got),
                expected);
}

static FraxStatus wrong_pair(const Infer *in, int i, int j, const char *expected) {
    char a[176], b[176];
    FraxStatus status = in->args[i]->dtype != in->args[j]->dtype ? FRAX_TYPE : FRAX_SHAPE;
    return fail(in->err, status, "%s: got %s and %s, expected %s", op_name(in), type_text(in->args[i], a),
                type_text(in->args[j], b), expected);
}

static bool same_type(const Type *a, const Type *b) {
    return a->dtype == b->dtype && shape_equal(&a->shape, &b->shape);
}

static FraxStatus need_given(const Infer *in) {
    if (!in->given) return fail(in->err, FRAX_INTERNAL, "%s: built without a type", op_name(in));
    return FRAX_OK;
}

/* ---- Pointwise rules ---- */

static FraxStatus operands_agree(const Infer *in) {
    for (int i = 1; i < in->nargs; i++)
        if (!same_type(in->args[0], in->args[i]))
            return wrong_pair(in, 0, i, "operands of one dtype and shape");
    *in->type = *in->args[0];
    return FRAX_OK;
}

/* i32 and bool constants hold what their dtype can. */
static FraxStatus constant_fits(const Infer *in) {
    double v = in->attrs->value;
    char type[176], number[32];
    bool fits = in->given->dtype == FRAX_I32    ? v == trunc(v) && v >= INT32_MIN && v <= INT32_MAX
                : in->given->dtype == FRAX_BOOL ? v == 0 || v == 1
                                                : true;
    if (fits) return FRAX_OK;
    return fail(in->err, FRAX_VALUE, "constant: %s is not a value of %s", double_text(v, number),
                type_text(in->given, type));
}

static FraxStatus infer_given(const Infer *in) {
    if (need_given(in)) return FRAX_INTERNAL;
    if (op_table[in->op].attrs & A_NAME && !in->attrs->name)
        return fail(in->err, FRAX_NAME, "%s: it has no name", op_name(in));
    if (in->op == OP_constant && constant_fits(in)) return FRAX_VALUE;
    if (in->op == OP_iota && in->attrs->axis >= in->given->shape.rank)
        return fail(in->err, FRAX_SHAPE, "iota: axis %d is outside rank %d", in->attrs->axis,
                    in->given->shape.rank);
    *in->type = *in->given;
    return FRAX_OK;
}

/* Of the derivatives that the op's attributes n and m count. */
static int64_t highest_order(Op op) {
    if (op == OP_polygamma || op == OP_complex_lgamma) return MAX_POLYGAMMA;
    return op == OP_mittag_leffler ? MAX_MITTAG_LEFFLER : 0;
}

static FraxStatus infer_floating(const Infer *in) {
    if (!dtype_is_float(in->args[0]->dtype)) return wrong_dtype(in, "a floating dtype");
    int64_t order = MAX(in->attrs->n, in->attrs->m), most = highest_order(in->op);
    if (MIN(in->attrs->n, in->attrs->m) < 0 || order > most)
        return fail(in->err, FRAX_VALUE, "%s: order %lld, expected 0…%lld", op_name(in),
                    (long long)(order > most ? order : MIN(in->attrs->n, in->attrs->m)), (long long)most);
    return operands_agree(in);
}

static FraxStatus infer_number(const Infer *in) {
    if (in->args[0]->dtype == FRAX_BOOL) return wrong_dtype(in, "numbers");
    return operands_agree(in);
}

static FraxStatus infer_logic(const Infer *in) {
    if (in->args[0]->dtype != FRAX_BOOL) return wrong_dtype(in, "bool");
    return operands_agree(in);
}

static FraxStatus infer_compare(const Infer *in) {
    FraxStatus status = operands_agree(in);
    in->type->dtype = FRAX_BOOL;
    return status;
}

static FraxStatus infer_cast(const Infer *in) {
    if (need_given(in)) return FRAX_INTERNAL;
    *in->type = (Type){in->given->dtype, in->args[0]->shape};
    return FRAX_OK;
}

static FraxStatus infer_uniform(const Infer *in) {
    if (need_given(in)) return FRAX_INTERNAL;
    FraxDType dtype = in->given->dtype;
    char type[176];
    if (in->args[0]->dtype != FRAX_I32) return wrong_dtype(in, "i32");
    if (dtype != FRAX_F64 && dtype != FRAX_F32)
        return fail(in->err, FRAX_TYPE, "uniform: got %s, expected f64 or f32", type_text(in->given, type));
    int64_t stream = in->attrs->n, which = in->attrs->m, most = dtype == FRAX_F64 ? 1 : 3;
    if (stream < 0 || stream > UINT32_MAX || which < 0 || which > most)
        return fail(in->err, FRAX_VALUE, "uniform: number %lld of stream %lld, expected 0…%lld of 0…2^32-1",
                    (long long)which, (long long)stream, (long long)most);
    FraxStatus status = operands_agree(in);
    in->type->dtype = dtype;
    return status;
}

static FraxStatus infer_same(const Infer *in) {
    return operands_agree(in);
}

/* The whole of what a guard sees a chunk of. */
static FraxStatus guard_place(const Infer *in) {
    const Attrs *at = in->attrs;
    Shape whole = in->args[0]->shape;
    if (!at->n && !at->axis && !at->lag) return FRAX_OK;
    if (at->axis < whole.rank) whole.dims[at->axis] = at->n;
    if (at->n >= 1 && at->axis < whole.rank && at->lag >= 0 && !shape_overflows(&whole)) return FRAX_OK;
    return fail(in->err, FRAX_SHAPE, "guard: %lld elements along axis %d, lag %lld, is no place in a stream",
                (long long)at->n, at->axis, (long long)at->lag);
}

static FraxStatus infer_guard(const Infer *in) {
    const Attrs *at = in->attrs;
    if (!dtype_is_float(in->args[0]->dtype)) return wrong_dtype(in, "a floating dtype");
    if (!at->name || !at->expected)
        return fail(in->err, FRAX_NAME, "guard: it has no %s",
                    at->name ? "text of what is expected" : "name");
    if (!(at->value <= at->value2))
        return fail(in->err, FRAX_VALUE, "guard: the range %g to %g is empty", at->value, at->value2);
    FraxStatus status = guard_place(in);
    if (status) return status;
    return operands_agree(in);
}

static FraxStatus infer_select(const Infer *in) {
    if (in->args[0]->dtype != FRAX_BOOL) return wrong_dtype(in, "a bool condition");
    if (!same_type(in->args[1], in->args[2])) return wrong_pair(in, 1, 2, "branches of one dtype and shape");
    if (!shape_equal(&in->args[0]->shape, &in->args[1]->shape))
        return wrong_pair(in, 0, 1, "a condition of the branches' shape");
    *in->type = *in->args[1];
    return FRAX_OK;
}

/* ---- Shape rules ---- */

static FraxStatus infer_reshape(const Infer *in) {
    if (need_given(in)) return FRAX_INTERNAL;
    char a[176], b[160];
    if (shape_size(&in->args[0]->shape) != shape_size(&in->given->shape))
        return fail(in->err, FRAX_SHAPE, "reshape: %s has %lld elements, shape %s has %lld",
                    type_text(in->args[0], a), (long long)shape_size(&in->args[0]->shape),
                    shape_text(&in->given->shape, b), (long long)shape_size(&in->given->shape));
    *in->type = (Type){in->args[0]->dtype, in->given->shape};
    return FRAX_OK;
}

static FraxStatus infer_transpose(const Infer *in) {
    const Shape *x = &in->args[0]->shape;
    uint32_t seen = 0;
    *in->type = *in->args[0];
    for (int i = 0; i < x->rank; i++) {
        int axis = in->attrs->perm[i];
        if (axis >= x->rank || seen >> axis & 1)
            return fail(in->err, FRAX_SHAPE, "transpose: the axes are not a permutation of 0…%d",
                        x->rank - 1);
        seen |= 1u << axis;
        in->type->shape.dims[i] = x->dims[axis];
    }
    return FRAX_OK;
}

static FraxStatus infer_broadcast(const Infer *in) {
    if (need_given(in)) return FRAX_INTERNAL;
    const Shape *x = &in->args[0]->shape, *to = &in->given->shape;
    bool fits = x->rank == to->rank;
    for (int i = 0; fits && i < x->rank; i++) fits = x->dims[i] == to->dims[i] || x->dims[i] == 1;
    char a[160], b[160];
    if (!fits)
        return fail(in->err, FRAX_SHAPE, "broadcast: %s does not fit %s", shape_text(x, a),
                    shape_text(to, b));
    *in->type = (Type){in->args[0]->dtype, *to};
    return FRAX_OK;
}

static FraxStatus infer_slice(const Infer *in) {
    const Attrs *at = in->attrs;
    *in->type = *in->args[0];
    for (int i = 0; i < in->type->shape.rank; i++) {
        int64_t n = in->type->shape.dims[i];
        if (at->lo[i] < 0 || at->lo[i] > at->hi[i] || at->hi[i] > n || at->step[i] < 1)
            return fail(in->err, FRAX_SHAPE, "slice: %lld:%lld:%lld is outside axis %d of size %lld",
                        (long long)at->lo[i], (long long)at->hi[i], (long long)at->step[i], i, (long long)n);
        int64_t length = at->hi[i] - at->lo[i];
        in->type->shape.dims[i] = length ? (length - 1) / at->step[i] + 1 : 0;
    }
    return FRAX_OK;
}

static FraxStatus infer_pad(const Infer *in) {
    const Attrs *at = in->attrs;
    *in->type = *in->args[0];
    for (int i = 0; i < in->type->shape.rank; i++) {
        int64_t n = in->type->shape.dims[i], spread;
        if (at->lo[i] < 0 || at->hi[i] < 0 || at->step[i] < 1 ||
            mul_overflows(MAX(n - 1, 0), at->step[i], &spread) ||
            __builtin_add_overflow(spread, n > 0, &spread) ||
            __builtin_add_overflow(spread, at->lo[i], &spread) ||
            __builtin_add_overflow(spread, at->hi[i], &spread))
            return fail(in->err, FRAX_SHAPE,
                        "pad: %lld before, %lld after, step %lld on axis %d of size %lld",
                        (long long)at->lo[i], (long long)at->hi[i], (long long)at->step[i], i, (long long)n);
        in->type->shape.dims[i] = spread;
    }
    return FRAX_OK;
}

static FraxStatus infer_concat(const Infer *in) {
    int axis = in->attrs->axis;
    Type type = *in->args[0];
    if (axis >= type.shape.rank)
        return fail(in->err, FRAX_SHAPE, "concat: axis %d is outside rank %d", axis, type.shape.rank);
    for (int i = 1; i < in->nargs; i++) {
        Type next = *graph_type(in->graph, in->values[i]);
        int64_t grown = axis < next.shape.rank ? next.shape.dims[axis] : 0;
        if (axis < next.shape.rank) next.shape.dims[axis] = type.shape.dims[axis];
        char a[176], b[176];
        if (!same_type(&type, &next))
            return fail(in->err, type.dtype != next.dtype ? FRAX_TYPE : FRAX_SHAPE,
                        "concat: got %s and %s, expected one dtype and equal sizes off axis %d",
                        type_text(in->args[0], a), type_text(graph_type(in->graph, in->values[i]), b), axis);
        if (__builtin_add_overflow(type.shape.dims[axis], grown, &type.shape.dims[axis]))
            return fail(in->err, FRAX_SHAPE, "concat: axis %d overflows", axis);
    }
    *in->type = type;
    return FRAX_OK;
}

static FraxStatus axes_fit(const Infer *in, uint32_t axes, int rank) {
    if (axes >> rank == 0) return FRAX_OK;
    return fail(in->err, FRAX_SHAPE, "%s: an axis is outside rank %d", op_name(in), rank);
}

static FraxStatus infer_flip(const Infer *in) {
    *in->type = *in->args[0];
    return axes_fit(in, in->attrs->axes, in->type->shape.rank);
}

/* ---- Reductions and contractions ---- */

static FraxStatus infer_reduce(const Infer *in) {
    *in->type = *in->args[0];
    Shape *shape = &in->type->shape;
    if (in->type->dtype == FRAX_BOOL) return wrong_dtype(in, "numbers");
    FraxStatus status = axes_fit(in, in->attrs->axes, shape->rank);
    for (int i = 0; !status && i < shape->rank; i++) {
        if (!(in->attrs->axes >> i & 1)) continue;
        if (shape->dims[i] == 0 && in->op != OP_sum)
            return fail(in->err, FRAX_SHAPE, "%s: axis %d is empty", op_name(in), i);
        shape->dims[i] = 1;
    }
    return status;
}

static FraxStatus infer_argmax(const Infer *in) {
    Shape *shape = &in->type->shape;
    *in->type = *in->args[0];
    int axis = in->attrs->axis;
    if (in->type->dtype == FRAX_BOOL) return wrong_dtype(in, "numbers");
    if (axis >= shape->rank)
        return fail(in->err, FRAX_SHAPE, "argmax: axis %d is outside rank %d", axis, shape->rank);
    if (shape->dims[axis] < 1 || shape->dims[axis] > INT32_MAX)
        return fail(in->err, FRAX_SHAPE, "argmax: axis %d has size %lld, expected 1…2^31−1", axis,
                    (long long)shape->dims[axis]);
    shape->dims[axis] = 1;
    in->type->dtype = FRAX_I32;
    return FRAX_OK;
}

static FraxStatus infer_matmul(const Infer *in) {
    const Shape *a = &in->args[0]->shape, *b = &in->args[1]->shape;
    const char *expected = "[…,m,k] and […,k,n] of one floating dtype and equal batch axes";
    int r = a->rank;
    if (in->args[0]->dtype != in->args[1]->dtype || r != b->rank || r < 2)
        return wrong_pair(in, 0, 1, expected);
    if (!dtype_is_float(in->args[0]->dtype)) return wrong_pair(in, 0, 1, expected);
    for (int i = 0; i < r - 2; i++)
        if (a->dims[i] != b->dims[i]) return wrong_pair(in, 0, 1, expected);
    int ta = in->attrs->ta, tb = in->attrs->tb;
    if (a->dims[r - 1 - ta] != b->dims[r - 2 + tb]) return wrong_pair(in, 0, 1, expected);
    *in->type = *in->args[0];
    in->type->shape.dims[r - 2] = a->dims[r - 2 + ta];
    in->type->shape.dims[r - 1] = b->dims[r - 1 - tb];
    return FRAX_OK;
}

/* ---- Fractional kernels ---- */

/* The shape of the spectrum of `x` along `axes`: the last of them is halved. */
static Shape spectrum_shape(const Shape *x, uint32_t axes) {
    Shape s = *x;
    int last = 31 - __builtin_clz(axes);
    s.dims[last] = s.dims[last] / 2 + 1;
    return s;
}

static FraxStatus transformable(const Infer *in) {
    const Shape *x = &in->args[0]->shape;
    FraxDType dtype = in->args[0]->dtype;
    if (dtype != FRAX_F64 && dtype != FRAX_F32) return wrong_dtype(in, "f64 or f32");
    if (!in->attrs->axes) return fail(in->err, FRAX_SHAPE, "%s: no axis given", op_name(in));
    FraxStatus status = axes_fit(in, in->attrs->axes, x->rank);
    for (int i = 0; !status && i < x->rank; i++)
        if (in->attrs->axes >> i & 1 && x->dims[i] < 1)
            status = fail(in->err, FRAX_SHAPE, "%s: axis %d is empty", op_name(in), i);
    return status;
}

/* K fits S if each axis is equal, or has size 1 where `free` allows it. */
static bool fits_with_ones(const Shape *k, const Shape *s, uint32_t free) {
    if (k->rank != s->rank) return false;
    for (int i = 0; i < s->rank; i++)
        if (k->dims[i] != s->dims[i] && !(k->dims[i] == 1 && free >> i & 1)) return false;
    return true;
}

static FraxStatus infer_rfft(const Infer *in) {
    FraxStatus status = transformable(in);
    if (status) return status;
    *in->type = (Type){in->args[0]->dtype, spectrum_shape(&in->args[0]->shape, in->attrs->axes)};
    return FRAX_OK;
}

static FraxStatus infer_spectral(const Infer *in) {
    FraxStatus status = transformable(in);
    if (status) return status;
    if (!same_type(in->args[1], in->args[2])) return wrong_pair(in, 1, 2, "Re K and Im K of one type");
    Shape s = spectrum_shape(&in->args[0]->shape, in->attrs->axes);
    if (in->args[0]->dtype != in->args[1]->dtype ||
        !fits_with_ones(&in->args[1]->shape, &s, ~in->attrs->axes))
        return wrong_pair(in, 0, 1,
                          "K of the spectrum's dtype and shape, or size 1 off the transformed axes");
    *in->type = *in->args[0];
    return FRAX_OK;
}

static FraxStatus infer_cross_spectrum(const Infer *in) {
    FraxStatus status = transformable(in);
    if (status) return status;
    if (!same_type(in->args[0], in->args[1])) return wrong_pair(in, 0, 1, "operands of one dtype and shape");
    if (in->attrs->sum & in->attrs->axes)
        return fail(in->err, FRAX_SHAPE, "cross_spectrum: a transformed axis cannot be summed");
    *in->type = (Type){in->args[0]->dtype, spectrum_shape(&in->args[0]->shape, in->attrs->axes)};
    status = axes_fit(in, in->attrs->sum, in->type->shape.rank);
    for (int i = 0; !status && i < in->type->shape.rank; i++)
        if (in->attrs->sum >> i & 1) in->type->shape.dims[i] = 1;
    return status;
}

static FraxStatus infer_causal_conv(const Infer *in) {
    FraxDType dtype = in->args[0]->dtype;
    int axis = in->attrs->axis, rank = in->args[1]->shape.rank;
    if (dtype != FRAX_F64 && dtype != FRAX_F32) return wrong_dtype(in, "f64 or f32");
    if (axis >= rank) return fail(in->err, FRAX_SHAPE, "causal_conv: axis %d is outside rank %d", axis, rank);
    Shape taps = in->args[1]->shape;
    int64_t n = taps.dims[axis], given = in->args[0]->shape.rank == rank ? in->args[0]->shape.dims[axis] : 0;
    taps.dims[axis] = MAX(MIN(given, n), MIN(n, 1));
    if (in->args[1]->dtype != dtype || !fits_with_ones(&in->args[0]->shape, &taps, ~(1u << axis)))
        return wrong_pair(
            in, 0, 1, "weights of the signal's dtype and shape, or size 1 off the axis and fewer along it");
    *in->type = *in->args[1];
    return FRAX_OK;
}

static FraxStatus infer_causal_correlation(const Infer *in) {
    const Attrs *at = in->attrs;
    Type type = *in->args[0];
    if (type.dtype != FRAX_F64 && type.dtype != FRAX_F32) return wrong_dtype(in, "f64 or f32");
    if (!same_type(in->args[0], in->args[1])) return wrong_pair(in, 0, 1, "operands of one dtype and shape");
    if (at->axis >= type.shape.rank || at->sum >> at->axis & 1)
        return fail(in->err, FRAX_SHAPE, "%s: axis %d is outside rank %d, or summed", op_name(in), at->axis,
                    type.shape.rank);
    int64_t samples = type.shape.dims[at->axis];
    if (at->n < MIN(samples, 1) || at->n > samples)
        return fail(in->err, FRAX_SHAPE, "%s: %lld lags of %lld samples", op_name(in), (long long)at->n,
                    (long long)samples);
    FraxStatus status = axes_fit(in, at->sum, type.shape.rank);
    for (int i = 0; !status && i < type.shape.rank; i++)
        if (at->sum >> i & 1) type.shape.dims[i] = 1;
    type.shape.dims[at->axis] = at->n;
    *in->type = type;
    return status;
}

static FraxStatus infer_weights(const Infer *in) {
    const Shape *alpha = &in->args[0]->shape;
    if (in->args[0]->dtype != FRAX_F64 || alpha->rank < 1 || alpha->dims[alpha->rank - 1] != 1)
        return wrong_dtype(in, "f64[…,1]");
    if (in->attrs->n < 0)
        return fail(in->err, FRAX_SHAPE, "%s: length %lld", op_name(in), (long long)in->attrs->n);
    if (in->attrs->m < 0 || in->attrs->m > MAX_WEIGHTS_ORDER)
        return fail(in->err, FRAX_VALUE, "%s: derivative of order %lld in alpha, expected 0…%d", op_name(in),
                    (long long)in->attrs->m, MAX_WEIGHTS_ORDER);
    *in->type = *in->args[0];
    in->type->shape.dims[alpha->rank - 1] = in->attrs->n;
    return FRAX_OK;
}

/* ---- Exponential kernels ---- */

static FraxStatus exponential_attrs(const Infer *in) {
    const Attrs *at = in->attrs;
    FraxDType dtype = in->args[0]->dtype;
    if (dtype != FRAX_F64 && dtype != FRAX_F32) return wrong_dtype(in, "f64 or f32");
    if (at->axis >= in->args[0]->shape.rank)
        return fail(in->err, FRAX_SHAPE, "%s: axis %d is outside rank %d", op_name(in), at->axis,
                    in->args[0]->shape.rank);
    if (at->lag < 0)
        return fail(in->err, FRAX_VALUE, "%s: lag is %lld, expected 0 or more", op_name(in),
                    (long long)at->lag);
    if (at->n < 0 || at->n > MAX_CASCADE)
        return fail(in->err, FRAX_VALUE, "%s: order %lld, expected 0…%d", op_name(in), (long long)at->n,
                    MAX_CASCADE);
    return FRAX_OK;
}

/* Operand i holds f64 modes along the axis, and fits the signal off it. */
static FraxStatus modes_fit(const Infer *in, int i, int64_t modes) {
    Shape expected = in->args[0]->shape;
    char got[176], signal[176];
    if (in->attrs->axis < expected.rank) expected.dims[in->attrs->axis] = modes;
    if (in->args[i]->dtype == FRAX_F64 &&
        fits_with_ones(&in->args[i]->shape, &expected, ~(1u << in->attrs->axis)))
        return FRAX_OK;
    return fail(
        in->err, in->args[i]->dtype == FRAX_F64 ? FRAX_SHAPE : FRAX_TYPE,
        "%s: operand %d is %s; expected f64 of the rank of %s, %lld modes along axis %d, and off it the "
        "same sizes or 1",
        op_name(in), i, type_text(in->args[i], got), type_text(in->args[0], signal), (long long)modes,
        in->attrs->axis);
}

static int64_t mode_count(const Infer *in) {
    int axis = in->attrs->axis;
    return axis < in->args[2]->shape.rank ? in->args[2]->shape.dims[axis] : 0;
}

static FraxStatus infer_exponential_conv(const Infer *in) {
    FraxStatus status = exponential_attrs(in);
    for (int i = 1; i < 3 && !status; i++) status = modes_fit(in, i, mode_count(in));
    *in->type = *in->args[0];
    return status;
}

static FraxStatus infer_exponential_correlation(const Infer *in) {
    FraxStatus status = exponential_attrs(in);
    if (!status && !same_type(in->args[0], in->args[1]))
        return wrong_pair(in, 0, 1, "operands of one dtype and shape");
    if (!status) status = modes_fit(in, 2, mode_count(in));
    if (status) return status;
    *in->type = (Type){FRAX_F64, in->args[0]->shape};
    in->type->shape.dims[in->attrs->axis] = mode_count(in);
    return FRAX_OK;
}

/* ---- Differentiation ---- */

static FraxStatus infer_custom(const Infer *in) {
    int n = (in->nargs - 2) / 2;
    if (in->attrs->n < 1 || in->attrs->n != n || in->nargs != 2 * n + 2)
        return fail(in->err, FRAX_INTERNAL, "custom: %d operands for n = %lld, expected 2n + 2", in->nargs,
                    (long long)in->attrs->n);
    for (int i = 1; i <= n; i++) {
        const Node *hole = graph_node(in->graph, in->values[n + i]);
        if (hole->op != OP_hole || !same_type(&hole->type, graph_type(in->graph, in->values[i])))
            return fail(in->err, FRAX_INTERNAL, "custom: operand %d is not a hole of the argument's type",
                        n + i);
    }
    const Type *dy = graph_type(in->graph, in->values[2 * n + 1]);
    char a[176], b[176];
    if (!same_type(in->args[0], dy))
        return fail(in->err, FRAX_SHAPE, "the derivative has type %s, the function %s", type_text(dy, a),
                    type_text(in->args[0], b));
    *in->type = *in->args[0];
    return FRAX_OK;
}

FraxStatus infer_type(const Graph *g, Op op, const Value *args, int nargs, const Attrs *attrs,
                      const Type *given, Type *type, FraxError *err) {
    static InferRule *const rules[OP_COUNT] = {
#define OP(name, arity, kind, infer, attrs) infer_##infer,
#include "ops.def"
    };
    int arity = op_table[op].arity;
    if (arity == VARIADIC ? nargs < 1 : nargs != arity)
        return fail(err, FRAX_TYPE, "%s: got %d operands, expected %s%d", op_table[op].name, nargs,
                    arity == VARIADIC ? "at least " : "", arity == VARIADIC ? 1 : arity);
    Infer in = {.graph = g,
                .op = op,
                .values = args,
                .nargs = nargs,
                .attrs = attrs,
                .given = given,
                .type = type,
                .err = err};
    for (int i = 0; i < MIN(nargs, 3); i++) in.args[i] = graph_type(g, args[i]);
    char text[176];
    if (given && shape_overflows(&given->shape))
        return fail(err, FRAX_SHAPE, "%s: shape %s is negative or overflows", op_table[op].name,
                    shape_text(&given->shape, text));
    *type = (Type){0};
    FraxStatus status = rules[op](&in);
    if (status) return status;
    if (shape_overflows(&type->shape))
        return fail(err, FRAX_SHAPE, "%s: the shape of %s overflows", op_table[op].name,
                    type_text(type, text));
    return FRAX_OK;
}
