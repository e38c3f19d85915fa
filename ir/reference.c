/* reference.c — the reference evaluator: what each op means, node by node in f64 with naive loops. It is the
 * living definition; every other target is tested against it.
 *
 * Values are f64 arrays in row-major order, whatever their dtype: floats are not rounded between nodes, i32
 * and bool hold exact integers because the ops that produce them convert. Sums run in long double, so that
 * the result is good to about one rounding. Ops are written in gather form: for each element of the result,
 * where its operands' elements lie, as offset = base + Σ index_a · stride_a (see `locate`).
 */
#include "ir.h"
#include "half.h"
#include <complex.h>
#include <math.h>
#include <string.h>

typedef struct Eval {
    const Graph *graph;
    const Node *node;
    double *const *values; /* of every node evaluated so far */
    double *out;
    FraxError *err;
} Eval;

typedef FraxStatus EvalRule(const Eval *e);
typedef int64_t Strides[MAX_RANK];

static const double *operand(const Eval *e, int i) {
    return e->values[e->node->args[i]];
}

static const Shape *operand_shape(const Eval *e, int i) {
    return &graph_type(e->graph, e->node->args[i])->shape;
}

static const Shape *result_shape(const Eval *e) {
    return &e->node->type.shape;
}

/* Where element i of `shape` (counted row-major) lies in an array with these strides. */
static int64_t locate(const Shape *shape, int64_t i, const Strides strides) {
    int64_t at = 0;
    for (int a = shape->rank - 1; a >= 0; a--) {
        if (shape->dims[a] == 1) continue;
        at += i % shape->dims[a] * strides[a];
        i /= shape->dims[a];
    }
    return at;
}

/* The shape with size 1 on the axes of the set. */
static Shape without(const Shape *shape, uint32_t axes) {
    Shape s = *shape;
    for (int i = 0; i < s.rank; i++)
        if (axes >> i & 1) s.dims[i] = 1;
    return s;
}

/* Strides that stay where they are along axes of size 1, for operands that broadcast. */
static void broadcast_strides(const Shape *shape, Strides strides) {
    shape_strides(shape, strides);
    for (int i = 0; i < shape->rank; i++)
        if (shape->dims[i] == 1) strides[i] = 0;
}

/* out_i = x[base + Σ index_a stride_a] */
static FraxStatus gather(const Eval *e, int64_t base, const Strides strides) {
    const double *x = operand(e, 0);
    int64_t n = shape_size(result_shape(e));
    for (int64_t i = 0; i < n; i++) e->out[i] = x[base + locate(result_shape(e), i, strides)];
    return FRAX_OK;
}

/* out[base + Σ index_a stride_a] = x_i */
static void scatter(const Eval *e, int arg, int64_t base, const Strides strides) {
    const double *x = operand(e, arg);
    int64_t n = shape_size(operand_shape(e, arg));
    for (int64_t i = 0; i < n; i++) e->out[base + locate(operand_shape(e, arg), i, strides)] = x[i];
}

/* ---- Leaves and pointwise ops ---- */

static FraxStatus eval_given(const Eval *e) {
    const Node *node = e->node;
    int64_t n = shape_size(result_shape(e));
    Strides along = {0};
    if (node->op == OP_hole)
        return fail(e->err, FRAX_INTERNAL, "a hole for a tangent (n = %lld) cannot be executed",
                    (long long)node->attrs->n);
    along[node->attrs->axis] = 1;
    for (int64_t i = 0; i < n; i++)
        e->out[i] = node->op == OP_iota ? (double)locate(result_shape(e), i, along) : node->attrs->value;
    return FRAX_OK;
}

static FraxStatus eval_pointwise(const Eval *e) {
    int64_t n = shape_size(result_shape(e));
    double args[3] = {0};
    for (int64_t i = 0; i < n; i++) {
        for (int k = 0; k < e->node->nargs; k++) args[k] = operand(e, k)[i];
        e->out[i] = reference_pointwise(e->node, args);
    }
    return FRAX_OK;
}

