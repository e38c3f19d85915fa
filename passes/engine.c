/* engine.c — chooses how each causal convolution is computed.
 *
 * Runs after differentiation, so engines need no derivative rules. The choice is one row of the table below;
 * `direct` stays a causal_conv node for the history kernel, `fft` becomes spectral nodes: with both signals
 * padded by zeros to an even P ≥ n + j − 1 for j weights, the circular convolution of length P agrees with
 * the causal one on the first n samples.
 */
#include "passes.h"
#include "rewrite.h"

/* Rewrites a convolution for an engine. */
typedef Value EngineRewrite(Graph *g, const Node *node);

static Value keep_direct(Graph *g, const Node *node) {
    return g_causal_conv(g, node->args[0], node->args[1], node->attrs->axis, ENGINE_DIRECT);
}

/* A good length P ≥ least: a power of two where transforms are generated code (codegen/fft.c), which more
   than makes up for a longer row; else the smallest even 2^a 3^b 5^c, which every FFT library transforms
   fast. */
static int64_t padded_length(int64_t least) {
    enum { SHORTEST = 32, LONGEST = 65536 };
    int64_t power = SHORTEST;
    while (power < least) power *= 2;
    if (power <= LONGEST) return power;
    for (int64_t length = least + least % 2;; length += 2) {
        int64_t rest = length;
        while (rest % 2 == 0) rest /= 2;
        while (rest % 3 == 0) rest /= 3;
        while (rest % 5 == 0) rest /= 5;
        if (rest == 1) return length;
    }
}

static Value pad_end(Graph *g, Value x, int axis, int64_t length) {
    int64_t before[MAX_RANK] = {0}, after[MAX_RANK] = {0};
    if (g->failed) return NO_VALUE;
    after[axis] = length - graph_type(g, x)->shape.dims[axis];
    return g_pad(g, x, before, after, NULL);
}

static Value by_fft(Graph *g, const Node *node) {
    int axis = node->attrs->axis;
    uint32_t axes = 1u << axis;
    Shape shape = node->type.shape;
    if (g->failed) return NO_VALUE;
    int64_t taps = graph_type(g, node->args[0])->shape.dims[axis];
    int64_t from[MAX_RANK] = {0}, length = padded_length(shape.dims[axis] + taps - 1);
    Value w = pad_end(g, node->args[0], axis, length), x = pad_end(g, node->args[1], axis, length);
    Value y = g_spectral(g, x, g_rfft(g, w, axes, PART_RE), g_rfft(g, w, axes, PART_IM), axes);
    return g_slice(g, y, from, shape.dims, NULL);
}

/* The first row that serves a convolution of n samples, of the engine asked for, is taken. */
static const struct {
    Engine engine;
    int64_t longest; /* where `auto` may choose it: measured, f32 and f64 cross within 64…128 */
    EngineRewrite *rewrite;
} engines[] = {
    {ENGINE_DIRECT, 100, keep_direct},
    {ENGINE_FFT, INT64_MAX, by_fft},
};

static Value choose_engine(Graph *g, const Node *node) {
    if (node->op != OP_causal_conv) return NO_VALUE;
    int64_t n = node->type.shape.dims[node->attrs->axis];
    Engine asked =
        n ? (Engine)node->attrs->engine : ENGINE_DIRECT; /* nothing to transform in an empty signal */
    if (asked == ENGINE_DIRECT && node->attrs->engine == ENGINE_DIRECT) return NO_VALUE;
    for (size_t i = 0; i < COUNT(engines); i++)
        if (asked == engines[i].engine || (asked == ENGINE_AUTO && n <= engines[i].longest))
            return engines[i].rewrite(g, node);
    return NO_VALUE;
}

Graph *pass_engine(const Graph *graph, FraxError *err) {
    return rewrite_until_stable(graph, choose_engine, err);
}
