/* eager_pointwise.c — the pointwise ops on views of any strides and dtype.
 *
 * A chunk whose arrays are all dense and of a wide dtype is one call of the op's kernel. Otherwise it goes
 * through tiles in the first-level cache: operands are gathered (a broadcast costs no memory traffic that
 * way) and widened, the kernel runs, and a 16-bit result is rounded on its way out.
 */
#include "eager.h"
#include "vector_math.h"
#include "half.h"
#include <string.h>

/* ---- 16-bit formats, in loops that vectorise; half.c has the scalar definitions ---- */

static inline uint32_t float_bits(float v) {
    uint32_t bits;
    memcpy(&bits, &v, sizeof bits);
    return bits;
}

static inline float bits_float(uint32_t bits) {
    float v;
    memcpy(&v, &bits, sizeof v);
    return v;
}

FOR_EACH_VECTOR_WIDTH static void widen_bf16(const uint16_t *x, float *y, int64_t n) {
    VECTORISED
    for (int64_t i = 0; i < n; i++) y[i] = bits_float((uint32_t)x[i] << 16);
}

/* The exponent is rebased by a multiplication, which is exact and takes subnormals with it. */
FOR_EACH_VECTOR_WIDTH static void widen_f16(const uint16_t *x, float *y, int64_t n) {
    VECTORISED
    for (int64_t i = 0; i < n; i++) {
        uint32_t magnitude = (uint32_t)(x[i] & 0x7fff) << 13, sign = (uint32_t)(x[i] & 0x8000) << 16;
        uint32_t finite = float_bits(bits_float(magnitude) * 0x1p112f);
        y[i] = bits_float((magnitude >= 0x0f800000 ? magnitude | 0x7f800000 : finite) | sign);
    }
}

FOR_EACH_VECTOR_WIDTH static void narrow_bf16(const float *x, uint16_t *y, int64_t n) {
    VECTORISED
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = float_bits(x[i]), rounded = bits + 0x7fff + (bits >> 16 & 1);
        bool nan = (bits & 0x7fffffff) > 0x7f800000;
        y[i] = (uint16_t)((nan ? bits | 0x400000 : rounded) >> 16);
    }
}

/* Ties to even: a normal by a carry from below, a subnormal by adding 1/2, whose unit is f16's smallest
   number. */
FOR_EACH_VECTOR_WIDTH static void narrow_f16(const float *x, uint16_t *y, int64_t n) {
    VECTORISED
    for (int64_t i = 0; i < n; i++) {
        uint32_t bits = float_bits(x[i]), magnitude = bits & 0x7fffffff, sign = bits >> 16 & 0x8000;
        uint32_t normal = (magnitude - (112u << 23) + 0xfff + (magnitude >> 13 & 1)) >> 13;
        uint32_t tiny = float_bits(bits_float(magnitude) + 0.5f) - 0x3f000000;
        uint32_t special = magnitude > 0x7f800000 ? 0x7e00 | (magnitude >> 13 & 0x3ff) : 0x7c00;
        uint32_t h = magnitude >= 0x47800000 ? special : magnitude < 0x38800000 ? tiny : normal;
        y[i] = (uint16_t)(h | sign);
    }
}

FraxDType wide_dtype(FraxDType dtype) {
    return dtype_is_half(dtype) ? FRAX_F32 : dtype;
}

void widen(FraxDType dtype, const void *from, float *to, int64_t n) {
    (dtype == FRAX_BF16 ? widen_bf16 : widen_f16)(from, to, n);
}

void narrow(FraxDType dtype, const float *from, void *to, int64_t n) {
    (dtype == FRAX_BF16 ? narrow_bf16 : narrow_f16)(from, to, n);
}

/* ---- The walk over chunks and tiles ---- */

enum { MOST_OPERANDS = 3 };

typedef struct Operand {
    FraxDType dtype;
    bool dense, wide; /* wide: no conversion */
    Walk walk;
} Operand;

typedef struct Pointwise {
    const Node *node;
    PointwiseKernel *kernel;
    int nargs;
    Operand args[MOST_OPERANDS];
    char *out;
    FraxDType dtype, computed; /* of the result; of what the kernel writes */
    int64_t n;
    bool tiled;
} Pointwise;

typedef struct Tiles {
    _Alignas(64) char args[MOST_OPERANDS][TILE * sizeof(double)];
    _Alignas(64) char out[TILE * sizeof(double)];
} Tiles;

