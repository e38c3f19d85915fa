/* eager_recurrence.c — sums of exponentials by recurrence: exponential_conv and exponential_correlation.
 *
 * One pass over a row's samples, with the states of all modes side by side in f64; a row is one thread's
 * work. Rows lie along the last axis, after a transposed copy where the axis is another.
 */
#include "eager.h"
#include "vector_math.h"
#include <string.h>

/* Rows of [rows, length] samples; modes: c (or, of a correlation, nothing) and r, a row of each per row of x.
 */
typedef struct Recurrence {
    Op op;
    FraxDType dtype;
    const char *x, *y;
    const double *c, *r;
    char *out;
    const int64_t *c_of_row, *r_of_row;
    double *states; /* per row: n + 1 states, then the sums of a correlation, of all modes each */
    int64_t length, modes, n, lag;
} Recurrence;

static double sample(FraxDType dtype, const char *x, int64_t i) {
    return dtype == FRAX_F64 ? ((const double *)x)[i] : (double)((const float *)x)[i];
}

/* s_0 ← r s_0 + x, s_i ← r s_i + s_{i−1}, for all modes. */
FOR_EACH_VECTOR_WIDTH static void advance(double *s, const double *r, double x, int64_t modes, int64_t n) {
    for (int64_t i = n; i > 0; i--) {
        double *to = s + i * modes;
        const double *from = to - modes;
        VECTORISED
        for (int64_t m = 0; m < modes; m++) to[m] = r[m] * to[m] + from[m];
    }
    VECTORISED
    for (int64_t m = 0; m < modes; m++) s[m] = r[m] * s[m] + x;
}

FOR_EACH_VECTOR_WIDTH static double weighted_sum(const double *c, const double *s, int64_t modes) {
    double sum = 0;
    _Pragma("omp simd reduction(+ : sum)") for (int64_t m = 0; m < modes; m++) sum += c[m] * s[m];
    return sum;
}

FOR_EACH_VECTOR_WIDTH static void add_scaled(double *q, const double *s, double y, int64_t modes) {
    VECTORISED
    for (int64_t m = 0; m < modes; m++) q[m] += y * s[m];
}

static void recurrence_row(const void *context, int64_t row) {
    const Recurrence *k = context;
    int64_t modes = k->modes, bytes = k->length * (int64_t)frax_dtype_size(k->dtype);
    double *s = k->states + row * (k->n + 2) * modes, *last = s + k->n * modes, *q = last + modes;
    const double *r = k->r + k->r_of_row[row] * modes;
    const char *x = k->x + row * bytes;
    memset(s, 0, sizeof *s * (size_t)((k->n + 2) * modes));
    for (int64_t t = 0; t < k->length; t++) {
        advance(s, r, t >= k->lag ? sample(k->dtype, x, t - k->lag) : 0, modes, k->n);
        if (k->op == OP_exponential_correlation) {
            add_scaled(q, last, sample(k->dtype, k->y + row * bytes, t), modes);
            continue;
        }
        double y = weighted_sum(k->c + k->c_of_row[row] * modes, last, modes);
        if (k->dtype == FRAX_F64)
            ((double *)(k->out + row * bytes))[t] = y;
        else
            ((float *)(k->out + row * bytes))[t] = (float)y;
    }
    if (k->op == OP_exponential_correlation)
        memcpy(k->out + row * modes * (int64_t)sizeof *q, q, sizeof *q * (size_t)modes);
}

/* The operands with the axis last, dense, and for operands 1 and 2 which of their rows a row reads. */
typedef struct Operands {
    View dense[3];
    Buffer *rows[3];
} Operands;

static FraxStatus prepare_operands(Run *run, Value v, const uint8_t *perm, Operands *operands) {
    int batch = run_operand(run, v, 0)->shape.rank - 1;
    FraxStatus status = FRAX_OK;
    for (int i = 0; i < 3 && !status; i++) {
        View x = view_permuted(run_operand(run, v, i), perm);
        status = view_dense(run, &x, x.dtype, &operands->dense[i]);
        if (!status && i)
            status = batch_rows(run, &operands->dense[0].shape, &x.shape, batch, &operands->rows[i]);
    }
    return status;
}

static void drop_operands(Run *run, Operands *operands) {
    for (int i = 0; i < 3; i++) {
        view_drop(run, &operands->dense[i]);
        pool_give(run->eager->pool, operands->rows[i]);
    }
}

static FraxStatus run_recurrence(Run *run, Value v, const Operands *operands, View *out) {
    const Node *node = graph_node(run->graph, v);
    const View *x = &operands->dense[0], *other = &operands->dense[1], *r = &operands->dense[2];
    int last = x->shape.rank - 1;
    int64_t rows = 1;
    for (int i = 0; i < last; i++) rows *= x->shape.dims[i];
    Recurrence k = {.op = node->op,
                    .dtype = x->dtype,
                    .x = x->data,
                    .y = other->data,
                    .c = (const double *)other->data,
                    .r = (const double *)r->data,
                    .c_of_row = (int64_t *)operands->rows[1]->data,
                    .r_of_row = (int64_t *)operands->rows[2]->data,
                    .length = x->shape.dims[last],
                    .modes = r->shape.dims[last],
                    .n = node->attrs->n,
                    .lag = node->attrs->lag};
    Shape shape = x->shape;
    if (node->op == OP_exponential_correlation) shape.dims[last] = k.modes;
    Buffer *states = NULL;
    FraxStatus status = run_scratch(run, sizeof(double) * (size_t)(rows * (k.n + 2) * k.modes), &states);
    if (!status) status = view_create(run, node->type.dtype, &shape, out);
    if (!status) {
        k.states = (double *)states->data;
        k.out = out->data;
        double visits = 1 + (double)k.modes * (double)(k.n + 1) / 4;
        for_chunks(run, (double)rows * (double)k.length * visits, rows, recurrence_row, &k);
    }
    pool_give(run->eager->pool, states);
    return status;
}

static FraxStatus eager_recurrence(Run *run, Value v) {
    uint8_t perm[MAX_RANK];
    Operands operands = {0};
    View out;
    const Node *node = graph_node(run->graph, v);
    axes_last(node->type.shape.rank, 1u << node->attrs->axis, perm);
    FraxStatus status = prepare_operands(run, v, perm, &operands);
    if (!status) status = run_recurrence(run, v, &operands, &out);
    if (!status) run->values[v] = view_unpermuted(&out, perm);
    drop_operands(run, &operands);
    return status;
}

FraxStatus eager_exponential_conv(Run *run, Value v) {
    return eager_recurrence(run, v);
}

FraxStatus eager_exponential_correlation(Run *run, Value v) {
    return eager_recurrence(run, v);
}
