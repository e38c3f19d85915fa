/* cuda_transform.c — see cuda_transform.h.
 *
 * Between the transforms stands one kernel, a thread for each bin. Without sums over rows a thread has one
 * row; with them it goes through a share of the rows of one kept index, in their order, so that sums have the
 * same bits in every run; the shares are added up in their order by a second kernel.
 *
 * A real signal has a spectrum with X(−k) = conj X(k). Where both k and −k are among the bins, in the first
 * column of the halved axis and the middle one, K is taken for (K(k) + conj K(−k))/2, which leaves of the
 * result what is real: the library may do as it likes with anything else there.
 */
#include "cuda_transform.h"
#include "library_transform.h"
#include <math.h>
#include <string.h>

enum { THREADS = 256, MOST_BLOCKS = 1 << 16 };

typedef struct Bins {
    CudaProgram *program;
    const Graph *graph;
    const Kernel *k;
    TransformPlan plan;
    const char *type; /* of C */
    Text *out;
} Bins;

static const Node *row_node(const Bins *b, size_t r) {
    return graph_node(b->graph, b->k->rows[r].node);
}

static bool is_op_of(const Bins *b, size_t r, Op op) {
    return row_node(b, r)->op == op;
}

/* ---- Places ---- */

/* c · name of a sum that has begun or not. */
static void print_term(const Bins *b, bool *begun, int64_t c, const char *name, int number) {
    if (!c) return;
    text_printf(b->out, "%s", *begun ? " + " : "");
    if (c != 1) text_printf(b->out, "(idx)%lld * ", (long long)c);
    text_printf(b->out, "%s%d", name, number);
    *begun = true;
}

/* Affine in the outer loops, which are variables i0, i1, …; false: nothing is printed, it is 0. */
static bool print_affine(const Bins *b, const Affine *a) {
    bool begun = a->base != 0;
    if (begun) text_printf(b->out, "%lld", (long long)a->base);
    for (int l = 0; l < b->k->nouter; l++) print_term(b, &begun, a->coeff[l], "i", l);
    return begun;
}

/* The element at this bin of what starts at `at`; mirrored: at the bin that is conjugate to it. */
static void print_element(const Bins *b, const Affine *at, const int64_t *stride, bool mirrored) {
    int last = b->plan.rank - 1;
    bool begun = print_affine(b, at);
    for (int i = 0; i <= last; i++) print_term(b, &begun, stride[i], mirrored && i < last ? "m" : "a", i);
    if (!begun) text_printf(b->out, "0");
}

/* A stored value as an array. */
static void print_array(const Bins *b, Value v, bool is_written) {
    const Node *node = graph_node(b->graph, v);
    long long at = (long long)node->offset;
    text_printf(b->out, "((%s%s *)", is_written ? "" : "const ", b->type);
    switch (node->region) {
    case REGION_INPUT: text_printf(b->out, "context.inputs[%lld])", at); break;
    case REGION_OUTPUT: text_printf(b->out, "context.outputs[%lld])", at); break;
    case REGION_STATIC: text_printf(b->out, "(context.statics + %lldll))", at); break;
    default: text_printf(b->out, "(context.arena + %lldll))", at);
    }
}

static void print_number(const Bins *b, double v) {
    char text[32];
    bool is_f32 = b->plan.dtype == FRAX_F32;
    double_text(is_f32 ? (double)(float)v : v, text);
    if (isfinite(v))
        text_printf(b->out, "(%s%s%s)", text, strpbrk(text, ".e") ? "" : ".0", is_f32 ? "f" : "");
    else
        text_printf(b->out, "((%s)%s)", b->type, isnan(v) ? "NAN64" : v > 0 ? "INF64" : "-INF64");
}

/* Loops [first, end) from the number of their place. */
static void print_loops(const Bins *b, const char *indent, int first, int end, const char *number) {
    const Kernel *k = b->k;
    int64_t below = 1;
    for (int l = end - 1; l >= first; l--) {
        text_printf(b->out, "%sconst idx i%d = %s", indent, l, number);
        if (below > 1) text_printf(b->out, " / %lld", (long long)below);
        if (l > first) text_printf(b->out, " %% %lld", (long long)k->size[l]);
        text_printf(b->out, ";\n");
        below *= k->size[l];
    }
}