static FraxStatus eval_guard(const Eval *e) {
    int64_t n = shape_size(result_shape(e));
    size_t offset = graph_offset_input(e->graph);
    const double *at = offset < e->graph->ninputs ? e->values[e->graph->inputs[offset]] : NULL;
    double passed = at ? *at : 0;
    for (int64_t i = 0; i < n; i++) {
        e->out[i] = operand(e, 0)[i];
        FraxStatus status = guard_test(e->graph, e->node, e->out[i], i, passed, e->err);
        if (status) return status;
    }
    return FRAX_OK;
}

/* ---- Shape ---- */

static FraxStatus eval_reshape(const Eval *e) {
    memcpy(e->out, operand(e, 0), sizeof(double) * (size_t)shape_size(result_shape(e)));
    return FRAX_OK;
}

static FraxStatus eval_transpose(const Eval *e) {
    Strides from, strides;
    shape_strides(operand_shape(e, 0), from);
    for (int i = 0; i < result_shape(e)->rank; i++) strides[i] = from[e->node->attrs->perm[i]];
    return gather(e, 0, strides);
}

static FraxStatus eval_broadcast(const Eval *e) {
    Strides strides;
    broadcast_strides(operand_shape(e, 0), strides);
    return gather(e, 0, strides);
}

static FraxStatus eval_slice(const Eval *e) {
    Strides strides;
    int64_t base = 0;
    shape_strides(operand_shape(e, 0), strides);
    for (int i = 0; i < result_shape(e)->rank; i++) {
        base += e->node->attrs->lo[i] * strides[i];
        strides[i] *= result_shape(e)->dims[i] > 1 ? e->node->attrs->step[i] : 1;
    }
    return gather(e, base, strides);
}

static FraxStatus eval_pad(const Eval *e) {
    Strides strides;
    int64_t base = 0;
    shape_strides(result_shape(e), strides);
    for (int i = 0; i < result_shape(e)->rank; i++) {
        base += e->node->attrs->lo[i] * strides[i];
        strides[i] *= operand_shape(e, 0)->dims[i] > 1 ? e->node->attrs->step[i] : 1;
    }
    memset(e->out, 0, sizeof(double) * (size_t)shape_size(result_shape(e)));
    scatter(e, 0, base, strides);
    return FRAX_OK;
}

static FraxStatus eval_concat(const Eval *e) {
    Strides strides;
    int axis = e->node->attrs->axis;
    shape_strides(result_shape(e), strides);
    for (int64_t k = 0, at = 0; k < e->node->nargs; at += operand_shape(e, (int)k++)->dims[axis])
        scatter(e, (int)k, at * strides[axis], strides);
    return FRAX_OK;
}

static FraxStatus eval_flip(const Eval *e) {
    Strides strides;
    int64_t base = 0;
    shape_strides(result_shape(e), strides);
    for (int i = 0; i < result_shape(e)->rank; i++) {
        if (!(e->node->attrs->axes >> i & 1)) continue;
        base += (result_shape(e)->dims[i] - 1) * strides[i];
        strides[i] = -strides[i];
    }
    return gather(e, base, strides);
}

/* ---- Reductions and contractions ---- */

/* Sum, maximum or minimum of the elements x[Σ index_a stride_a]; NaN wins over every number. */
static double reduce(Op op, FraxDType dtype, const double *x, const Shape *over, const Strides strides) {
    int64_t n = shape_size(over);
    long double total = 0;
    double best = n ? x[0] : 0;
    for (int64_t i = 0; i < n; i++) {
        double v = x[locate(over, i, strides)];
        total += v;
        if (!isnan(best) && (isnan(v) || (op == OP_reduce_max ? v > best : v < best))) best = v;
    }
    if (op != OP_sum) return best;
    return dtype == FRAX_I32 ? wrap_i32((int64_t)total) : (double)total;
}

static FraxStatus eval_reduce(const Eval *e) {
    const Shape *x = operand_shape(e, 0);
    Shape over = without(x, ~e->node->attrs->axes);
    Strides strides;
    int64_t n = shape_size(result_shape(e));
    shape_strides(x, strides);
    for (int64_t i = 0; i < n; i++)
        e->out[i] = reduce(e->node->op, e->node->type.dtype,
                           operand(e, 0) + locate(result_shape(e), i, strides), &over, strides);
    return FRAX_OK;
}