/* Elements [start, start + n) of an operand in its wide dtype: where they lie, or in the tile. */
static const void *operand_tile(const Operand *x, int64_t start, int64_t n, char *tile) {
    const char *raw = x->walk.data + start * (int64_t)x->walk.size;
    if (x->dense && x->wide) return raw;
    if (x->dense) {
        widen(x->dtype, raw, (float *)tile, n);
        return tile;
    }
    _Alignas(64) char narrow_elements[TILE * sizeof(uint16_t)];
    walk_read(&x->walk, start, n, x->wide ? tile : narrow_elements);
    if (!x->wide) widen(x->dtype, narrow_elements, (float *)tile, n);
    return tile;
}

static void store_tile(const Pointwise *p, int64_t start, int64_t n, const char *tile) {
    if (p->computed == FRAX_F32) {
        narrow(p->dtype, (const float *)tile, p->out + start * 2, n);
        return;
    }
    for (int64_t i = 0; i < n; i++) /* rounded once, from f64 */
        element_set(p->out, p->dtype, start + i, ((const double *)tile)[i]);
}

static void run_tiles(const Pointwise *p, int64_t start, int64_t end) {
    Tiles tiles;
    const void *args[MOST_OPERANDS];
    bool in_place = p->computed == p->dtype;
    int64_t size = (int64_t)frax_dtype_size(p->dtype);
    for (int64_t at = start; at < end; at += TILE) {
        int64_t n = MIN(TILE, end - at);
        for (int i = 0; i < p->nargs; i++)
            if (at == start || !walk_is_scalar(&p->args[i].walk)) /* a scalar's tile stays */
                args[i] = operand_tile(&p->args[i], at, n, tiles.args[i]);
        p->kernel(p->node, in_place ? p->out + at * size : tiles.out, args, n);
        if (!in_place) store_tile(p, at, n, tiles.out);
    }
}

static void pointwise_chunk(const void *context, int64_t chunk) {
    const Pointwise *p = context;
    int64_t start = chunk * CHUNK, end = MIN(p->n, start + CHUNK);
    if (p->tiled) {
        run_tiles(p, start, end);
        return;
    }
    const void *args[MOST_OPERANDS];
    for (int i = 0; i < p->nargs; i++) args[i] = p->args[i].walk.data + start * (int64_t)p->args[i].walk.size;
    p->kernel(p->node, p->out + start * (int64_t)frax_dtype_size(p->dtype), args, end - start);
}

/* Element visits of one element: a special function takes about as long as a hundred sums. */
static double visits_of(Op op) {
    bool special =
        op == OP_lgamma || op == OP_polygamma || op == OP_complex_lgamma || op == OP_mittag_leffler;
    return special ? 100 : 1;
}

static FraxStatus run_pointwise(Run *run, Value v, PointwiseKernel *kernel, FraxDType computed) {
    const Node *node = graph_node(run->graph, v);
    Pointwise p = {.node = node,
                   .kernel = kernel,
                   .nargs = node->nargs,
                   .dtype = node->type.dtype,
                   .computed = computed,
                   .n = shape_size(&node->type.shape),
                   .tiled = computed != node->type.dtype};
    FraxStatus status = view_result(run, v);
    if (status) return status;
    p.out = run->values[v].data;
    for (int i = 0; i < p.nargs; i++) {
        const View *x = run_operand(run, v, i);
        p.args[i] = (Operand){.dtype = x->dtype,
                              .dense = view_is_dense(x),
                              .wide = wide_dtype(x->dtype) == x->dtype,
                              .walk = walk_create(x)};
        p.tiled = p.tiled || !p.args[i].dense || !p.args[i].wide;
    }
    for_chunks(run, (double)p.n * visits_of(node->op), chunks_of(p.n, CHUNK), pointwise_chunk, &p);
    return FRAX_OK;
}

FraxStatus eager_pointwise(Run *run, Value v) {
    const Node *node = graph_node(run->graph, v);
    FraxDType operand = graph_type(run->graph, node->args[node->nargs - 1])->dtype;
    PointwiseKernel *kernel = pointwise_kernel(node->op, wide_dtype(operand));
    if (!kernel)
        return fail(run->err, FRAX_INTERNAL, "%s of %s has no kernel on the eager target",
                    op_table[node->op].name, frax_dtype_name(operand));
    return run_pointwise(run, v, kernel, wide_dtype(node->type.dtype));
}

/* A 16-bit result of f64 or i32 comes by way of f64: f32 in between would round twice. */
FraxStatus eager_cast(Run *run, Value v) {
    FraxDType to = graph_type(run->graph, v)->dtype;
    FraxDType from = wide_dtype(run_operand(run, v, 0)->dtype);
    FraxDType computed = wide_dtype(to) != to && from != FRAX_F32 ? FRAX_F64 : wide_dtype(to);
    return run_pointwise(run, v, cast_kernel(from, computed), computed);
}
