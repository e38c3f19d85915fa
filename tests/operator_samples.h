/* operator_samples.h — random uses of an operator: signal, orders, shape, axes and layout, as the text of a
 * model, with the result that the definition gives.
 *
 * The models of a sample have the inputs x (as stored), g (of the result's shape), a, l, t, h: signal,
 * another one, order, lambda, theta, step; z is the signal as the operator sees it, maybe transposed or a
 * slice.
 */
#ifndef FRAX_TESTS_OPERATOR_SAMPLES_H
#define FRAX_TESTS_OPERATOR_SAMPLES_H

#include "derivatives.h"
#include "operators.h"
#include "public_run.h"

enum Layout { DENSE, TRANSPOSED, SLICED, LAYOUTS };

typedef struct Sample {
    const Operator *op;
    Shape shape, stored, orders, steps; /* of z, x, each of a, l, t, and of h */
    uint32_t axes;
    int axis; /* the last of them */
    enum Layout layout;
    double *z, *g, *a, *l, *t, *h;
} Sample;

static inline double *draw_array(const Shape *shape, double lo, double hi, uint64_t *seed) {
    int64_t n = shape_size(shape);
    double *x = malloc((size_t)n * sizeof *x + 1);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) x[i] = next_uniform(seed, lo, hi);
    return x;
}

static inline int draw_below(uint64_t *seed, int n) {
    return (int)(next_random(seed) % (uint64_t)n);
}

/* The axis has n points, others up to 3; an operator along several axes may take more of them. Orders are a
   scalar, one for each index of some axis, or one for each row. */
static inline void draw_shapes(Sample *s, int64_t n, uint64_t *seed) {
    Shape *shape = &s->shape;
    shape->rank = 1 + draw_below(seed, 4);
    s->axis = draw_below(seed, shape->rank);
    s->axes = 1u << s->axis;
    for (int i = 0; i < shape->rank; i++) shape->dims[i] = i == s->axis ? n : 1 + draw_below(seed, 3);
    for (int i = 0; i < s->axis && s->op->traits & AXES; i++)
        if (__builtin_popcount(s->axes) < 3 && draw_below(seed, 2)) s->axes |= 1u << i;
    int form = draw_below(seed, 3), only = draw_below(seed, shape->rank);
    s->orders.rank = form ? shape->rank : 0;
    for (int i = 0; i < s->orders.rank; i++)
        s->orders.dims[i] = s->axes >> i & 1 || (form == 1 && i != only) ? 1 : shape->dims[i];
    s->layout = (enum Layout)draw_below(seed, LAYOUTS);
    s->stored = *shape;
    if (s->layout == SLICED) s->stored.dims[s->axis] = 2 * n + 1;
    for (int i = 0; i < shape->rank && s->layout == TRANSPOSED; i++)
        s->stored.dims[i] = shape->dims[shape->rank - 1 - i];
}

static inline Sample draw_sample(const Operator *op, int64_t n, uint64_t *seed) {
    Sample s = {.op = op};
    double step = op->step > 0 ? op->step : 1;
    draw_shapes(&s, n, seed);
    s.z = draw_array(&s.shape, -1, 1, seed);
    s.g = draw_array(&s.shape, -1, 1, seed);
    s.a = draw_array(&s.orders, op->lo, op->hi, seed);
    s.l = draw_array(&s.orders, 0.2, 1.5, seed);
    s.t = draw_array(&s.orders, -0.2, 0.2, seed);
    s.steps = op->traits & TIMES ? (Shape){0} : s.orders; /* times are one vector for all rows */
    s.h = draw_array(&s.steps, 0.5 * step, 1.5 * step, seed);
    return s;
}

static inline void free_sample(Sample *s) {
    free(s->z);
    free(s->g);
    free(s->a);
    free(s->l);
    free(s->t);
    free(s->h);
}

/* ---- Models ---- */

static inline const char *layout_text(const Sample *s, char out[64]) {
    if (s->layout == DENSE) return "x";
    if (s->layout == TRANSPOSED) return "transpose(x)";
    snprintf(out, 64, "slice(x, start=1, step=2, axis=%d)", s->axis);
    return out;
}

/* frac of `signal`, with the sample's axes. */
static inline const char *sample_call(const Sample *s, const char *signal, const char *alpha,
                                      const char *extra, char out[256]) {
    char axes[128];
    int n = snprintf(axes, sizeof axes, __builtin_popcount(s->axes) > 1 ? ", axes=(" : ", axis=");
    for (int i = 0; i <= s->axis; i++)
        if (s->axes >> i & 1)
            n += snprintf(axes + n, sizeof axes - (size_t)n, "%d%s", i, i < s->axis ? ", " : "");
    snprintf(axes + n, sizeof axes - (size_t)n, "%s%s", __builtin_popcount(s->axes) > 1 ? ")" : "", extra);
    return frac_text(s->op, signal, s->shape.dims[s->axis], alpha, axes, out);
}