/* The first of equal maxima; a NaN counts as the maximum. */
static FraxStatus eval_argmax(const Eval *e) {
    Strides strides;
    int axis = e->node->attrs->axis;
    int64_t n = shape_size(result_shape(e)), length = operand_shape(e, 0)->dims[axis];
    shape_strides(operand_shape(e, 0), strides);
    for (int64_t i = 0; i < n; i++) {
        const double *x = operand(e, 0) + locate(result_shape(e), i, strides);
        int64_t best = 0;
        for (int64_t j = 1; j < length && !isnan(x[best * strides[axis]]); j++) {
            double v = x[j * strides[axis]];
            if (isnan(v) || v > x[best * strides[axis]]) best = j;
        }
        e->out[i] = (double)best;
    }
    return FRAX_OK;
}

/* C_mn = Σ_k A_mk B_kn, with A or B stored transposed where ta or tb say so. */
static FraxStatus eval_matmul(const Eval *e) {
    int r = result_shape(e)->rank, ta = e->node->attrs->ta, tb = e->node->attrs->tb;
    int64_t size = shape_size(result_shape(e)), length = operand_shape(e, 0)->dims[r - 1 - ta];
    Strides a, b;
    shape_strides(operand_shape(e, 0), a);
    shape_strides(operand_shape(e, 1), b);
    int64_t a_k = a[r - 1 - ta], b_k = b[r - 2 + tb];
    a[r - 2] = a[r - 2 + ta], a[r - 1] = 0;
    b[r - 1] = b[r - 1 - tb], b[r - 2] = 0;
    for (int64_t i = 0; i < size; i++) {
        const double *row = operand(e, 0) + locate(result_shape(e), i, a);
        const double *column = operand(e, 1) + locate(result_shape(e), i, b);
        long double sum = 0;
        for (int64_t k = 0; k < length; k++) sum += (long double)row[k * a_k] * column[k * b_k];
        e->out[i] = (double)sum;
    }
    return FRAX_OK;
}

/* ---- Transforms ---- */

typedef long double complex Complex;

/* A real transform of x along a set of axes. With N the product of the transformed sizes N_a,
   X_k = Σ_n x_n exp(−2πi Σ_a k_a n_a / N_a), all integers in the exponent taken modulo N. */
typedef struct Transform {
    Shape x;     /* of the operand */
    Shape batch; /* x with size 1 on the transformed axes: one transform for each element */
    Shape box;   /* x with size 1 on the others: what one transform runs over */
    Shape half;  /* the spectrum of `box`: the last transformed axis cut to n/2 + 1 */
    int last;    /* that axis */
    int64_t n, spectrum;
    Strides strides;   /* of x */
    Complex *twiddles; /* exp(−2πi m/N) */
} Transform;

static bool transform_init(Transform *t, const Shape *x, uint32_t axes) {
    *t = (Transform){.x = *x, .batch = without(x, axes), .box = without(x, ~axes)};
    t->last = 31 - __builtin_clz(axes);
    t->half = t->box;
    t->half.dims[t->last] = t->box.dims[t->last] / 2 + 1;
    t->n = shape_size(&t->box);
    t->spectrum = shape_size(&t->half);
    shape_strides(x, t->strides);
    t->twiddles = mem_alloc(sizeof(Complex) * (size_t)t->n);
    if (!t->twiddles) return false;
    const long double turn = 2 * acosl(-1.0L);
    for (int64_t m = 0; m < t->n; m++) {
        long double angle = turn * (long double)m / (long double)t->n;
        t->twiddles[m] = CMPLXL(cosl(angle), -sinl(angle));
    }
    return true;
}

/* Phase strides of bin k: Σ_a n_a phase_a mod N is the exponent. */
static void bin_phases(const Transform *t, int64_t k, Strides phase) {
    for (int a = t->half.rank - 1; a >= 0; a--) {
        phase[a] = k % t->half.dims[a] * (t->n / t->box.dims[a]);
        k /= t->half.dims[a];
    }
}

