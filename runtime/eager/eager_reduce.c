/* eager_reduce.c — sum, max, min and argmax.
 *
 * A dense operand whose reduced axes are neighbours is [outer, length, inner]; any other is brought into the
 * form [outer, length, 1] by a copy. The length is cut into segments; each gives partial results, which are
 * combined in order, so the bits do not depend on the number of threads.
 *
 * Accuracy: f32 is summed in vector lanes over at most TILE elements and further in f64; f64 over TILE, then
 * segments; i32 modulo 2^32 by way of 64 bits.
 */
#include "eager.h"
#include "vector_math.h"
#include "half.h"
#include <string.h>

enum { COLUMNS = 512 }; /* accumulated at a time, in the first-level cache */

typedef union Partial {
    double real;
    int64_t integer;
} Partial;

/* ---- Kernels: along a line; and row by row into columns ---- */

#define IS_NAN(v)    ((v) != (v))
#define PRAGMA(text) _Pragma(#text)

#define LINE_SUM(name, T, S, ACC, field)                                                                     \
    FOR_EACH_VECTOR_WIDTH static Partial name(const void *data, int64_t n) {                                 \
        const T *x = data;                                                                                   \
        ACC total = 0;                                                                                       \
        for (int64_t start = 0; start < n; start += TILE) {                                                  \
            int64_t end = MIN(n, start + TILE);                                                              \
            S s = 0;                                                                                         \
            PRAGMA(omp simd reduction(+ : s))                                                                \
            for (int64_t i = start; i < end; i++) s += x[i];                                                 \
            total += (ACC)s;                                                                                 \
        }                                                                                                    \
        return (Partial){.field = total};                                                                    \
    }
LINE_SUM(sum_f64, double, double, double, real)
LINE_SUM(sum_f32, float, float, double, real)
LINE_SUM(sum_i32, int32_t, int64_t, int64_t, integer)

#define LINE_BEST(name, T, ACC, field, better, nan)                                                          \
    FOR_EACH_VECTOR_WIDTH static Partial name(const void *data, int64_t n) {                                 \
        const T *x = data;                                                                                   \
        T best = x[0];                                                                                       \
        int bad = 0;                                                                                         \
        PRAGMA(omp simd reduction(better : best) reduction(| : bad))                                         \
        for (int64_t i = 0; i < n; i++) {                                                                    \
            best = BETTER_##better(x[i], best) ? x[i] : best;                                                \
            bad |= IS_NAN(x[i]);                                                                             \
        }                                                                                                    \
        return (Partial){.field = bad ? nan : (ACC)best};                                                    \
    }
#define BETTER_max(v, best) ((v) > (best))
#define BETTER_min(v, best) ((v) < (best))
LINE_BEST(max_f64, double, double, real, max, NAN)
LINE_BEST(max_f32, float, double, real, max, NAN)
LINE_BEST(max_i32, int32_t, int64_t, integer, max, 0)
LINE_BEST(min_f64, double, double, real, min, NAN)
LINE_BEST(min_f32, float, double, real, min, NAN)
LINE_BEST(min_i32, int32_t, int64_t, integer, min, 0)

/* `rows` rows, `stride` elements apart, of n ≤ COLUMNS elements each. */
#define COLUMNS_OP(name, T, ACC, field, start, combine)                                                      \
    FOR_EACH_VECTOR_WIDTH static void name(const void *data, int64_t rows, int64_t stride, int64_t n,        \
                                           Partial *out) {                                                   \
        ACC acc[COLUMNS];                                                                                    \
        const T *x = data;                                                                                   \
        for (int64_t i = 0; i < n; i++) acc[i] = start;                                                      \
        for (int64_t r = 0; r < rows; r++, x += stride) {                                                    \
            VECTORISED                                                                                       \
            for (int64_t i = 0; i < n; i++) {                                                                \
                ACC v = (ACC)x[i], best = acc[i];                                                            \
                acc[i] = combine;                                                                            \
            }                                                                                                \
        }                                                                                                    \
        for (int64_t i = 0; i < n; i++) out[i].field = acc[i];                                               \
    }
COLUMNS_OP(column_sum_f64, double, double, real, 0, best + v)
COLUMNS_OP(column_sum_f32, float, double, real, 0, best + v)
COLUMNS_OP(column_sum_i32, int32_t, int64_t, integer, 0, best + v)
COLUMNS_OP(column_max_f64, double, double, real, -INFINITY, v > best || IS_NAN(v) ? v : best)
COLUMNS_OP(column_max_f32, float, double, real, -INFINITY, v > best || IS_NAN(v) ? v : best)
COLUMNS_OP(column_max_i32, int32_t, int64_t, integer, INT32_MIN, v > best ? v : best)
COLUMNS_OP(column_min_f64, double, double, real, INFINITY, v < best || IS_NAN(v) ? v : best)
COLUMNS_OP(column_min_f32, float, double, real, INFINITY, v < best || IS_NAN(v) ? v : best)
COLUMNS_OP(column_min_i32, int32_t, int64_t, integer, INT32_MAX, v < best ? v : best)

