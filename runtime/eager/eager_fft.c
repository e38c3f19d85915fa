/* eager_fft.c — spectra: computed once per value, axes and padding in a run, and what is made of them.
 *
 * The transformed axes are brought to the end by a copy (none if they are there already), and so every
 * transform is [rows, points] ↦ [rows, bins]. Results stay in that order behind a permuted view. Rows go
 * through the transform in blocks of FFT_BLOCK, long ones alone.
 */
#include "eager.h"
#include "vector_math.h"
#include <string.h>

/* ---- Finding and planning ---- */

static Shape permuted_shape(const Shape *shape, const uint8_t *perm) {
    Shape s = *shape;
    for (int i = 0; i < s.rank; i++) s.dims[i] = shape->dims[perm[i]];
    return s;
}

static int count_axes(uint32_t axes) {
    return __builtin_popcount(axes);
}

static FraxStatus plan_spectrum(Spectrum *s, const Type *type, FraxError *err) {
    int n = count_axes(s->axes), rank = type->shape.rank;
    if (n > 3) return fail(err, FRAX_UNSUPPORTED, "a transform along %d axes, expected at most 3", n);
    uint8_t perm[MAX_RANK];
    axes_last(rank, s->axes, perm);
    Shape shape = permuted_shape(&type->shape, perm);
    s->shape = (FftShape){.dtype = type->dtype, .rank = n};
    s->rows = s->points = s->bins = 1;
    for (int i = 0; i < rank; i++) {
        int64_t size = shape.dims[i];
        if (i < rank - n) {
            s->rows *= size;
            continue;
        }
        if (s->padded) size = s->padded;
        s->shape.dims[i - (rank - n)] = size;
        s->points *= size;
        s->bins *= i == rank - 1 ? size / 2 + 1 : size;
    }
    s->block_rows = s->shape.rows = fft_is_long(&s->shape) ? 1 : FFT_BLOCK;
    FraxStatus status = s->rows >= s->block_rows ? fft_plan(&s->shape, &s->block, err) : FRAX_OK;
    s->shape.rows = s->rows % s->block_rows;
    if (!status && s->shape.rows) status = fft_plan(&s->shape, &s->tail, err);
    return status;
}

/* The least even number ≥ n without prime factors above 7. */
static int64_t good_length(int64_t n) {
    for (n += n % 2;; n += 2) {
        int64_t rest = n;
        for (int p = 2; p <= 7; p++)
            while (rest % p == 0) rest /= p;
        if (rest == 1) return n;
    }
}

static int32_t find_spectrum(Eager *eager, Value value, uint32_t axes, int64_t padded) {
    for (size_t i = 0; i < eager->nspectra; i++) {
        Spectrum *s = &eager->spectrum[i];
        if (s->value != value || s->axes != axes || s->padded != padded) continue;
        s->uses++;
        return (int32_t)i;
    }
    eager->spectrum[eager->nspectra] = (Spectrum){.value = value, .axes = axes, .padded = padded, .uses = 1};
    return (int32_t)eager->nspectra++;
}

/* The value behind nodes that pass it on unchanged, so that a spectrum is found again. */
static Value source_of(const Graph *g, Value v) {
    while (g->nodes[v].op == OP_stop || g->nodes[v].op == OP_custom) v = g->nodes[v].args[0];
    return v;
}

enum { MOST_DIRECT = 128 }; /* weights: beyond, the transforms are faster in f64 and in f32 */

bool convolves_directly(const Graph *g, const Node *node) {
    if (node->attrs->engine == ENGINE_FFT) return false;
    int64_t taps = node->op == OP_causal_correlation
                       ? node->attrs->n
                       : graph_type(g, node->args[0])->shape.dims[node->attrs->axis];
    return node->attrs->engine != ENGINE_AUTO || taps <= MOST_DIRECT;
}

static void find_spectra(Eager *eager, Value v) {
    const Node *node = graph_node(eager->graph, v);
    const Value *args = node->args;
    int32_t *found = eager->spectra[v];
    uint32_t axes = node->attrs->axes;
    if (node->op == OP_rfft || node->op == OP_spectral || node->op == OP_cross_spectrum)
        found[0] = find_spectrum(eager, source_of(eager->graph, args[0]), axes, 0);
    if (node->op == OP_cross_spectrum)
        found[1] = find_spectrum(eager, source_of(eager->graph, args[1]), axes, 0);
    bool correlates = node->op == OP_causal_correlation;
    if ((node->op == OP_causal_conv || correlates) && !convolves_directly(eager->graph, node)) {
        int64_t n = graph_type(eager->graph, args[1])->shape.dims[node->attrs->axis],
                taps = correlates ? node->attrs->n
                                  : graph_type(eager->graph, args[0])->shape.dims[node->attrs->axis];
        if (n == 0) return;
        for (int i = 0; i < 2; i++)
            found[i] = find_spectrum(eager, source_of(eager->graph, args[i]), 1u << node->attrs->axis,
                                     good_length(n + taps - 1));
        if (correlates)
            found[2] = find_spectrum(eager, v, 1u << node->attrs->axis, good_length(n + taps - 1));
    }
}