/* X_k of batch element b. */
static void forward(const Transform *t, const double *x, int64_t b, Complex *X) {
    x += locate(&t->batch, b, t->strides);
    for (int64_t k = 0; k < t->spectrum; k++) {
        Strides phase;
        bin_phases(t, k, phase);
        X[k] = 0;
        for (int64_t n = 0; n < t->n; n++)
            X[k] += x[locate(&t->box, n, t->strides)] * t->twiddles[locate(&t->box, n, phase) % t->n];
    }
}

/* c_k: how many bins of the whole spectrum bin k of the half spectrum stands for. */
static int multiplicity(const Transform *t, int64_t k) {
    Strides along = {0};
    along[t->last] = 1;
    int64_t bin = locate(&t->half, k, along);
    return bin == 0 || 2 * bin == t->box.dims[t->last] ? 1 : 2;
}

/* y_n = (1/N) Σ_k c_k Re(Y_k exp(+2πi Σ_a k_a n_a / N_a)) */
static void inverse(const Transform *t, const Complex *Y, int64_t b, double *y) {
    y += locate(&t->batch, b, t->strides);
    for (int64_t n = 0; n < t->n; n++) {
        long double sum = 0;
        for (int64_t k = 0; k < t->spectrum; k++) {
            Strides phase;
            bin_phases(t, k, phase);
            Complex w = conjl(t->twiddles[locate(&t->box, n, phase) % t->n]);
            sum += multiplicity(t, k) * (creall(Y[k]) * creall(w) - cimagl(Y[k]) * cimagl(w));
        }
        y[locate(&t->box, n, t->strides)] = (double)(sum / (long double)t->n);
    }
}

/* Runs `step` for each batch element with room for two spectra. */
typedef void TransformStep(const Eval *e, const Transform *t, int64_t b, Complex *spectra);

static FraxStatus for_each_transform(const Eval *e, TransformStep *step) {
    Transform t;
    bool ready = transform_init(&t, operand_shape(e, 0), e->node->attrs->axes);
    Complex *spectra = mem_alloc(2 * sizeof *spectra * (size_t)t.spectrum);
    int64_t batches = shape_size(&t.batch);
    if (ready && spectra)
        for (int64_t b = 0; b < batches; b++) step(e, &t, b, spectra);
    mem_free(t.twiddles);
    mem_free(spectra);
    return ready && spectra ? FRAX_OK : fail_memory(e->err, "evaluating a transform");
}

static long double part_of(Complex z, uint8_t part) {
    return part == PART_RE ? creall(z) : cimagl(z);
}

static void rfft_step(const Eval *e, const Transform *t, int64_t b, Complex *X) {
    Strides strides;
    shape_strides(result_shape(e), strides);
    double *out = e->out + locate(&t->batch, b, strides);
    forward(t, operand(e, 0), b, X);
    for (int64_t k = 0; k < t->spectrum; k++)
        out[locate(&t->half, k, strides)] = (double)part_of(X[k], e->node->attrs->part);
}

static FraxStatus eval_rfft(const Eval *e) {
    return for_each_transform(e, rfft_step);
}

static void spectral_step(const Eval *e, const Transform *t, int64_t b, Complex *X) {
    Strides strides;
    broadcast_strides(operand_shape(e, 1), strides);
    int64_t base = locate(&t->batch, b, strides);
    forward(t, operand(e, 0), b, X);
    for (int64_t k = 0; k < t->spectrum; k++) {
        int64_t at = base + locate(&t->half, k, strides);
        X[k] *= CMPLXL(operand(e, 1)[at], operand(e, 2)[at]);
    }
    inverse(t, X, b, e->out);
}

static FraxStatus eval_spectral(const Eval *e) {
    return for_each_transform(e, spectral_step);
}

/* Adds (c_k/N) conj(X_k) Y_k of this batch element. */
static void cross_spectrum_step(const Eval *e, const Transform *t, int64_t b, Complex *spectra) {
    Complex *X = spectra, *Y = spectra + t->spectrum;
    Strides strides;
    broadcast_strides(result_shape(e), strides);
    double *out = e->out + locate(&t->batch, b, strides);
    forward(t, operand(e, 0), b, X);
    forward(t, operand(e, 1), b, Y);
    for (int64_t k = 0; k < t->spectrum; k++) {
        long double scale = multiplicity(t, k) / (long double)t->n;
        out[locate(&t->half, k, strides)] +=
            (double)(scale * part_of(conjl(X[k]) * Y[k], e->node->attrs->part));
    }
}

