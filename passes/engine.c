/* engine.c — chooses how each causal convolution and correlation is computed.
 *
 * Runs after differentiation, so engines need no derivative rules. One table lists the engines with the
 * measured ranges in which `auto` takes them; engine_forms.c holds what they make of a node:
 *
 *   dense    a product with the Toeplitz matrix of the weights: n² per row, but at the speed of a GEMM
 *   direct   the sum as it stands: n·j per row for j weights
 *   fft      spectra of signals padded by zeros to an even P ≥ n + j − 1: P log P per row
 *
 * Sums over batch axes are left to the direct form's `sum`. A choice of `auto` leaves a note in the graph.
 */
#include "engine.h"
#include "passes.h"
#include "rewrite.h"

typedef struct EngineInfo {
    Engine engine;
    int64_t most_samples, most_weights, least_rows; /* where `auto` takes it */
    EngineForm *form;
} EngineInfo;

/* The first row that serves is taken. The limits are crossings of times per row measured in f64 and f32 on
   one core with AVX-512: ratios of arithmetic done by the same vector units, so that they move little between
   machines. */
static const EngineInfo engines[] = {
    {ENGINE_DIRECT, INT64_MAX, 100, 1, form_direct},
    {ENGINE_FFT, INT64_MAX, INT64_MAX, 1, form_fft},
    {ENGINE_DENSE, 0, 0, 1, form_dense},
};

static bool serves(const EngineInfo *e, const Convolution *c) {
    return c->samples <= e->most_samples && c->weights <= e->most_weights && MAX(c->rows, 1) >= e->least_rows;
}

Convolution convolution_of(const Graph *g, const Node *node) {
    bool correlates = node->op == OP_causal_correlation;
    const Shape *x = &graph_type(g, node->args[correlates ? 0 : 1])->shape;
    const Shape *w = correlates ? &node->type.shape : &graph_type(g, node->args[0])->shape;
    Convolution c = {.axis = node->attrs->axis, .correlates = correlates, .rows = 1};
    c.samples = x->dims[c.axis];
    c.weights = w->dims[c.axis];
    for (int i = 0; i < x->rank; i++) {
        if (i == c.axis) continue;
        c.rows *= x->dims[i];
        if (w->dims[i] != x->dims[i]) c.shared |= 1u << i;
    }
    return c;
}

/* Nothing is transformed in an empty signal. */
static const EngineInfo *choose(const Convolution *c, Engine asked) {
    for (size_t i = 0; i < COUNT(engines); i++) {
        Engine engine = c->samples ? asked : ENGINE_DIRECT;
        if (engine == engines[i].engine || (engine == ENGINE_AUTO && serves(&engines[i], c)))
            return &engines[i];
    }
    return NULL;
}

static bool is_convolution(const Node *node) {
    return node->op == OP_causal_conv || node->op == OP_causal_correlation;
}

static Value choose_engine(Graph *g, const Node *node) {
    if (node->op == OP_flip) return unflip_spectral(g, node);
    if (!is_convolution(node)) return NO_VALUE;
    Convolution c = convolution_of(g, node);
    const EngineInfo *engine = choose(&c, (Engine)node->attrs->engine);
    return engine ? engine->form(g, node, &c) : NO_VALUE;
}

Graph *pass_engine(const Graph *graph, FraxError *err) {
    return rewrite_until_stable(graph, choose_engine, err);
}