FraxStatus spectra_prepare(Eager *eager, FraxError *err) {
    const Graph *g = eager->graph;
    eager->spectrum = mem_calloc(3 * g->count, sizeof *eager->spectrum);
    if (!eager->spectrum) return fail_memory(err, "preparing a graph to run eagerly");
    for (size_t v = 0; v < g->count; v++)
        if (eager->needed[v]) find_spectra(eager, (Value)v);
    for (size_t i = 0; i < eager->nspectra; i++) {
        FraxStatus status = plan_spectrum(&eager->spectrum[i], graph_type(g, eager->spectrum[i].value), err);
        if (status) return status;
    }
    return FRAX_OK;
}

/* ---- Transforms ---- */

typedef struct Transform {
    const Spectrum *of;
    char *x, *spectrum;
    bool inverse;
} Transform;

static void transform_block(const void *context, int64_t chunk) {
    const Transform *t = context;
    const Spectrum *s = t->of;
    int64_t row = chunk * s->block_rows, size = (int64_t)frax_dtype_size(s->shape.dtype);
    const FftPlan *plan = s->rows - row >= s->block_rows ? s->block : s->tail;
    char *x = t->x + row * s->points * size, *spectrum = t->spectrum + row * s->bins * 2 * size;
    if (t->inverse)
        fft_inverse(plan, spectrum, x);
    else
        fft_forward(plan, x, spectrum);
}

/* Threads share out the rows, or the transform of a single long one. */
static void transform_rows(const Run *run, const Transform *t) {
    const Spectrum *s = t->of;
    double work = 8 * (double)s->rows * (double)s->points;
    if (s->rows == 1) fft_allow_threads(run->eager->threads);
    for_chunks(run, work, chunks_of(s->rows, s->block_rows), transform_block, t);
    fft_allow_threads(1);
}

/* The operand in transform order: dense, aligned, zero-padded. */
static FraxStatus transform_operand(Run *run, const Spectrum *s, const View *x, View *out) {
    uint8_t perm[MAX_RANK];
    int last = x->shape.rank - 1;
    axes_last(x->shape.rank, s->axes, perm);
    View permuted = view_permuted(x, perm);
    if (!s->padded) {
        FraxStatus status = view_dense(run, &permuted, x->dtype, out);
        if (status || (uintptr_t)out->data % 16 == 0) return status;
        view_drop(run, out); /* the caller's memory, not aligned: copied below */
    }
    Shape shape = permuted.shape;
    if (s->padded) shape.dims[last] = s->padded;
    FraxStatus status = view_create(run, x->dtype, &shape, out);
    if (status) return status;
    View part = *out;
    part.shape = permuted.shape;
    view_copy(run, &part, &permuted);
    if (!s->padded) return FRAX_OK;
    int64_t n = permuted.shape.dims[last], size = (int64_t)frax_dtype_size(x->dtype);
    for (int64_t r = 0; r < s->rows; r++)
        memset(out->data + (r * s->padded + n) * size, 0, (size_t)((s->padded - n) * size));
    return FRAX_OK;
}

FraxStatus spectrum_get(Run *run, Value v, int i, Buffer **out) {
    int32_t at = run->eager->spectra[v][i];
    const Spectrum *s = &run->eager->spectrum[at];
    *out = run->spectrum[at];
    if (*out) return FRAX_OK;
    View x;
    FraxStatus status = transform_operand(run, s, run_operand(run, v, i), &x);
    if (status) return status;
    status = run_scratch(run, (size_t)(s->rows * s->bins) * 2 * frax_dtype_size(s->shape.dtype), out);
    if (!status) {
        Transform t = {s, x.data, (*out)->data, false};
        transform_rows(run, &t);
        run->spectrum[at] = *out;
    }
    view_drop(run, &x);
    return status;
}

void spectrum_release(Run *run, Value v, int i) {
    int32_t at = run->eager->spectra[v][i];
    if (--run->spectrum_uses[at] > 0) return;
    pool_give(run->eager->pool, run->spectrum[at]);
    run->spectrum[at] = NULL;
}

FraxStatus spectrum_writable(Run *run, Value v, int i, Buffer **out) {
    int32_t at = run->eager->spectra[v][i];
    if (run->spectrum_uses[at] > 1) return run_scratch(run, run->spectrum[at]->bytes, out);
    *out = run->spectrum[at];
    (*out)->views++;
    return FRAX_OK;
}