static FraxStatus eval_cross_spectrum(const Eval *e) {
    memset(e->out, 0, sizeof(double) * (size_t)shape_size(result_shape(e)));
    return for_each_transform(e, cross_spectrum_step);
}

/* ---- Causal convolution and its weights ---- */

/* y_n = Σ_{j≤n} w_j x_{n−j} along the axis, history before the first sample zero. */
static FraxStatus eval_causal_conv(const Eval *e) {
    int axis = e->node->attrs->axis;
    int64_t length = result_shape(e)->dims[axis], taps = operand_shape(e, 0)->dims[axis];
    Shape lines = without(result_shape(e), 1u << axis);
    Strides ws, xs;
    broadcast_strides(operand_shape(e, 0), ws);
    shape_strides(operand_shape(e, 1), xs);
    int64_t count = length ? shape_size(&lines) : 0;
    for (int64_t i = 0; i < count; i++) {
        const double *w = operand(e, 0) + locate(&lines, i, ws);
        const double *x = operand(e, 1) + locate(&lines, i, xs);
        double *y = e->out + locate(&lines, i, xs);
        for (int64_t n = 0; n < length; n++) {
            long double sum = 0;
            for (int64_t j = 0; j <= MIN(n, taps - 1); j++)
                sum += (long double)w[j * ws[axis]] * x[(n - j) * xs[axis]];
            y[n * xs[axis]] = (double)sum;
        }
    }
    return FRAX_OK;
}

/* q_j = Σ_t y_t x_{t−j} for j < n, summed over the axes of `sum`. */
static FraxStatus eval_causal_correlation(const Eval *e) {
    int axis = e->node->attrs->axis;
    int64_t length = operand_shape(e, 0)->dims[axis];
    Shape lines = without(operand_shape(e, 0), 1u << axis);
    Strides xs, qs;
    shape_strides(operand_shape(e, 0), xs);
    broadcast_strides(result_shape(e), qs);
    memset(e->out, 0, sizeof(double) * (size_t)shape_size(result_shape(e)));
    int64_t count = length ? shape_size(&lines) : 0;
    for (int64_t i = 0; i < count; i++) {
        const double *x = operand(e, 0) + locate(&lines, i, xs), *y = operand(e, 1) + locate(&lines, i, xs);
        double *q = e->out + locate(&lines, i, qs);
        for (int64_t j = 0; j < e->node->attrs->n; j++) {
            long double sum = 0;
            for (int64_t t = j; t < length; t++) sum += (long double)y[t * xs[axis]] * x[(t - j) * xs[axis]];
            q[j * qs[axis]] += (double)sum;
        }
    }
    return FRAX_OK;
}

/* The m-th derivative in α of the coefficients of (1−z)^α. w_0 = 1, w_j = w_{j−1} (j−1−α)/j, so that
   w^(m)_j = (w^(m)_{j−1} (j−1−α) − m w^(m−1)_{j−1})/j. */
static FraxStatus eval_weights(const Eval *e) {
    int64_t n = e->node->attrs->n, order = e->node->attrs->m, rows = shape_size(operand_shape(e, 0));
    for (int64_t r = 0; r < rows; r++) {
        long double w[MAX_WEIGHTS_ORDER + 1] = {1}, alpha = operand(e, 0)[r];
        for (int64_t j = 0; j < n; j++) {
            for (int64_t m = order; j && m >= 0; m--)
                w[m] = (w[m] * ((long double)j - 1 - alpha) - (m ? (long double)m * w[m - 1] : 0)) /
                       (long double)j;
            e->out[r * n + j] = (double)w[order];
        }
    }
    return FRAX_OK;
}

/* The states of one mode, of which s_n[t] = Σ_{k≥lag} C(k−lag, n) r^{k−lag−n} x_{t−k}:
   s_0[t] = r s_0[t−1] + x_{t−lag}, s_i[t] = r s_i[t−1] + s_{i−1}[t−1]. */