typedef Partial LineKernel(const void *data, int64_t n);
typedef void ColumnKernel(const void *data, int64_t rows, int64_t stride, int64_t n, Partial *out);

enum { SUM, MAXIMUM, MINIMUM };
static LineKernel *const line_kernels[3][FRAX_I32 + 1] = {
    [SUM] = {[FRAX_F64] = sum_f64, [FRAX_F32] = sum_f32, [FRAX_I32] = sum_i32},
    [MAXIMUM] = {[FRAX_F64] = max_f64, [FRAX_F32] = max_f32, [FRAX_I32] = max_i32},
    [MINIMUM] = {[FRAX_F64] = min_f64, [FRAX_F32] = min_f32, [FRAX_I32] = min_i32},
};
static ColumnKernel *const column_kernels[3][FRAX_I32 + 1] = {
    [SUM] = {[FRAX_F64] = column_sum_f64, [FRAX_F32] = column_sum_f32, [FRAX_I32] = column_sum_i32},
    [MAXIMUM] = {[FRAX_F64] = column_max_f64, [FRAX_F32] = column_max_f32, [FRAX_I32] = column_max_i32},
    [MINIMUM] = {[FRAX_F64] = column_min_f64, [FRAX_F32] = column_min_f32, [FRAX_I32] = column_min_i32},
};

/* ---- Segments ---- */

typedef struct Reduction {
    int operation;
    FraxDType dtype, result; /* wide dtype of the operand; dtype of the result */
    const char *x;
    char *out;
    int64_t outer, length, inner;
    int64_t segment, segments; /* of the length */
    int64_t columns;           /* pieces of the inner axis */
    int64_t per_chunk;         /* lines */
    Partial *partial;          /* [outer, segments, inner]; unused if there is one segment */
} Reduction;

static Partial combine(const Reduction *r, Partial a, Partial b) {
    bool real = r->dtype != FRAX_I32;
    double u = real ? a.real : (double)a.integer, v = real ? b.real : (double)b.integer;
    if (r->operation == SUM) {
        if (real)
            a.real += b.real;
        else
            a.integer += b.integer;
        return a;
    }
    bool better = r->operation == MAXIMUM ? v > u : v < u;
    return !IS_NAN(u) && (IS_NAN(v) || better) ? b : a;
}

static void store_result(const Reduction *r, int64_t i, Partial p) {
    switch (r->result) {
    case FRAX_F64: ((double *)r->out)[i] = p.real; break;
    case FRAX_F32: ((float *)r->out)[i] = (float)p.real; break;
    case FRAX_I32: ((int32_t *)r->out)[i] = (int32_t)(uint32_t)p.integer; break;
    default: element_set(r->out, r->result, i, p.real);
    }
}

static void line_chunk(const void *context, int64_t chunk) {
    const Reduction *r = context;
    LineKernel *kernel = line_kernels[r->operation][r->dtype];
    int64_t size = (int64_t)frax_dtype_size(r->dtype),
            end = MIN(r->outer * r->segments, (chunk + 1) * r->per_chunk);
    for (int64_t i = chunk * r->per_chunk; i < end; i++) {
        int64_t o = i / r->segments, start = i % r->segments * r->segment;
        Partial p = kernel(r->x + (o * r->length + start) * size, MIN(r->segment, r->length - start));
        if (r->segments == 1)
            store_result(r, o, p);
        else
            r->partial[i] = p;
    }
}

static void column_chunk(const void *context, int64_t chunk) {
    const Reduction *r = context;
    int64_t column = chunk % r->columns * COLUMNS, rest = chunk / r->columns;
    int64_t segment = rest % r->segments, o = rest / r->segments, start = segment * r->segment;
    int64_t n = MIN(COLUMNS, r->inner - column), size = (int64_t)frax_dtype_size(r->dtype);
    Partial columns[COLUMNS];
    column_kernels[r->operation][r->dtype](r->x + ((o * r->length + start) * r->inner + column) * size,
                                           MIN(r->segment, r->length - start), r->inner, n, columns);
    if (r->segments > 1) {
        memcpy(&r->partial[(o * r->segments + segment) * r->inner + column], columns,
               (size_t)n * sizeof *columns);
        return;
    }
    for (int64_t i = 0; i < n; i++) store_result(r, o * r->inner + column + i, columns[i]);
}

static void combine_segments(const Reduction *r) {
    for (int64_t o = 0; o < r->outer; o++)
        for (int64_t i = 0; i < r->inner; i++) {
            const Partial *p = &r->partial[o * r->segments * r->inner + i];
            Partial total = *p;
            for (int64_t s = 1; s < r->segments; s++) total = combine(r, total, p[s * r->inner]);
            store_result(r, o * r->inner + i, total);
        }
}

