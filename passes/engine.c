/* engine.c — chooses how each convolution, filter and correlation is computed, causal or periodic.
 *
 * Runs after differentiation, so engines need no derivative rules. Two tables: what an engine makes of a node
 * (engine_forms.c, engine_dense.c), and the measured ranges in which `auto` takes it:
 *
 *   dense    a product with a Toeplitz or circulant matrix: n² per row, but at the speed of a GEMM
 *   direct   the sum as it stands: n·j per row for j weights
 *   fft      spectra, of causal signals padded by zeros to an even P ≥ n + j − 1: P log P per row
 *
 * A choice of `auto` leaves a note in the graph. Filters and cross spectra along one axis are always `auto`.
 */
#include "engine.h"
#include "kernel.h"
#include "passes.h"
#include "rewrite.h"

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
 * n² by many rows. Transforms of long rows are bound by memory, the sum is not, so it holds longer there.
 *
 * Filters, f32, on one core with AVX2, in ns per row of many and of 16 rows; generated transforms of pairs of
 * rows are ahead from 4 samples on, those of the library far behind where a prime factor is none of its
 * kernels':
 *
 *     samples   dense       fft             samples   dense       fft             samples   dense        fft
 *     4         8.4  2.8    5.6   6.4       22        41    41    172   161       31        70    71     654
 * 1026 8         9.4  3.4    3.7   4.8       44        80    150   202   292       106       368   719 1381
 * 1351 16        22   17     17    14        88        326   481   310   507       251       1848  2049 11155
 * 13565 32        47   61     19    19        176       907   1979  557   541       509       8237  11123
 * 27555  25896
 */
static const struct {
    Family family;
    Engine engine;
    int64_t least_samples, most_samples, least_weights, most_weights, least_sharing;
} choices[] = {
    {CAUSAL, ENGINE_DENSE, 1, 32, 8, INT64_MAX, 8},
    {CAUSAL, ENGINE_DENSE, 33, 64, 48, INT64_MAX, 32},
    {CAUSAL, ENGINE_DIRECT, 0, 512, 0, 100, 0},
    {CAUSAL, ENGINE_DIRECT, 513, 32768, 0, 160, 0},
    {CAUSAL, ENGINE_DIRECT, 32769, 500000, 0, 240, 0},
    {CAUSAL, ENGINE_DIRECT, 500001, INT64_MAX, 0, 500, 0},
    {CAUSAL, ENGINE_FFT, 0, INT64_MAX, 0, INT64_MAX, 0},
    {PERIODIC_GENERATED, ENGINE_FFT, 0, INT64_MAX, 0, INT64_MAX, 0},
    {PERIODIC, ENGINE_DENSE, 1, 64, 0, INT64_MAX, 16},
    {PERIODIC, ENGINE_FFT, 0, INT64_MAX, 0, INT64_MAX, 0},
    {PERIODIC_PRIME, ENGINE_DENSE, 1, 512, 0, INT64_MAX, 16},
    {PERIODIC_PRIME, ENGINE_FFT, 0, INT64_MAX, 0, INT64_MAX, 0},
};

/* What an engine makes of each family. A transform of a periodic signal stays as it is. */
static EngineForm *const forms[FAMILIES][ENGINE_COUNT] = {
    [CAUSAL] = {[ENGINE_DENSE] = form_dense_causal, [ENGINE_DIRECT] = form_direct, [ENGINE_FFT] = form_fft},
    [PERIODIC] = {[ENGINE_DENSE] = form_dense_periodic},
    [PERIODIC_PRIME] = {[ENGINE_DENSE] = form_dense_periodic},
};

/* ---- The convolution of a node ---- */

/* Which operand is the signal, and which one w or K. */
static const struct Role {
    Op op;
    int signal, weights; /* −1: the result of a correlation */
} roles[] = {
    {OP_causal_conv, 1, 0}, {OP_causal_correlation, 0, -1}, {OP_spectral, 0, 1}, {OP_cross_spectrum, 0, -1}};

static bool is_causal(const Node *node) {
    return node->op == OP_causal_conv || node->op == OP_causal_correlation;
}

/* A signal with zeros after it is a causal convolution by fft, or an impulse. */
static bool may_be_dense(const Graph *g, const Node *node) {
    bool native = node->type.dtype == FRAX_F32 || node->type.dtype == FRAX_F64;
    return native && __builtin_popcount(node->attrs->axes) == 1 && unpadded_signal(g, node) == NO_VALUE;
}

static const struct Role *role_of(const Graph *g, const Node *node) {
    size_t i = 0;
    while (i < COUNT(roles) && roles[i].op != node->op) i++;
    return i < COUNT(roles) && (is_causal(node) || may_be_dense(g, node)) ? &roles[i] : NULL;
}