static long double advance(long double *s, int64_t n, long double r, long double x) {
    for (int64_t i = n; i > 0; i--) s[i] = r * s[i] + s[i - 1];
    s[0] = r * s[0] + x;
    return s[n];
}

/* One line of an exponential op: what it reads and writes, each with its stride along the axis. */
typedef struct Line {
    const double *x, *other, *r; /* other: c or y */
    double *out;
    int64_t dx, dother, dr, dout, length, modes, n, lag;
} Line;

static void conv_line(const Line *l, long double *states) {
    for (int64_t t = 0; t < l->length; t++) {
        long double x = t >= l->lag ? l->x[(t - l->lag) * l->dx] : 0, sum = 0;
        for (int64_t m = 0; m < l->modes; m++)
            sum += l->other[m * l->dother] * advance(states + m * (l->n + 1), l->n, l->r[m * l->dr], x);
        l->out[t * l->dout] = (double)sum;
    }
}

static void correlation_line(const Line *l, long double *states) {
    for (int64_t m = 0; m < l->modes; m++) {
        long double sum = 0;
        for (int64_t t = 0; t < l->length; t++) {
            long double x = t >= l->lag ? l->x[(t - l->lag) * l->dx] : 0;
            sum += l->other[t * l->dother] * advance(states + m * (l->n + 1), l->n, l->r[m * l->dr], x);
        }
        l->out[m * l->dout] = (double)sum;
    }
}

static FraxStatus for_each_line(const Eval *e, void (*run)(const Line *, long double *)) {
    const Attrs *at = e->node->attrs;
    int axis = at->axis;
    Shape lines = without(operand_shape(e, 0), 1u << axis);
    Strides s[4];
    for (int i = 0; i < 3; i++) broadcast_strides(operand_shape(e, i), s[i]);
    broadcast_strides(result_shape(e), s[3]);
    Line l = {.length = operand_shape(e, 0)->dims[axis],
              .modes = operand_shape(e, 2)->dims[axis],
              .n = at->n,
              .lag = at->lag,
              .dx = s[0][axis],
              .dother = s[1][axis],
              .dr = s[2][axis],
              .dout = s[3][axis]};
    size_t bytes = sizeof(long double) * (size_t)(l.modes * (l.n + 1));
    long double *states = mem_alloc(bytes);
    if (!states) return fail_memory(e->err, "evaluating a recurrence");
    for (int64_t i = 0; i < shape_size(&lines); i++) {
        l.x = operand(e, 0) + locate(&lines, i, s[0]);
        l.other = operand(e, 1) + locate(&lines, i, s[1]);
        l.r = operand(e, 2) + locate(&lines, i, s[2]);
        l.out = e->out + locate(&lines, i, s[3]);
        memset(states, 0, bytes);
        run(&l, states);
    }
    mem_free(states);
    return FRAX_OK;
}

static FraxStatus eval_exponential_conv(const Eval *e) {
    return for_each_line(e, conv_line);
}

static FraxStatus eval_exponential_correlation(const Eval *e) {
    return for_each_line(e, correlation_line);
}

/* A function with a derivative of its own has the value of its first operand. */
static FraxStatus eval_custom(const Eval *e) {
    return eval_reshape(e);
}

/* ---- The walk ---- */

/* One rule for each infer rule of the op table; the pointwise ones share theirs. */
#define eval_floating eval_pointwise
#define eval_number   eval_pointwise
#define eval_logic    eval_pointwise
#define eval_compare  eval_pointwise
#define eval_cast     eval_pointwise
#define eval_same     eval_pointwise
#define eval_select   eval_pointwise
#define eval_uniform  eval_pointwise

static EvalRule *const eval_rules[OP_COUNT] = {
#define OP(name, arity, kind, infer, attrs) eval_##infer,
#include "ops.def"
};

/* Like graph_live, except that custom needs only its value: holes stand in derivatives and are not executed.
 */