/* The number of a row in memory. */
static Affine row_place(const Bins *b) {
    Affine at = b->k->items[b->plan.items[0]].at;
    for (int l = 0; l < MAX_LOOPS; l++) at.coeff[l] = l < b->k->nouter ? at.coeff[l] / b->plan.points : 0;
    return at;
}

/* ---- One bin of one row ---- */

static void print_table(const Bins *b, size_t r, int part, bool mirrored) {
    const Table *t = &b->k->rows[r].tables[part];
    if (t->is_constant) {
        print_number(b, t->constant);
        return;
    }
    print_array(b, t->node, false);
    text_printf(b->out, "[");
    print_element(b, &t->at, t->stride, mirrored);
    text_printf(b->out, "]");
}

/* K/n of filter r, as Kr_re and Kr_im. */
static void print_filter(const Bins *b, const char *indent, size_t r) {
    static const char *const names[] = {"re", "im"};
    for (int part = 0; part < 2; part++) {
        double scale = (b->k->rows[r].tables[part].negated ? -1 : 1) / (double)b->plan.points;
        text_printf(b->out, "%s%s k%zu_%s = ", indent, b->type, r, names[part]);
        print_number(b, scale);
        text_printf(b->out, " * ");
        print_table(b, r, part, false);
        text_printf(b->out, ";\n");
        if (b->plan.rank == 1 && part == 0) continue;
        text_printf(b->out, "%sif (edge) k%zu_%s = ", indent, r, names[part]);
        if (b->plan.rank == 1) {
            text_printf(b->out, "0;\n");
            continue;
        }
        print_number(b, 0.5);
        text_printf(b->out, " * (k%zu_%s %c ", r, names[part], part ? '-' : '+');
        print_number(b, scale);
        text_printf(b->out, " * ");
        print_table(b, r, part, true);
        text_printf(b->out, ");\n");
    }
}

static const Store *part_store(const Bins *b, size_t r, Part part) {
    for (size_t i = 0; i < b->k->nstores; i++) {
        const Store *store = &b->k->stores[i];
        if (store->row == (int)r && graph_node(b->graph, store->node)->attrs->part == part) return store;
    }
    return NULL;
}

static void print_store(const Bins *b, const char *indent, const Store *store, const char *value) {
    text_printf(b->out, "%s", indent);
    print_array(b, store->node, true);
    text_printf(b->out, "[");
    print_element(b, &store->at, store->stride, false);
    text_printf(b->out, "] = %s;\n", value);
}

/* Spectra of the rows, and all else that is read, before anything is written over them. */
static void print_reads(const Bins *b, const char *indent) {
    for (int i = 0; i < b->plan.nitems; i++)
        text_printf(b->out, "%sconst %s2 x%d = spectra%d[at];\n", indent, b->type, i, i);
    for (size_t r = 0; r < b->k->nrows; r++)
        if (is_op_of(b, r, OP_spectral)) print_filter(b, indent, r);
}

static void print_cross(const Bins *b, const char *indent, size_t r) {
    const RowOp *op = &b->k->rows[r];
    int x = transform_input(&b->plan, op, 0), y = transform_input(&b->plan, op, 1);
    text_printf(b->out,
                "%sconst %s c%zu_re = weight * (x%d.x * x%d.x + x%d.y * x%d.y), c%zu_im = weight * "
                "(x%d.x * x%d.y - x%d.y * x%d.x);\n",
                indent, b->type, r, x, y, x, y, r, x, y, x, y);
}

/* What an operation makes of this bin: written at once, or added to sums. */
static void print_results(const Bins *b, const char *indent) {
    int filtered = 0;
    char value[48];
    for (size_t r = 0; r < b->k->nrows; r++) {
        int x = transform_input(&b->plan, &b->k->rows[r], 0);
        if (is_op_of(b, r, OP_spectral)) {
            text_printf(b->out,
                        "%sspectra%d[at] = make_%s2(k%zu_re * x%d.x - k%zu_im * x%d.y, k%zu_re * x%d.y + "
                        "k%zu_im * x%d.x);\n",
                        indent, filtered++, b->type, r, x, r, x, r, x, r, x);
            continue;
        }
        bool crosses = is_op_of(b, r, OP_cross_spectrum);
        if (crosses) print_cross(b, indent, r);
        for (int part = 0; part < 2; part++) {
            const Store *store = part_store(b, r, (Part)part);
            if (crosses)
                snprintf(value, sizeof value, "c%zu_%s", r, part ? "im" : "re");
            else
                snprintf(value, sizeof value, "x%d.%c", x, part ? 'y' : 'x');
            if (store && crosses && b->k->nsummed)
                text_printf(b->out, "%ss%zu_%s += %s;\n", indent, r, part ? "im" : "re", value);
            else if (store)
                print_store(b, indent, store, value);
        }
    }
}