static inline char *sample_model(const Sample *s, const char *dtype, const char *body) {
    Text text = {0};
    char stored[160], shape[160], orders[160] = "", steps[160] = "", layout[64];
    shape_text(&s->stored, stored);
    shape_text(&s->shape, shape);
    if (s->orders.rank) shape_text(&s->orders, orders);
    if (s->steps.rank) shape_text(&s->steps, steps);
    text_printf(&text,
                "model m(x: %s%s, g: %s%s, a: f64%s, l: f64%s, t: f64%s, h: f64%s) {\n z = %s\n %s\n}\n",
                dtype, stored, dtype, shape, orders, orders, orders, steps, layout_text(s, layout), body);
    assert_false(text.failed);
    return text.data;
}

/* The signal as stored; between a slice's elements stand numbers that must not matter. */
static inline double *stored_signal(const Sample *s, const double *z) {
    int64_t n = shape_size(&s->stored), strides[MAX_RANK], total = shape_size(&s->shape);
    double *x = malloc((size_t)n * sizeof *x + 1);
    assert_non_null(x);
    for (int64_t i = 0; i < n; i++) x[i] = 100 + (double)i;
    shape_strides(&s->stored, strides);
    for (int64_t i = 0; i < total; i++) {
        int64_t rest = i, at = 0;
        for (int k = s->shape.rank - 1; k >= 0; rest /= s->shape.dims[k--]) {
            int64_t index = rest % s->shape.dims[k];
            if (s->layout == SLICED && k == s->axis) index = 2 * index + 1;
            at += index * strides[s->layout == TRANSPOSED ? s->shape.rank - 1 - k : k];
        }
        x[at] = z[i];
    }
    return x;
}

/* Runs a body of statements on the signal z. */
static inline Results run_sample(const Sample *s, const char *body, const RunOptions *options,
                                 const double *z) {
    char *text = sample_model(s, "f64", body);
    double *x = stored_signal(s, z);
    Results r = run_model(text, options, (const double *[]){x, s->g, s->a, s->l, s->t, s->h});
    free(x);
    mem_free(text);
    return r;
}

/* ---- What the definition gives ---- */

/* The element of a parameter that belongs to the element of z at `index`. */
static inline double parameter_at(const Shape *shape, const double *values, const int64_t *index) {
    int64_t strides[MAX_RANK], at = 0;
    shape_strides(shape, strides);
    for (int i = 0; i < shape->rank; i++)
        if (shape->dims[i] > 1) at += index[i] * strides[i];
    return values[at];
}

/* Copies the block of z that begins at element `first` into x, or back from y. */
static inline void move_block(const Sample *s, const Shape *block, int64_t first, double *z, double *x,
                              const Real *y) {
    int64_t strides[MAX_RANK];
    shape_strides(&s->shape, strides);
    for (int64_t i = 0; i < shape_size(block); i++) {
        int64_t rest = i, at = first;
        for (int k = s->axis, b = block->rank - 1; k >= 0; k--) {
            if (!(s->axes >> k & 1)) continue;
            at += rest % block->dims[b] * strides[k];
            rest /= block->dims[b--];
        }
        if (y)
            z[at] = (double)y[i];
        else
            x[i] = z[at];
    }
}

static inline void one_block(const Sample *s, const Shape *block, int64_t first, const int64_t *index,
                             double *result) {
    Parameters p = {parameter_at(&s->orders, s->a, index), parameter_at(&s->orders, s->l, index),
                    parameter_at(&s->orders, s->t, index), parameter_at(&s->steps, s->h, index)};
    size_t n = (size_t)shape_size(block);
    double *x = malloc(n * sizeof *x);
    Real *y = malloc(n * sizeof *y);
    assert_true(x && y);
    move_block(s, block, first, result, x, NULL);
    apply_definition(s->op, &p, block, x, y);
    move_block(s, block, first, result, NULL, y);
    free(x);
    free(y);
}

static inline double *expected_result(const Sample *s, const double *z) {
    Shape block = {0};
    int64_t n = shape_size(&s->shape);
    double *result = malloc((size_t)n * sizeof *result + 1);
    assert_non_null(result);
    memcpy(result, z, (size_t)n * sizeof *result);
    for (int i = 0; i <= s->axis; i++)
        if (s->axes >> i & 1) block.dims[block.rank++] = s->shape.dims[i];
    for (int64_t first = 0; first < n; first++) {
        int64_t index[MAX_RANK], rest = first;
        bool begins = true;
        for (int k = s->shape.rank - 1; k >= 0; rest /= s->shape.dims[k--]) {
            index[k] = rest % s->shape.dims[k];
            begins = begins && !(s->axes >> k & 1 && index[k]);
        }
        if (begins) one_block(s, &block, first, index, result);
    }
    return result;
}

/* ---- Comparing ---- */

static inline double largest_of(const double *x, int64_t n) {
    double largest = 0;
    for (int64_t i = 0; i < n; i++) largest = fmax(largest, fabs(x[i]));
    return largest;
}

/* The largest difference, relative to the largest element; infinite if there is a NaN. */
static inline double relative_error(const double *got, const double *expected, int64_t n) {
    double scale = largest_of(expected, n), worst = 0;
    for (int64_t i = 0; i < n; i++) {
        double e = fabs(got[i] - expected[i]) / (scale > 0 ? scale : 1);
        worst = e <= worst ? worst : isnan(e) ? INFINITY : e;
    }
    return worst;
}

#endif