static void mark_needed(const Graph *g, bool *needed) {
    memset(needed, 0, g->count);
    for (size_t i = 0; i < g->noutputs; i++) needed[g->outputs[i].value] = true;
    for (size_t i = 0; i < g->nchecks; i++) needed[g->checks[i]] = true;
    for (size_t v = g->count; v-- > 0;) {
        const Node *node = &g->nodes[v];
        int nargs = node->op == OP_custom ? 1 : node->nargs;
        for (int i = 0; needed[v] && i < nargs; i++) needed[node->args[i]] = true;
    }
}

static FraxStatus check_tensor(const Type *type, const FraxTensor *tensor, const char *what, const char *name,
                               FraxError *err) {
    Type got = {.dtype = tensor->dtype, .shape = {.rank = tensor->rank}};
    char a[176], b[176];
    if (tensor->rank < 0 || tensor->rank > MAX_RANK)
        return fail(err, FRAX_SHAPE, "%s %s has rank %d, expected 0…%d", what, name, tensor->rank, MAX_RANK);
    memcpy(got.shape.dims, tensor->dims, sizeof(int64_t) * (size_t)tensor->rank);
    if (got.dtype != type->dtype || !shape_equal(&got.shape, &type->shape))
        return fail(err, got.dtype != type->dtype ? FRAX_TYPE : FRAX_SHAPE, "%s %s is %s, expected %s", what,
                    name, type_text(&got, a), type_text(type, b));
    return FRAX_OK;
}

static FraxStatus load_inputs(const Graph *g, const FraxTensor *inputs, const bool *needed, double **values,
                              FraxError *err) {
    for (size_t i = 0; i < g->ninputs; i++) {
        Value v = g->inputs[i];
        const Node *node = graph_node(g, v);
        FraxStatus status = check_tensor(&node->type, &inputs[i], "input", node->attrs->name, err);
        if (status) return status;
        if (!needed[v]) continue;
        int64_t n = shape_size(&node->type.shape);
        values[v] = mem_alloc(sizeof(double) * (size_t)n);
        if (!values[v]) return fail_memory(err, "evaluating a graph");
        for (int64_t k = 0; k < n; k++) values[v][k] = element_get(inputs[i].data, node->type.dtype, k);
    }
    return FRAX_OK;
}

static FraxStatus eval_nodes(const Graph *g, const bool *needed, double **values, FraxError *err) {
    for (size_t v = 0; v < g->count; v++) {
        if (!needed[v] || values[v]) continue;
        const Node *node = &g->nodes[v];
        values[v] = mem_alloc(sizeof(double) * (size_t)shape_size(&node->type.shape));
        if (!values[v]) return fail_memory(err, "evaluating a graph");
        FraxStatus status = eval_rules[node->op](&(Eval){g, node, values, values[v], err});
        if (status) return status;
    }
    return FRAX_OK;
}

static FraxStatus store_outputs(const Graph *g, double *const *values, FraxTensor *outputs, FraxError *err) {
    for (size_t i = 0; i < g->noutputs; i++) {
        const Type *type = graph_type(g, g->outputs[i].value);
        FraxStatus status = check_tensor(type, &outputs[i], "output", g->outputs[i].name, err);
        if (status) return status;
    }
    for (size_t i = 0; i < g->noutputs; i++) {
        const Type *type = graph_type(g, g->outputs[i].value);
        int64_t n = shape_size(&type->shape);
        for (int64_t k = 0; k < n; k++)
            element_set(outputs[i].data, type->dtype, k, values[g->outputs[i].value][k]);
    }
    return FRAX_OK;
}

FraxStatus reference_run(const Graph *g, const FraxTensor *inputs, FraxTensor *outputs, FraxError *err) {
    bool *needed = mem_calloc(g->count, sizeof *needed);
    double **values = mem_calloc(g->count, sizeof *values);
    FraxStatus status = needed && values ? FRAX_OK : fail_memory(err, "evaluating a graph");
    if (status) goto done;
    mark_needed(g, needed);
    status = load_inputs(g, inputs, needed, values, err);
    if (!status) status = eval_nodes(g, needed, values, err);
    if (!status) status = store_outputs(g, values, outputs, err);
done:
    for (size_t v = 0; values && v < g->count; v++) mem_free(values[v]);
    mem_free(values);
    mem_free(needed);
    return status;
}