void spectrum_inverse(const Run *run, const Spectrum *s, Buffer *spectrum, View *x) {
    Transform t = {s, x->data, spectrum->data, true};
    transform_rows(run, &t);
}

/* ---- Products of spectra ---- */

enum { BINS = 2048 }; /* per chunk */

/* out = x · k · scale for n bins; k in two planes, or interleaved if k_im is NULL. */
#define MULTIPLY(name, T)                                                                                    \
    FOR_EACH_VECTOR_WIDTH static void name(T *out, const T *x, const T *k, const T *k_im, T scale,           \
                                           int64_t n) {                                                      \
        VECTORISED                                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            T a = k[i] * scale, b = k_im[i] * scale, re = x[2 * i], im = x[2 * i + 1];                       \
            out[2 * i] = re * a - im * b;                                                                    \
            out[2 * i + 1] = re * b + im * a;                                                                \
        }                                                                                                    \
    }                                                                                                        \
    FOR_EACH_VECTOR_WIDTH static void name##_interleaved(T *out, const T *x, const T *k, T scale,            \
                                                         int64_t n) {                                        \
        VECTORISED                                                                                           \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            T a = k[2 * i] * scale, b = k[2 * i + 1] * scale, re = x[2 * i], im = x[2 * i + 1];              \
            out[2 * i] = re * a - im * b;                                                                    \
            out[2 * i + 1] = re * b + im * a;                                                                \
        }                                                                                                    \
    }
MULTIPLY(multiply_f64, double)
MULTIPLY(multiply_f32, float)

typedef struct Multiply {
    const SpectrumProduct *p;
    int64_t pieces, per_chunk;
} Multiply;

static void multiply_piece(const SpectrumProduct *p, int64_t row, int64_t start, int64_t n) {
    int64_t x = 2 * (row * p->bins + start), k = p->k_of_row[row] * p->bins + start;
    if (p->dtype == FRAX_F64) {
        double *out = (double *)p->out + x;
        const double *in = (const double *)p->x + x, *re = p->k, *im = p->k_im;
        if (im)
            multiply_f64(out, in, re + k, im + k, p->scale, n);
        else
            multiply_f64_interleaved(out, in, re + 2 * k, p->scale, n);
        return;
    }
    float *out = (float *)p->out + x;
    const float *in = (const float *)p->x + x, *re = p->k, *im = p->k_im;
    if (im)
        multiply_f32(out, in, re + k, im + k, (float)p->scale, n);
    else
        multiply_f32_interleaved(out, in, re + 2 * k, (float)p->scale, n);
}

static void multiply_chunk(const void *context, int64_t chunk) {
    const Multiply *m = context;
    int64_t end = MIN(m->p->rows * m->pieces, (chunk + 1) * m->per_chunk);
    for (int64_t i = chunk * m->per_chunk; i < end; i++) {
        int64_t start = i % m->pieces * BINS;
        multiply_piece(m->p, i / m->pieces, start, MIN(BINS, m->p->bins - start));
    }
}

void spectrum_multiply(const Run *run, const SpectrumProduct *p) {
    Multiply m = {p, chunks_of(p->bins, BINS), MAX(1, CHUNK / 2 / MIN(p->bins, BINS))};
    for_chunks(run, 2 * (double)p->rows * (double)p->bins, chunks_of(p->rows * m.pieces, m.per_chunk),
               multiply_chunk, &m);
}

FraxStatus batch_rows(Run *run, const Shape *shape, const Shape *k, int batch_rank, Buffer **out) {
    int64_t rows = 1, strides[MAX_RANK], stride = 1;
    for (int i = batch_rank - 1; i >= 0; i--) {
        rows *= shape->dims[i];
        strides[i] = k->dims[i] == 1 ? 0 : stride;
        stride *= k->dims[i];
    }
    FraxStatus status = run_scratch(run, (size_t)rows * sizeof(int64_t), out);
    if (status) return status;
    int64_t *row_of = (int64_t *)(*out)->data;
    for (int64_t r = 0; r < rows; r++) {
        row_of[r] = 0;
        for (int64_t i = batch_rank - 1, rest = r; i >= 0; rest /= shape->dims[i], i--)
            row_of[r] += rest % shape->dims[i] * strides[i];
    }
    return FRAX_OK;
}

FraxStatus summed_rows(Run *run, const Shape *batch, const Shape *result, int rank, int64_t *results,
                       int64_t *summed, Buffer **out) {
    Buffer *result_of;
    FraxStatus status = batch_rows(run, batch, result, rank, &result_of);
    if (status) return status;
    int64_t rows = 1;
    *results = 1;
    for (int i = 0; i < rank; i++) rows *= batch->dims[i], *results *= result->dims[i];
    *summed = *results ? rows / *results : 0;
    status = run_scratch(run, (size_t)(rows + *results) * sizeof(int64_t), out);
    if (!status) {
        int64_t *list = (int64_t *)(*out)->data, *filled = list + rows;
        memset(filled, 0, (size_t)*results * sizeof *filled);
        for (int64_t r = 0; r < rows; r++) {
            int64_t to = ((int64_t *)result_of->data)[r];
            list[to * *summed + filled[to]++] = r;
        }
    }
    pool_give(run->eager->pool, result_of);
    return status;
}