/* ---- Sums over rows ---- */

typedef void SumVisitor(const Bins *b, size_t r, Part part, const Store *store, int number);

static void for_sums(const Bins *b, SumVisitor *visit) {
    int number = 0;
    for (size_t r = 0; r < b->k->nrows && b->k->nsummed; r++) {
        if (!is_op_of(b, r, OP_cross_spectrum)) continue;
        for (int part = 0; part < 2; part++, number++) {
            const Store *store = part_store(b, r, (Part)part);
            if (store) visit(b, r, (Part)part, store, number);
        }
    }
}

static void print_sum_start(const Bins *b, size_t r, Part part, const Store *store, int number) {
    (void)store, (void)number;
    text_printf(b->out, "        %s s%zu_%s = 0;\n", b->type, r, part ? "im" : "re");
}

static void print_partial(const Bins *b, int number) {
    text_printf(b->out, "((%s *)(context.workspace + %zull))", b->type,
                b->plan.partial_at + (size_t)number * b->plan.partial_bytes);
}

/* Pieces follow one another. */
static void print_sum_end(const Bins *b, size_t r, Part part, const Store *store, int number) {
    char name[48];
    snprintf(name, sizeof name, "s%zu_%s", r, part ? "im" : "re");
    if (!b->plan.has_partials) {
        print_store(b, "        ", store, name);
        return;
    }
    text_printf(b->out, "        ");
    print_partial(b, number);
    text_printf(b->out, "[item] = ");
    if (b->plan.pieces > 1) {
        text_printf(b->out, "(first ? ");
        print_partial(b, number);
        text_printf(b->out, "[item] : 0) + ");
    }
    text_printf(b->out, "%s;\n", name);
}

static void print_total(const Bins *b, size_t r, Part part, const Store *store, int number) {
    (void)r, (void)part;
    text_printf(b->out,
                "        {\n            %s sum = 0;\n            for (idx s = 0; s < %lld; s++) sum += ",
                b->type, (long long)b->plan.shares);
    print_partial(b, number);
    text_printf(b->out, "[s * %lld + item];\n", (long long)(b->plan.kept * b->plan.bins));
    print_store(b, "            ", store, "sum");
    text_printf(b->out, "        }\n");
}

/* ---- Kernels ---- */

/* Items are bins of rows or of kept indices, a thread each. */
static void print_head(const Bins *b, const CudaLaunch *l, const char *count) {
    text_printf(
        b->out,
        "KERNEL __launch_bounds__(%d) %s(const __grid_constant__ KernelContext context, char *scratch) {\n"
        "    const idx first = (idx)context.first, end = first + %lld < %lld ? first + %lld : %lld;\n"
        "    for (idx item = (idx)(blockIdx.x * %du + threadIdx.x); item < %s; item += (idx)(gridDim.x * "
        "%du)) {\n"
        "        const idx bin = item %% %lld, unit = item / %lld;\n",
        THREADS, l->name, (long long)b->plan.piece, (long long)b->plan.rows, (long long)b->plan.piece,
        (long long)b->plan.rows, THREADS, count, THREADS, (long long)b->plan.bins, (long long)b->plan.bins);
}

/* The bin's place along each axis, and that of its conjugate. */
static void print_axes(const Bins *b) {
    const TransformPlan *p = &b->plan;
    int last = p->rank - 1;
    int64_t half = p->dims[last] / 2 + 1, below = half;
    double w = 1 / (double)p->points;
    text_printf(b->out, "        const idx a%d = bin %% %lld;\n", last, (long long)half);
    for (int i = last - 1; i >= 0; below *= p->dims[i--])
        text_printf(b->out, "        const idx a%d = bin / %lld %% %lld, m%d = a%d ? %lld - a%d : 0;\n", i,
                    (long long)below, (long long)p->dims[i], i, i, (long long)p->dims[i], i);
    text_printf(b->out, "        const bool edge = a%d == 0", last);
    if (p->dims[last] % 2 == 0) text_printf(b->out, " || a%d == %lld", last, (long long)half - 1);
    text_printf(b->out, ";\n        const %s weight = edge ? ", b->type);
    print_number(b, w);
    text_printf(b->out, " : ");
    print_number(b, 2 * w);
    text_printf(b->out, ";\n");
}

