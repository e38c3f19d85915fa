/* engine.c — chooses how each causal convolution and correlation is computed.
 *
 * Runs after differentiation, so engines need no derivative rules. Two tables: what an engine makes of a node
 * (engine_forms.c), and the measured ranges in which `auto` takes it:
 *
 *   dense    a product with the Toeplitz matrix of the weights: n² per row, but at the speed of a GEMM
 *   direct   the sum as it stands: n·j per row for j weights
 *   fft      spectra of signals padded by zeros to an even P ≥ n + j − 1: P log P per row
 *
 * A choice of `auto` leaves a note in the graph.
 */
#include "engine.h"
#include "passes.h"
#include "rewrite.h"

static EngineForm *const forms[ENGINE_COUNT] = {
    [ENGINE_DENSE] = form_dense, [ENGINE_DIRECT] = form_direct, [ENGINE_FFT] = form_fft};

/* The first row that holds is taken: samples and weights within the ranges, and at least so many rows that
 * share the weights.
 *
 * Times per row in µs on one core with AVX-512, f64 (f32 crosses at the same places within a third):
 *
 *     samples, weights, rows    dense   direct   fft          samples, weights     direct    fft
 *     32, 32, 8                 0.081   0.090   0.146         4096, 128              26       36
 *     32, 32, 64                0.033   0.065   0.117         4096, 256              47       33
 *     64, 64, 8                 0.38    0.178   0.222         65536, 128            424      719
 *     64, 64, 64                0.127   0.157   0.199         65536, 256            824      747
 *     128, 128, 64              0.79    0.49    0.41          1000000, 256        13700    30600
 *     1024, 1024, 64           84      25       5.4           1000000, 512        25900    32200
 *
 * All three are bound by the same multiply-and-add units while the row lies in the cache, so the crossings
 * are ratios of operation counts and move little between machines; a dense product must pay for its matrix of
 * n² by many rows. Transforms of long rows are bound by memory, the sum is not, so it holds longer there. */
static const struct {
    Engine engine;
    int64_t least_samples, most_samples, least_weights, most_weights, least_sharing;
} choices[] = {
    {ENGINE_DENSE, 1, 32, 8, INT64_MAX, 8},      {ENGINE_DENSE, 33, 64, 48, INT64_MAX, 32},
    {ENGINE_DIRECT, 0, 512, 0, 100, 0},          {ENGINE_DIRECT, 513, 32768, 0, 160, 0},
    {ENGINE_DIRECT, 32769, 500000, 0, 240, 0},   {ENGINE_DIRECT, 500001, INT64_MAX, 0, 500, 0},
    {ENGINE_FFT, 0, INT64_MAX, 0, INT64_MAX, 0},
};

Convolution convolution_of(const Graph *g, const Node *node) {
    bool correlates = node->op == OP_causal_correlation;
    const Shape *x = &graph_type(g, node->args[correlates ? 0 : 1])->shape;
    const Shape *w = correlates ? &node->type.shape : &graph_type(g, node->args[0])->shape;
    Convolution c = {.axis = node->attrs->axis, .correlates = correlates, .rows = 1, .sharing = 1};
    c.samples = x->dims[c.axis];
    c.weights = w->dims[c.axis];
    for (int i = 0; i < x->rank; i++) {
        if (i == c.axis) continue;
        c.rows *= x->dims[i];
        if (w->dims[i] == x->dims[i]) continue;
        c.shared |= 1u << i;
        c.sharing *= x->dims[i];
    }
    return c;
}

static bool fits_length(const Convolution *c, size_t i) {
    return c->samples >= choices[i].least_samples && c->samples <= choices[i].most_samples;
}

/* The row of `choices` that `auto` takes. */
static size_t choose(const Convolution *c) {
    size_t i = 0;
    while (!fits_length(c, i) || c->weights < choices[i].least_weights ||
           c->weights > choices[i].most_weights || c->sharing < choices[i].least_sharing)
        i++;
    return i;
}

static bool is_convolution(const Node *node) {
    return node->op == OP_causal_conv || node->op == OP_causal_correlation;
}

/* The limits at this number of samples, up to those that hold. */
static void append_limits(const Convolution *c, size_t taken, Text *out) {
    for (size_t i = 0; i <= taken; i++) {
        if (!fits_length(c, i) || choices[i].engine == ENGINE_FFT) continue; /* fft is what is left */
        text_printf(out, "%s%s ", out->len ? ", " : "", engine_names[choices[i].engine]);
        if (choices[i].least_sharing)
            text_printf(out, "from %lld weights and %lld rows that share them",
                        (long long)choices[i].least_weights, (long long)choices[i].least_sharing);
        else
            text_printf(out, "to %lld weights", (long long)choices[i].most_weights);
    }
}

/* "causal_conv of 4096 samples by 200 weights, 32 rows: fft (measured at this length: direct to 160
   weights)" */
static void note_choice(Graph *g, const Node *node) {
    if (!is_convolution(node) || node->attrs->engine != ENGINE_AUTO) return;
    Convolution c = convolution_of(g, node);
    size_t taken = choose(&c);
    Text limits = {0};
    append_limits(&c, taken, &limits);
    if (limits.failed)
        graph_fail(g, FRAX_MEMORY, "out of memory while noting engines");
    else
        graph_note(g, node->loc,
                   "%s of %lld samples by %lld weights, %lld row%s: %s (measured at this length: %s)",
                   op_table[node->op].name, (long long)c.samples, (long long)c.weights, (long long)c.rows,
                   c.rows == 1 ? "" : "s", engine_names[choices[taken].engine], limits.data);
    text_free(&limits);
}

void note_engines(Graph *g) {
    bool *live = mem_alloc(MAX(g->count, 1) * sizeof *live);
    if (!live) {
        graph_fail(g, FRAX_MEMORY, "out of memory while listing engines");
        return;
    }
    graph_live(g, live);
    for (size_t v = 0; v < g->count; v++)
        if (live[v]) note_choice(g, &g->nodes[v]);
    mem_free(live);
}

/* Nothing is transformed or multiplied in an empty signal. */
static Value choose_engine(Graph *g, const Node *node) {
    if (node->op == OP_flip) return unflip_spectral(g, node);
    if (!is_convolution(node)) return NO_VALUE;
    note_choice(g, node);
    Convolution c = convolution_of(g, node);
    Engine engine = c.samples && c.rows ? (Engine)node->attrs->engine : ENGINE_DIRECT;
    if (engine == ENGINE_AUTO) engine = choices[choose(&c)].engine;
    return forms[engine](g, node, &c);
}

Graph *pass_engine(const Graph *graph, FraxError *err) {
    return rewrite_until_stable(graph, choose_engine, err);
}