/* ---- Nodes ---- */

/* A result in transform order, in the caller's memory if that is the original order. */
static FraxStatus transform_result(Run *run, Value v, const uint8_t *perm, View *out) {
    const Type *type = graph_type(run->graph, v);
    bool in_order = true;
    for (int i = 0; i < type->shape.rank; i++) in_order = in_order && perm[i] == i;
    if (in_order) {
        FraxStatus status = view_result(run, v);
        *out = run->values[v];
        return status;
    }
    Shape shape = permuted_shape(&type->shape, perm);
    return view_create(run, type->dtype, &shape, out);
}

#define TAKE_PART(name, T)                                                                                   \
    static void name(T *out, const T *x, int64_t n) {                                                        \
        VECTORISED                                                                                           \
        for (int64_t i = 0; i < n; i++) out[i] = x[2 * i];                                                   \
    }
TAKE_PART(take_part_f64, double)
TAKE_PART(take_part_f32, float)

typedef struct TakePart {
    FraxDType dtype;
    char *out;
    const char *x; /* from the part's first element */
    int64_t n;
} TakePart;

static void take_part_chunk(const void *context, int64_t chunk) {
    const TakePart *t = context;
    int64_t start = chunk * CHUNK, n = MIN(CHUNK, t->n - start);
    if (t->dtype == FRAX_F64)
        take_part_f64((double *)t->out + start, (const double *)t->x + 2 * start, n);
    else
        take_part_f32((float *)t->out + start, (const float *)t->x + 2 * start, n);
}

FraxStatus eager_rfft(Run *run, Value v) {
    const Node *node = graph_node(run->graph, v);
    uint8_t perm[MAX_RANK];
    axes_last(node->type.shape.rank, node->attrs->axes, perm);
    Buffer *spectrum;
    FraxStatus status = spectrum_get(run, v, 0, &spectrum);
    if (status) return status;
    View out;
    status = transform_result(run, v, perm, &out);
    if (!status) {
        size_t skipped = node->attrs->part == PART_IM ? frax_dtype_size(node->type.dtype) : 0;
        TakePart t = {node->type.dtype, out.data, spectrum->data + skipped, shape_size(&node->type.shape)};
        for_chunks(run, (double)t.n, chunks_of(t.n, CHUNK), take_part_chunk, &t);
        run->values[v] = view_unpermuted(&out, perm);
    }
    spectrum_release(run, v, 0);
    return status;
}

/* K in transform order, dense. */
static FraxStatus filter_planes(Run *run, Value v, const uint8_t *perm, View planes[2]) {
    for (int i = 0; i < 2; i++) {
        View k = view_permuted(run_operand(run, v, 1 + i), perm);
        FraxStatus status = view_dense(run, &k, k.dtype, &planes[i]);
        if (status) return status;
    }
    return FRAX_OK;
}

FraxStatus eager_spectral(Run *run, Value v) {
    const Node *node = graph_node(run->graph, v);
    const Spectrum *s = &run->eager->spectrum[run->eager->spectra[v][0]];
    uint8_t perm[MAX_RANK];
    axes_last(node->type.shape.rank, node->attrs->axes, perm);
    Shape shape = permuted_shape(&node->type.shape, perm);
    Buffer *spectrum, *product = NULL, *rows = NULL;
    View k[2] = {0}, out;
    FraxStatus status = spectrum_get(run, v, 0, &spectrum);
    if (status) return status;
    status = filter_planes(run, v, perm, k);
    if (!status) status = batch_rows(run, &shape, &k[0].shape, shape.rank - s->shape.rank, &rows);
    if (!status) status = spectrum_writable(run, v, 0, &product);
    if (!status) status = transform_result(run, v, perm, &out);
    if (!status) {
        spectrum_multiply(run, &(SpectrumProduct){.dtype = node->type.dtype,
                                                  .rows = s->rows,
                                                  .bins = s->bins,
                                                  .scale = 1 / (double)s->points,
                                                  .x = spectrum->data,
                                                  .out = product->data,
                                                  .k = k[0].data,
                                                  .k_im = k[1].data,
                                                  .k_of_row = (int64_t *)rows->data});
        spectrum_inverse(run, s, product, &out);
        run->values[v] = view_unpermuted(&out, perm);
    }
    pool_give(run->eager->pool, rows);
    pool_give(run->eager->pool, product);
    view_drop(run, &k[0]);
    view_drop(run, &k[1]);
    spectrum_release(run, v, 0);
    return status;
}