static void print_one_row(const Bins *b) {
    text_printf(b->out, "        const idx row = first + unit, at = item;\n");
    print_loops(b, "        ", 0, b->k->nouter, "row");
    print_reads(b, "        ");
    print_results(b, "        ");
}

/* Of one summed loop those places whose rows are of this piece; of several all, and rows are passed over. */
static void print_share(const Bins *b, const Affine *row) {
    const TransformPlan *p = &b->plan;
    int kept = b->k->nouter - b->k->nsummed;
    text_printf(b->out, "        const idx share = unit / %lld, from = share * %lld;\n", (long long)p->kept,
                (long long)p->share);
    text_printf(b->out, "        idx s = from, stop = from + %lld < %lld ? from + %lld : %lld;\n",
                (long long)p->share, (long long)p->summed, (long long)p->share, (long long)p->summed);
    text_printf(b->out, "        const idx kept = unit %% %lld;\n", (long long)p->kept);
    print_loops(b, "        ", 0, kept, "kept");
    if (b->k->nsummed > 1 || p->pieces == 1) return;
    Affine base = *row;
    long long step = (long long)row->coeff[kept];
    base.coeff[kept] = 0;
    text_printf(b->out, "        const idx base = ");
    if (!print_affine(b, &base)) text_printf(b->out, "0");
    text_printf(b->out,
                ";\n        const idx low = first > base ? (first - base + %lld) / %lld : 0;\n"
                "        const idx high = end > base ? (end - base + %lld) / %lld : 0;\n"
                "        s = s > low ? s : low;\n        stop = stop < high ? stop : high;\n",
                step - 1, step, step - 1, step);
}

static void print_many_rows(const Bins *b) {
    Affine row = row_place(b);
    const int kept = b->k->nouter - b->k->nsummed;
    print_share(b, &row);
    for_sums(b, print_sum_start);
    text_printf(b->out, "        for (; s < stop; s++) {\n");
    print_loops(b, "            ", kept, b->k->nouter, "s");
    text_printf(b->out, "            const idx row = ");
    if (!print_affine(b, &row)) text_printf(b->out, "0");
    text_printf(b->out, ";\n");
    if (b->k->nsummed > 1 && b->plan.pieces > 1)
        text_printf(b->out, "            if (row < first || row >= end) continue;\n");
    text_printf(b->out, "            const idx at = (row - first) * %lld + bin;\n", (long long)b->plan.bins);
    print_reads(b, "            ");
    print_results(b, "            ");
    text_printf(b->out, "        }\n");
    for_sums(b, print_sum_end);
}

static unsigned blocks_for(int64_t items) {
    return (unsigned)MIN((items + THREADS - 1) / THREADS, MOST_BLOCKS);
}

/* The kernel between the transforms; its launch is described by *l. */
static void print_bins(const Bins *b, const CudaLaunch *l) {
    const TransformPlan *p = &b->plan;
    char count[64];
    if (b->k->nsummed)
        snprintf(count, sizeof count, "(idx)%lld", (long long)(p->kept * p->shares * p->bins));
    else
        snprintf(count, sizeof count, "(end - first) * %lld", (long long)p->bins);
    print_head(b, l, count);
    for (int i = 0; i < p->nbuffers; i++)
        text_printf(b->out, "        %s2 *const spectra%d = (%s2 *)(context.workspace + %zull);\n", b->type,
                    i, b->type, (size_t)i * p->buffer_bytes);
    print_axes(b);
    if (b->k->nsummed)
        print_many_rows(b);
    else
        print_one_row(b);
    text_printf(b->out, "    }\n}\n");
}

static void print_totals(const Bins *b, const CudaLaunch *l) {
    char count[64];
    snprintf(count, sizeof count, "(idx)%lld", (long long)(b->plan.kept * b->plan.bins));
    text_printf(b->out, "\n");
    print_head(b, l, count);
    print_axes(b);
    text_printf(b->out, "        const idx kept = unit;\n");
    print_loops(b, "        ", 0, b->k->nouter - b->k->nsummed, "kept");
    for_sums(b, print_total);
    text_printf(b->out, "    }\n}\n");
}

