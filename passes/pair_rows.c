/* pair_rows.c — which kernels take their rows in pairs.
 *
 * A filter with a real impulse response maps the real and the imaginary part of a signal apart, so that two
 * rows that share K pass through one complex transform, packed and unpacked for nothing (codegen/pairs.c). A
 * row alone has the cheaper real transform. So the last outer loops, along which no table moves, must hold
 * two rows at least; loops that tables move along are brought before them.
 *
 * Each pair is judged while it is transformed: rows of very different size go once more, each with itself.
 * Until then nothing may have been added to a sum over rows, so that cross spectra must belong to the last
 * transforms of the kernel.
 */
#include "kernel_internal.h"

bool is_generated_length(FraxDType dtype, int64_t n) {
    enum { LONGEST_BYTES = 1 << 19 };
    static const int primes[] = {2, 3, 5, 7};
    if (dtype != FRAX_F32 && dtype != FRAX_F64) return false;
    if (n < 1 || n > LONGEST_BYTES / (int64_t)frax_dtype_size(dtype)) return false;
    for (size_t i = 0; i < COUNT(primes); i++)
        while (n % primes[i] == 0) n /= primes[i];
    return n == 1;
}

/* Samples of the transform of an operation along one axis; 0: it has several, or is another operation. */
static int64_t transform_length(const Graph *g, const Node *node) {
    if (node->op != OP_spectral && node->op != OP_cross_spectrum) return 0;
    if (__builtin_popcount(node->attrs->axes) != 1) return 0;
    return graph_type(g, node->args[0])->shape.dims[__builtin_ctz(node->attrs->axes)];
}

static bool same_transforms(const Graph *g, const Kernel *k) {
    const Node *first = graph_node(g, k->rows[0].node);
    int64_t n = transform_length(g, first);
    if (!is_generated_length(first->type.dtype, n)) return false;
    for (size_t r = 1; r < k->nrows; r++) {
        const Node *node = graph_node(g, k->rows[r].node);
        if (node->type.dtype != first->type.dtype || transform_length(g, node) != n) return false;
    }
    return true;
}

/* Sums over rows are added to at the end alone. */
static bool sums_come_last(const Graph *g, const Kernel *k) {
    int last = 0;
    for (size_t r = 0; r < k->nrows; r++) last = MAX(last, k->rows[r].stage);
    for (size_t r = 0; r < k->nrows; r++)
        if (graph_node(g, k->rows[r].node)->op == OP_cross_spectrum &&
            (!k->nsummed || k->rows[r].stage < last))
            return false;
    return true;
}

static bool has_argmax(const Graph *g, const Kernel *k) {
    for (size_t i = 0; i < k->nitems; i++)
        if (k->items[i].kind == ITEM_REDUCE && graph_node(g, k->items[i].node)->op == OP_argmax) return true;
    return false;
}

static bool moves_tables(const Kernel *k, int loop) {
    for (size_t r = 0; r < k->nrows; r++)
        for (int t = 0; t < 2; t++)
            if (!k->rows[r].tables[t].is_constant && k->rows[r].tables[t].at.coeff[loop]) return true;
    return false;
}

void kernel_pair_rows(const Graph *g, Kernel *k) {
    int first = 0;
    bool fits = k->nrows && k->nloops - k->nouter == 1 && same_transforms(g, k) && sums_come_last(g, k) &&
                !has_argmax(g, k);
    if (!fits) return;
    for (int l = 0; l < k->nouter - k->nsummed; l++) {
        if (!moves_tables(k, l)) continue;
        for (int at = l; at > first; at--) kernel_exchange_loops(k, at - 1, at);
        first++;
    }
    int64_t rows = 1;
    for (int l = k->nsummed ? k->nouter - k->nsummed : first; l < k->nouter; l++) {
        if (moves_tables(k, l)) return;
        rows *= k->size[l];
    }
    k->sharing = rows > 1 ? rows : 0;
}

int64_t kernel_pair_unit(const Graph *g, const Kernel *k) {
    enum { LANES = 16 }; /* of the longest vectors */
    return transform_length(g, graph_node(g, k->rows[0].node)) % LANES ? 2 * LANES : 2;
}
