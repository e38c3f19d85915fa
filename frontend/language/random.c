/* random.c — random numbers as built-ins: functions of a key, which is an input, and of a place.
 *
 * Every call in a model draws from a stream of its own, numbered in the order of lowering; element i of the
 * result, in row-major order, is number i of it (g_uniform). So a run is a function of its inputs as any
 * other, the adjoint sees the numbers that the model saw, and no target or number of threads changes them.
 * Their distributions are shifted and scaled by ordinary nodes, which is what gradients flow through.
 */
#include "lower.h"
#include <math.h>

enum { MOST_NUMBERS_BITS = 31 }; /* places are counted in i32 */

/* Where the numbers of one call are made. */
typedef struct Draws {
    Lower *lw;
    Shape shape;
    FraxDType dtype; /* f64 or f32 */
    Value place, key[2];
    int64_t stream;
} Draws;

static Value integers(Lower *lw, Shape shape, int64_t value) {
    return g_constant(lw->g, (Type){FRAX_I32, shape}, wrap_i32(value));
}

/* i, j, … ↦ the place of this element in row-major order. */
static Value place_of(Lower *lw, Shape shape) {
    Value place = integers(lw, shape, 0);
    int64_t stride = 1;
    for (int axis = shape.rank - 1; axis >= 0; axis--) {
        Value along = g_iota(lw->g, (Type){FRAX_I32, shape}, axis);
        place = g_add(lw->g, place, g_mul(lw->g, along, integers(lw, shape, stride)));
        stride *= shape.dims[axis];
    }
    return place;
}

static Value key_word(Lower *lw, Value key, int64_t i, Shape shape) {
    Value word = g_slice(lw->g, key, &(int64_t){i}, &(int64_t){i + 1}, NULL);
    return g_broadcast_to(lw->g, g_reshape(lw->g, word, SCALAR), shape);
}

static bool draws_begin(Lower *lw, const Args *args, int key, Shape shape, FraxDType dtype, Draws *d) {
    Value k = array_arg(lw, args, key);
    char text[176];
    if (failed(lw)) return false;
    const Type *type = graph_type(lw->g, k);
    if (type->dtype != FRAX_I32 || type->shape.rank != 1 || type->shape.dims[0] != 2)
        arg_fail(lw, args, key, FRAX_TYPE, "is %s, expected a key, which a model takes as an input: k: key",
                 type_text(type, text));
    if (lw->sizes == SIZES_GIVEN && shape_size(&shape) > INT64_C(1) << MOST_NUMBERS_BITS)
        lower_fail(lw, FRAX_SHAPE, "%s: %lld numbers, the limit of one call is 2^%d", lw->builtin,
                   (long long)shape_size(&shape), MOST_NUMBERS_BITS);
    if (failed(lw)) return false;
    *d = (Draws){.lw = lw,
                 .shape = shape,
                 .dtype = dtype == FRAX_F64 ? FRAX_F64 : FRAX_F32,
                 .place = place_of(lw, shape),
                 .stream = lw->streams++};
    for (int i = 0; i < 2; i++) d->key[i] = key_word(lw, k, i, shape);
    return !failed(lw);
}

static Value uniform_numbers(const Draws *d, int which) {
    return g_uniform(d->lw->g, (UniformDraw){d->dtype, d->stream, which}, d->place, d->key[0], d->key[1]);
}

/* Box and Muller 1958, of one block of the generator. */
static Value normal_numbers(const Draws *d) {
    Graph *g = d->lw->g;
    Value radius = g_unary(g, OP_sqrt, g_scale(g, g_unary(g, OP_log, uniform_numbers(d, 0)), -2));
    Value angle = g_scale(g, uniform_numbers(d, 1), 2 * M_PI);
    return g_mul(g, radius, g_unary(g, OP_cos, angle));
}

/* 16-bit numbers are f32 ones, rounded. */
static bool draws_of_call(Lower *lw, const Args *args, Draws *d, FraxDType *dtype) {
    Shape shape = shape_arg(lw, args, 1);
    *dtype = dtype_arg(lw, args, 2);
    if (failed(lw)) return false;
    if (!dtype_is_float(*dtype))
        arg_fail(lw, args, 2, FRAX_TYPE, "is %s, expected a floating dtype", frax_dtype_name(*dtype));
    return draws_begin(lw, args, 0, shape, *dtype, d);
}

/* What rounds to 1 becomes the number before it. */
static Item random_uniform_rule(Lower *lw, const Args *args) {
    Draws d;
    FraxDType dtype;
    if (!draws_of_call(lw, args, &d, &dtype)) return (Item){0};
    Value u = uniform_numbers(&d, 0);
    if (dtype_is_half(dtype))
        u = g_binary(lw->g, OP_min, u, g_like(lw->g, u, 1 - (dtype == FRAX_F16 ? 0x1p-11 : 0x1p-8)));
    return item_value(g_cast(lw->g, u, dtype));
}

static Item random_normal_rule(Lower *lw, const Args *args) {
    Draws d;
    FraxDType dtype;
    if (!draws_of_call(lw, args, &d, &dtype)) return (Item){0};
    return item_value(g_cast(lw->g, normal_numbers(&d), dtype));
}

/* Srivastava et al. 2014, with the scaling while training: the mean is x. */
static Item dropout_rule(Lower *lw, const Args *args) {
    Graph *g = lw->g;
    Draws d;
    Value x = float_arg(lw, args, 0);
    double rate = number_arg(lw, args, 2);
    if (failed(lw)) return (Item){0};
    if (!(rate >= 0 && rate < 1))
        return item_value(arg_fail(lw, args, 2, FRAX_VALUE, "is %g, expected at least 0 and below 1", rate));
    if (!draws_begin(lw, args, 1, *shape_of(lw, x), FRAX_F32, &d)) return (Item){0};
    Value u = uniform_numbers(&d, 0), dropped = g_binary(g, OP_lt, u, g_like(g, u, rate));
    return item_value(replace_where(lw, dropped, 0, g_scale(g, x, 1 / (1 - rate))));
}

const Builtin random_builtins[] = {
    {"random_uniform", "key, shape, dtype=f64", random_uniform_rule, 0,
     "random numbers, uniform between 0 and 1, without either end", "random"},
    {"random_normal", "key, shape, dtype=f64", random_normal_rule, 0,
     "random numbers, normal with mean 0 and variance 1", "random"},
    {"dropout", "x, key, rate=0.5", dropout_rule, 0,
     "x / (1 - rate), with each element 0 at this rate, by chance", "random"},
};
const size_t random_builtin_count = COUNT(random_builtins);