static FraxStatus reduce_dense(Run *run, Reduction *r) {
    r->segment = r->inner == 1 ? CHUNK : MAX(16, 4 * CHUNK / r->inner);
    r->segments = MAX(1, chunks_of(r->length, r->segment));
    r->columns = chunks_of(r->inner, COLUMNS);
    r->per_chunk = r->inner == 1 ? MAX(1, CHUNK / MAX(1, MIN(r->length, r->segment))) : 1;
    Buffer *partial = NULL;
    if (r->segments > 1) {
        size_t bytes = (size_t)(r->outer * r->segments * r->inner) * sizeof *r->partial;
        FraxStatus status = run_scratch(run, bytes, &partial);
        if (status) return status;
        r->partial = (Partial *)partial->data;
    }
    double work = (double)r->outer * (double)r->length * (double)r->inner;
    if (r->inner == 1)
        for_chunks(run, work, chunks_of(r->outer * r->segments, r->per_chunk), line_chunk, r);
    else
        for_chunks(run, work, r->outer * r->segments * r->columns, column_chunk, r);
    if (partial) {
        combine_segments(r);
        pool_give(run->eager->pool, partial);
    }
    return FRAX_OK;
}

/* ---- The form [outer, length, inner] ---- */

/* Are the reduced axes (of size > 1) neighbours? Then the sizes before, of and after them. */
static bool are_neighbours(const Shape *shape, uint32_t axes, Reduction *r) {
    r->outer = r->length = r->inner = 1;
    bool after = false;
    for (int i = 0; i < shape->rank; i++) {
        int64_t n = shape->dims[i];
        if (axes >> i & 1) {
            if (after && n != 1) return false;
            r->length *= n;
        } else if (n != 1) {
            if (r->length != 1) after = true;
            *(after ? &r->inner : &r->outer) *= n;
        }
    }
    return true;
}

static FraxStatus to_lines(Run *run, const View *x, uint32_t axes, View *lines, Reduction *r) {
    uint8_t perm[MAX_RANK];
    axes_last(x->shape.rank, axes, perm);
    View permuted = view_permuted(x, perm);
    r->outer = r->length = r->inner = 1;
    for (int i = 0; i < x->shape.rank; i++) *(axes >> i & 1 ? &r->length : &r->outer) *= x->shape.dims[i];
    return view_dense(run, &permuted, wide_dtype(x->dtype), lines);
}

FraxStatus eager_reduce(Run *run, Value v) {
    const Node *node = graph_node(run->graph, v);
    const View *x = run_operand(run, v, 0);
    Reduction r = {.operation = node->op == OP_sum          ? SUM
                                : node->op == OP_reduce_max ? MAXIMUM
                                                            : MINIMUM,
                   .dtype = wide_dtype(x->dtype),
                   .result = node->type.dtype};
    View dense;
    FraxStatus status = are_neighbours(&x->shape, node->attrs->axes, &r)
                            ? view_dense(run, x, r.dtype, &dense)
                            : to_lines(run, x, node->attrs->axes, &dense, &r);
    if (status) return status;
    r.x = dense.data;
    status = view_result(run, v);
    if (!status && r.outer * r.inner > 0) {
        r.out = run->values[v].data;
        status = reduce_dense(run, &r);
    }
    view_drop(run, &dense);
    return status;
}

/* ---- Argmax: the maximum by the line kernel, then its first position ---- */

#define FIRST(name, T)                                                                                       \
    static int64_t name(const void *data, int64_t n, Partial best, bool nan) {                               \
        const T *x = data;                                                                                   \
        (void)best;                                                                                          \
        int64_t i = 0;                                                                                       \
        while (i < n - 1 && !(nan ? IS_NAN(x[i]) : x[i] == (T)BEST(best))) i++;                              \
        return i;                                                                                            \
    }
#define BEST(p) (p).real
FIRST(first_f64, double)
FIRST(first_f32, float)
#undef BEST
#define BEST(p) (p).integer
FIRST(first_i32, int32_t)

static void argmax_chunk(const void *context, int64_t chunk) {
    const Reduction *r = context;
    int64_t size = (int64_t)frax_dtype_size(r->dtype), end = MIN(r->outer, (chunk + 1) * r->per_chunk);
    for (int64_t o = chunk * r->per_chunk; o < end; o++) {
        const char *line = r->x + o * r->length * size;
        Partial best = line_kernels[MAXIMUM][r->dtype](line, r->length);
        bool nan = r->dtype != FRAX_I32 && IS_NAN(best.real);
        ((int32_t *)r->out)[o] = (int32_t)(r->dtype == FRAX_F64   ? first_f64(line, r->length, best, nan)
                                           : r->dtype == FRAX_F32 ? first_f32(line, r->length, best, nan)
                                                                  : first_i32(line, r->length, best, nan));
    }
}

FraxStatus eager_argmax(Run *run, Value v) {
    const Node *node = graph_node(run->graph, v);
    const View *x = run_operand(run, v, 0);
    Reduction r = {.dtype = wide_dtype(x->dtype)};
    View lines;
    FraxStatus status = to_lines(run, x, 1u << node->attrs->axis, &lines, &r);
    if (status) return status;
    r.x = lines.data;
    r.per_chunk = MAX(1, CHUNK / MAX(1, r.length));
    status = view_result(run, v);
    if (!status) {
        r.out = run->values[v].data;
        for_chunks(run, (double)r.outer * (double)r.length, chunks_of(r.outer, r.per_chunk), argmax_chunk,
                   &r);
    }
    view_drop(run, &lines);
    return status;
}