/* For who reads the text. */
static void print_story(const Bins *b) {
    const TransformPlan *p = &b->plan;
    text_printf(b->out, "\n/* Kernel %d: cuFFT transforms ", b->k->id);
    if (p->pieces > 1) text_printf(b->out, "%lld times up to ", (long long)p->pieces);
    text_printf(b->out, "%lld row%s of ", (long long)p->piece, p->piece > 1 ? "s" : "");
    for (int i = 0; i < p->rank; i++) text_printf(b->out, "%s%lld", i ? " x " : "", (long long)p->dims[i]);
    text_printf(b->out, " %s samples", frax_dtype_name(p->dtype));
    if (p->nitems > 1) text_printf(b->out, ", of %d operands", p->nitems);
    text_printf(b->out, "; then this:");
    for (size_t r = 0; r < b->k->nrows; r++) text_printf(b->out, " %s", op_table[row_node(b, r)->op].name);
    text_printf(b->out, " */\n");
}

/* ---- Launches ---- */

static CudaLaunch *add_transform(Bins *b, CudaMoment moment, int64_t first, int number, bool inverse) {
    const TransformPlan *p = &b->plan;
    CudaLaunch *l = cuda_add_launch(b->program, b->k->id, inverse ? "_inverse" : "_forward", moment);
    if (!l) return NULL;
    l->kind = CUDA_TRANSFORM;
    l->grid = l->threads = 0;
    l->transform = (CudaTransform){.dtype = p->dtype, .rank = p->rank, .inverse = inverse};
    for (int i = 0; i < p->rank; i++) l->transform.dims[i] = p->dims[i];
    l->transform.rows = MIN(p->piece, p->rows - first);
    l->transform.offset = (size_t)(first * p->points) * frax_dtype_size(p->dtype);
    l->transform.spectra = (size_t)number * p->buffer_bytes;
    return l;
}

static Value stored_result(const Bins *b, size_t r) {
    for (size_t i = 0; i < b->k->nstores; i++) {
        int item = b->k->stores[i].item;
        if (item != NO_ITEM && b->k->items[item].row == (int)r) return b->k->stores[i].node;
    }
    return NO_VALUE;
}

static CudaLaunch *add_kernel(Bins *b, const char *suffix, CudaMoment moment, int64_t items, int64_t first) {
    CudaLaunch *l = cuda_add_launch(b->program, b->k->id, suffix, moment);
    if (!l) return NULL;
    l->threads = THREADS;
    l->grid = blocks_for(items);
    l->first = first;
    return l;
}

static bool add_piece(Bins *b, CudaMoment moment, int64_t first) {
    const TransformPlan *p = &b->plan;
    int filtered = 0;
    for (int i = 0; i < p->nitems; i++) {
        CudaLaunch *l = add_transform(b, moment, first, i, false);
        if (!l) return false;
        l->transform.signal = b->k->items[p->items[i]].node;
    }
    int64_t items = p->bins * (b->k->nsummed ? p->kept * p->shares : MIN(p->piece, p->rows - first));
    CudaLaunch *bins = add_kernel(b, "_bins", moment, items, first);
    if (!bins) return false;
    if (!first) print_bins(b, bins);
    for (size_t r = 0; r < b->k->nrows; r++) {
        if (!is_op_of(b, r, OP_spectral)) continue;
        CudaLaunch *l = add_transform(b, moment, first, filtered++, true);
        if (!l) return false;
        l->transform.signal = stored_result(b, r);
    }
    return true;
}

bool cuda_transform(CudaProgram *p, int kernel) {
    const Kernel *k = &p->program.kernels[kernel].kernel;
    Bins b = {.program = p, .graph = p->program.graph, .k = k, .out = &p->source};
    CudaMoment moment = k->is_static ? CUDA_STATIC : CUDA_RUN;
    bool ok = true;
    b.plan = transform_plan(b.graph, k);
    b.type = b.plan.dtype == FRAX_F32 ? "float" : "double";
    print_story(&b);
    for (int64_t first = 0; first < b.plan.rows && ok; first += b.plan.piece)
        ok = add_piece(&b, moment, first);
    if (!ok || !b.plan.has_partials) return ok;
    CudaLaunch *total = add_kernel(&b, "_total", moment, b.plan.kept * b.plan.bins, 0);
    if (total) print_totals(&b, total);
    return total != NULL;
}
