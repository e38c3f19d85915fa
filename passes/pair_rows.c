/* pair_rows.c — which kernels take their rows in pairs.
 *
 * A filter with a real impulse response maps the real and the imaginary part of a signal apart, so that two
 * rows that share K pass through one complex transform, packed and unpacked for nothing (codegen/fft/pairs.c). A
 * row alone has the cheaper real transform. So the last outer loops, along which no table moves, must hold
 * two rows at least; loops that tables move along are brought before them.
 *
 * Each pair is judged while it is transformed: rows of very different size go once more, each with itself.
 * Until then nothing may have been added to a sum over rows, so that cross spectra must belong to the last
 * transforms of the kernel.
 */
#include "kernel_internal.h"
#include <string.h>

bool is_generated_length(FraxDType dtype, int64_t n) {
    enum { LONGEST_BYTES = 1 << 19 };
    static const int primes[] = {2, 3, 5, 7};
    if (dtype != FRAX_F32 && dtype != FRAX_F64) return false;
    if (n < 1 || n > LONGEST_BYTES / (int64_t)frax_dtype_size(dtype)) return false;
    for (size_t i = 0; i < COUNT(primes); i++)
        while (n % primes[i] == 0) n /= primes[i];
    return n == 1;
}

/* The axes of a transform of one or two axes, last one last; their number, 0 for anything else. */
static int transform_lengths(const Graph *g, const Node *node, int64_t lengths[2]) {
    int n = 0;
    if (node->op != OP_spectral && node->op != OP_cross_spectrum) return 0;
    if (__builtin_popcount(node->attrs->axes) > 2) return 0;
    const Shape *x = &graph_type(g, node->args[0])->shape;
    for (int i = 0; i < x->rank; i++)
        if (node->attrs->axes >> i & 1) lengths[n++] = x->dims[i];
    return n;
}

/* Lines of an image go through the second cache. */
static bool is_generated(FraxDType dtype, const int64_t *lengths, int n) {
    enum { LARGEST_IMAGE = 1 << 20 };
    for (int i = 0; i < n; i++)
        if (!is_generated_length(dtype, lengths[i]) || (n == 2 && lengths[i] == 1)) return false;
    return n == 1 || (n == 2 && lengths[0] * lengths[1] <= LARGEST_IMAGE);
}

static bool same_transforms(const Graph *g, const Kernel *k) {
    const Node *first = graph_node(g, k->rows[0].node);
    int64_t lengths[2], others[2];
    int n = transform_lengths(g, first, lengths);
    if (!is_generated(first->type.dtype, lengths, n) || k->nloops - k->nouter != n) return false;
    for (size_t r = 1; r < k->nrows; r++) {
        const Node *node = graph_node(g, k->rows[r].node);
        if (node->type.dtype != first->type.dtype || transform_lengths(g, node, others) != n) return false;
        if (memcmp(lengths, others, sizeof *lengths * (size_t)n)) return false;
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
    bool fits = k->nrows && same_transforms(g, k) && sums_come_last(g, k) && !has_argmax(g, k);
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
    bool image = k->nloops - k->nouter == 2;
    k->sharing = rows > 1 || image ? rows : 0;
}

int64_t kernel_pair_unit(const Graph *g, const Kernel *k) {
    enum { LANES = 16 }; /* of the longest vectors */
    int64_t lengths[2];
    int n = transform_lengths(g, graph_node(g, k->rows[0].node), lengths);
    return n == 1 && lengths[0] % LANES ? 2 * LANES : 2;
}
