/* engine_forms.c — a causal convolution or correlation as direct, dense or spectral nodes.
 *
 * All three forms of one convolution and of its adjoints pad to the same length, so that the spectra of w, x
 * and the cotangent are each computed once.
 */
#include "engine.h"
#include "rewrite.h"
#include "transpose.h"
#include <string.h>

/* ---- Direct: the node itself, with its sum over rows apart ---- */

Value form_direct(Graph *g, const Node *node, const Convolution *c) {
    const Attrs *at = node->attrs;
    if (at->engine == ENGINE_DIRECT && !at->sum) return NO_VALUE;
    if (!c->correlates) return g_causal_conv(g, node->args[0], node->args[1], c->axis, ENGINE_DIRECT);
    uint32_t sum = at->sum;
    int64_t n = at->n;
    Value q = g_causal_correlation(g, node->args[0], node->args[1], c->axis, 0, n, ENGINE_DIRECT);
    return g_reduce(g, OP_sum, q, sum);
}

/* ---- FFT ---- */

/* The smallest even 2^a 3^b 5^c ≥ least, which every FFT library transforms fast. */
static int64_t smooth_length(int64_t least) {
    for (int64_t length = least + least % 2;; length += 2) {
        int64_t rest = length;
        while (rest % 2 == 0) rest /= 2;
        while (rest % 3 == 0) rest /= 3;
        while (rest % 5 == 0) rest /= 5;
        if (rest == 1) return length;
    }
}

/* A good length P ≥ least. Powers of two are generated code (codegen/fft/fft.c): to 2048 it makes up for any
   longer row; to 16384 it takes 4/5 of the library's time for a point (5.1 against 6.4 ns at 4096 and 3000,
   f64); beyond, where rows leave the nearest caches, it gains nothing. On a GPU powers of two alone stay in
   registers (codegen/fft/team_fft.c), up to TEAM_BYTES. */
static int64_t padded_length(const Graph *g, FraxDType dtype, int64_t least) {
    enum { SHORTEST = 32, ALWAYS = 2048, LONGEST = 16384, TEAM_BYTES = 1 << 16 };
    int64_t power = SHORTEST, smooth = smooth_length(least);
    while (power < least) power *= 2;
    if (g->gpu && power * (dtype == FRAX_F64 ? 8 : 4) <= TEAM_BYTES) return power;
    return power <= ALWAYS || (power <= LONGEST && 4 * power <= 5 * smooth) ? power : smooth;
}

/* x with zeros after it, up to `length` along the axis. */
static Value pad_end(Graph *g, Value x, int axis, int64_t length) {
    int64_t before[MAX_RANK] = {0}, after[MAX_RANK] = {0};
    if (g->failed) return NO_VALUE;
    after[axis] = length - graph_type(g, x)->shape.dims[axis];
    return g_pad(g, x, before, after, NULL);
}

static Value first_samples(Graph *g, Value x, const Shape *shape) {
    int64_t from[MAX_RANK] = {0};
    return g_slice(g, x, from, shape->dims, NULL);
}

/* Σ_t y_t x_{t−j} for each row: y filtered with conj X. The lags j < 0 come out at the end, and are dropped.
 */
static Value correlate_rows(Graph *g, Value x, Value y, uint32_t axes) {
    Value im = g_neg(g, g_rfft(g, x, axes, PART_IM));
    return g_spectral(g, y, g_rfft(g, x, axes, PART_RE), im, axes);
}

/* The same summed over rows, in the spectrum: the inverse transform of what cross_spectrum weights by c_k/N.
 */
static Value correlate_summed(Graph *g, Value x, Value y, uint32_t axes, uint32_t sum) {
    Value re = g_cross_spectrum(g, x, y, axes, sum, PART_RE);
    Value im = g_cross_spectrum(g, x, y, axes, sum, PART_IM);
    if (g->failed) return NO_VALUE;
    Type type = *graph_type(g, x);
    for (int i = 0; i < type.shape.rank; i++)
        if (sum >> i & 1) type.shape.dims[i] = 1;
    Shape bins = graph_type(g, re)->shape; /* copied before more nodes move the array of types */
    Value weights = g_broadcast(g, inverse_bin_weights(g, type, axes), bins);
    return g_spectral(g, impulse(g, type, axes), g_mul(g, re, weights), g_mul(g, im, weights), axes);
}

Value form_fft(Graph *g, const Node *node, const Convolution *c) {
    uint32_t axes = 1u << c->axis, sum = node->attrs->sum & c->shared;
    Shape shape = node->type.shape;
    int64_t length = padded_length(g, node->type.dtype, c->samples + c->weights - 1);
    Value a = pad_end(g, node->args[0], c->axis, length), b = pad_end(g, node->args[1], c->axis, length), y;
    if (!c->correlates)
        y = g_spectral(g, b, g_rfft(g, a, axes, PART_RE), g_rfft(g, a, axes, PART_IM), axes);
    else
        y = sum ? correlate_summed(g, a, b, axes, sum) : correlate_rows(g, a, b, axes);
    return first_samples(g, y, &shape);
}

/* The operand of a node of this op that leaves the first samples in their place, else NO_VALUE. */
static Value behind(const Graph *g, Value v, Op op) {
    const Node *node = graph_node(g, v);
    if (node->op != op) return NO_VALUE;
    for (int i = 0; i < node->type.shape.rank; i++)
        if (node->attrs->lo[i] || node->attrs->step[i] != 1) return NO_VALUE;
    return node->args[0];
}

Value unflip_spectral(Graph *g, const Node *flip) {
    Value y = behind(g, flip->args[0], OP_slice);
    if (y == NO_VALUE || !is_op(g, y, OP_spectral) || graph_node(g, y)->attrs->axes != flip->attrs->axes)
        return NO_VALUE;
    Value padded = operand(g, y, 0), flipped = behind(g, padded, OP_pad);
    Shape shape = flip->type.shape;
    if (flipped == NO_VALUE || !is_op(g, flipped, OP_flip) ||
        graph_node(g, flipped)->attrs->axes != flip->attrs->axes ||
        !shape_equal(&graph_type(g, flipped)->shape, &shape))
        return NO_VALUE;
    uint32_t axes = flip->attrs->axes;
    Value re = operand(g, y, 1), im = operand(g, y, 2), x = operand(g, flipped, 0);
    Attrs pad = *graph_node(g, padded)->attrs;
    if (!is_constant(g, im, 0)) im = g_neg(g, im);
    return first_samples(g, g_spectral(g, g_pad(g, x, pad.lo, pad.hi, NULL), re, im, axes), &shape);
}