/* The library has kernels for 11 and 13 too. */
static Family family_of(FraxDType dtype, int64_t n) {
    static const int primes[] = {2, 3, 5, 7, 11, 13};
    if (is_generated_length(dtype, n)) return PERIODIC_GENERATED;
    for (size_t i = 0; i < COUNT(primes); i++)
        while (n > 0 && n % primes[i] == 0) n /= primes[i];
    return n > 1 ? PERIODIC_PRIME : PERIODIC;
}

static Convolution convolution_of(const Graph *g, const Node *node, const struct Role *role) {
    const Shape *x = &graph_type(g, node->args[role->signal])->shape;
    const Shape *w = role->weights < 0 ? &node->type.shape : &graph_type(g, node->args[role->weights])->shape;
    Convolution c = {.axis = node->attrs->axis, .correlates = role->weights < 0, .rows = 1, .sharing = 1};
    if (!is_causal(node)) {
        c.axis = __builtin_ctz(node->attrs->axes);
        c.family = family_of(node->type.dtype, x->dims[c.axis]);
    }
    c.samples = x->dims[c.axis];
    c.weights = is_causal(node) ? w->dims[c.axis] : c.samples;
    for (int i = 0; i < x->rank; i++) {
        if (i == c.axis) continue;
        c.rows *= x->dims[i];
        if (w->dims[i] == x->dims[i]) continue;
        c.shared |= 1u << i;
        c.sharing *= x->dims[i];
    }
    return c;
}

static Engine engine_of(const Node *node) {
    return is_causal(node) ? (Engine)node->attrs->engine : ENGINE_AUTO;
}

/* ---- The choice ---- */

static bool fits_length(const Convolution *c, size_t i) {
    return c->family == choices[i].family && c->samples >= choices[i].least_samples &&
           c->samples <= choices[i].most_samples;
}

/* The row of `choices` that `auto` takes. */
static size_t choose(const Convolution *c) {
    size_t i = 0;
    while (!fits_length(c, i) || c->weights < choices[i].least_weights ||
           c->weights > choices[i].most_weights || c->sharing < choices[i].least_sharing)
        i++;
    return i;
}

/* The limits at this number of samples, up to those that hold. */
static void append_limits(const Convolution *c, size_t taken, Text *out) {
    for (size_t i = 0; i <= taken; i++) {
        if (!fits_length(c, i) || choices[i].engine == ENGINE_FFT) continue; /* fft is what is left */
        text_printf(out, "%s%s ", out->len ? ", " : "", engine_names[choices[i].engine]);
        if (c->family != CAUSAL)
            text_printf(out, "from %lld rows that share K", (long long)choices[i].least_sharing);
        else if (choices[i].least_sharing)
            text_printf(out, "from %lld weights and %lld rows that share them",
                        (long long)choices[i].least_weights, (long long)choices[i].least_sharing);
        else
            text_printf(out, "to %lld weights", (long long)choices[i].most_weights);
    }
}

/* "causal_conv of 4096 samples by 200 weights, 32 rows: fft (measured at this length: direct to 160
   weights)". Where there is one engine, as for long periodic signals, there is nothing to say. */
static void note_choice(Graph *g, const Node *node) {
    const struct Role *role = role_of(g, node);
    if (!role || engine_of(node) != ENGINE_AUTO) return;
    Convolution c = convolution_of(g, node, role);
    size_t taken = choose(&c);
    Text limits = {0}, what = {0};
    append_limits(&c, taken, &limits);
    text_printf(&what, "%s of %lld samples", op_table[node->op].name, (long long)c.samples);
    if (c.family == CAUSAL) text_printf(&what, " by %lld weights", (long long)c.weights);
    if (limits.failed || what.failed)
        graph_fail(g, FRAX_MEMORY, "out of memory while noting engines");
    else if (limits.len)
        graph_note(g, node->loc, "%s, %lld row%s: %s (measured at this length: %s)", what.data,
                   (long long)c.rows, c.rows == 1 ? "" : "s", engine_names[choices[taken].engine],
                   limits.data);
    text_free(&limits);
    text_free(&what);
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
    const struct Role *role = role_of(g, node);
    if (!role) return NO_VALUE;
    note_choice(g, node);
    Convolution c = convolution_of(g, node, role);
    Engine engine = engine_of(node);
    if (engine == ENGINE_AUTO) engine = choices[choose(&c)].engine;
    if (!c.samples || !c.rows) engine = ENGINE_DIRECT;
    EngineForm *form = forms[c.family][engine];
    return form ? form(g, node, &c) : NO_VALUE;
}

Graph *pass_engine(const Graph *graph, FraxError *err) {
    return rewrite_until_stable(graph, choose_engine, err);
}
