/* schedule.c — how a kernel's loops run: merged where memory is contiguous, lanes along the loop with the
 * most contiguous accesses, blocks for threads. Everything depends on sizes alone, never on the number of
 * threads, so results have the same bits for any number.
 */
#include "kernel_internal.h"
#include "library_transform.h"
#include <string.h>

enum {
    LONGEST_CACHED_ROW = 1 << 16, /* elements; longer rows are not passed over twice */
    CHUNK = 8192,                 /* elements of a block that is a piece of a long loop */
    BLOCK_WORK = 16384,           /* elements of a block that is a group of rows */
    SPLIT_ROWS = 16,              /* fewer rows than this, and long ones, are cut into chunks */
    /* A GPU wants as much for each of its thousands of warps: */
    GPU_CHUNK = 1024,
    GPU_BLOCK_WORK = 2048,
    GPU_SPLIT_ROWS = 512,
    PARTS = 64, /* sums across rows are cut until there are so many blocks */
    GPU_PARTS = 2048,
    SUMS = 32, /* partial cross spectra of one kept index, at most, */
    GPU_SUMS = 256,
    LIBRARY_ROWS = 256, /* rows of a library product that a block computes, at least; */
    LIBRARY_PIECES = 16 /* and the most blocks that its rows are cut into */
};

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static int64_t round_up(int64_t a, int64_t unit) {
    return ceil_div(a, unit) * unit;
}

int64_t kernel_outer_size(const Kernel *k) {
    int64_t size = 1;
    for (int l = 0; l < k->nouter; l++) size *= k->size[l];
    return size;
}

int64_t kernel_inner_size(const Kernel *k) {
    int64_t size = 1;
    for (int l = k->nouter; l < k->nloops; l++) size *= k->size[l];
    return size;
}

/* ---- Places ---- */

typedef void PlaceVisitor(Affine *place, void *context);

/* Every affine place that the kernel's code evaluates. */
static void visit_places(Kernel *k, PlaceVisitor *visit, void *context) {
    for (size_t i = 0; i < k->nitems; i++)
        if (k->items[i].kind == ITEM_LOAD || k->items[i].kind == ITEM_INDEX) visit(&k->items[i].at, context);
    for (size_t i = 0; i < k->nguards; i++) visit(&k->guards[i].index, context);
    for (size_t i = 0; i < k->nstores; i++) visit(&k->stores[i].at, context);
    for (size_t i = 0; i < k->nrows; i++)
        for (int t = 0; t < 2; t++) visit(&k->rows[i].tables[t].at, context);
}

typedef struct Merge {
    int loop; /* with its successor */
    int64_t size;
    bool possible;
} Merge;

static void check_merge(Affine *place, void *context) {
    Merge *merge = context;
    int64_t *c = &place->coeff[merge->loop];
    if (c[0] != c[1] * merge->size) merge->possible = false;
}

static void drop_loop(Affine *place, void *context) {
    const Merge *merge = context;
    memmove(&place->coeff[merge->loop], &place->coeff[merge->loop + 1],
            sizeof *place->coeff * (size_t)(MAX_LOOPS - merge->loop - 1));
    place->coeff[MAX_LOOPS - 1] = 0;
}

/* Loops l and l + 1 become one where every place steps through them as through one. */
static void merge_loops(Kernel *k) {
    for (int l = k->nloops - 2; l >= 0; l--) {
        int first_summed = k->nouter - k->nsummed;
        if (l + 1 == k->nouter || (k->nsummed && l + 1 == first_summed)) continue; /* different groups */
        Merge merge = {l, k->size[l + 1], true};
        visit_places(k, check_merge, &merge);
        if (!merge.possible) continue;
        k->size[l + 1] *= k->size[l];
        visit_places(k, drop_loop, &merge);
        memmove(&k->size[l], &k->size[l + 1], sizeof *k->size * (size_t)(k->nloops - l - 1));
        k->nloops--;
        if (l < k->nouter) k->nouter--;
        if (l >= first_summed && l < first_summed + k->nsummed) k->nsummed--;
    }
}

/* ---- Lanes ---- */

typedef struct LaneScore {
    int loop;
    int contiguous, strided;
} LaneScore;

static void score_place(const Affine *place, int weight, LaneScore *score) {
    int64_t c = place->coeff[score->loop];
    if (c == 1)
        score->contiguous += weight;
    else if (c)
        score->strided += weight;
}

/* An access along the row happens far more often than one per row. */
static int frequency(const Kernel *k, const Affine *place) {
    return affine_uses(place, k->nouter, k->nloops) ? 16 : 1;
}

/* The loop along which most accesses are contiguous; scattered stores weigh double. Ties go to the last loop.
 */
static int choose_lane_loop(const Kernel *k, int first, int end) {
    int best = -1, best_score = INT32_MIN;
    for (int l = end - 1; l >= first; l--) {
        LaneScore score = {.loop = l};
        for (size_t i = 0; i < k->nitems; i++)
            if (k->items[i].kind == ITEM_LOAD)
                score_place(&k->items[i].at, frequency(k, &k->items[i].at), &score);
        for (size_t i = 0; i < k->nstores; i++)
            if (k->stores[i].item != NO_ITEM)
                score_place(&k->stores[i].at, 2 * frequency(k, &k->stores[i].at), &score);
        int value = 2 * score.contiguous - 3 * score.strided - (k->size[l] < 4) * 4;
        if (value > best_score) best = l, best_score = value;
    }
    return best;
}

static void exchange(Affine *place, void *context) {
    const int *loops = context;
    int64_t c = place->coeff[loops[0]];
    place->coeff[loops[0]] = place->coeff[loops[1]];
    place->coeff[loops[1]] = c;
}

void kernel_exchange_loops(Kernel *k, int a, int b) {
    int64_t size = k->size[a];
    k->size[a] = k->size[b];
    k->size[b] = size;
    visit_places(k, exchange, (int[]){a, b});
}

static bool has_reduction(const Kernel *k) {
    for (size_t i = 0; i < k->nitems; i++)
        if (k->items[i].kind == ITEM_REDUCE) return true;
    return false;
}

/* Without anything that couples elements, all loops but the lanes' are rows. */
static void split_map(Kernel *k) {
    if (!k->nloops) return;
    int lane = choose_lane_loop(k, 0, k->nloops);
    kernel_exchange_loops(k, lane, k->nloops - 1);
    k->nouter = k->nloops - 1;
    k->lane_loop = k->nloops - 1;
}

/* With row operations rows are dense buffers, lanes run along the last inner loop; reductions may also lie
   across the lanes: then each lane works on a row of its own. */
static void split_rows(Kernel *k) {
    bool buffers = k->nrows > 0;
    int lane = choose_lane_loop(k, buffers ? k->nouter : 0, k->nloops);
    if (buffers) lane = k->nloops > k->nouter ? k->nloops - 1 : -1;
    if (lane >= k->nouter) {
        if (!buffers) kernel_exchange_loops(k, lane, k->nloops - 1);
        lane = k->nloops - 1;
    } else if (lane >= 0) {
        kernel_exchange_loops(k, lane, k->nouter - 1);
        lane = k->nouter - 1;
    }
    k->lane_loop = lane;
}

/* ---- Levels and blocks ---- */

static bool guard_is_inner(const Kernel *k, int guard) {
    for (; guard != NO_GUARD; guard = k->guards[guard].parent)
        if (affine_uses(&k->guards[guard].index, k->nouter, k->nloops)) return true;
    return false;
}

static void mark_levels(Kernel *k) {
    for (size_t i = 0; i < k->nitems; i++) {
        Item *item = &k->items[i];
        item->inner = item->kind == ITEM_ROW || affine_uses(&item->at, k->nouter, k->nloops) ||
                      guard_is_inner(k, item->guard);
        if (item->kind == ITEM_REDUCE)
            item->inner = false;
        else
            for (int a = 0; a < 3; a++)
                if (item->args[a] != NO_ITEM && k->items[item->args[a]].inner) item->inner = true;
    }
}

/* One pass along the row, whose results are needed only after it. */
static bool one_pass(const Kernel *k) {
    if (k->nrows || k->nstages > 2) return false;
    for (size_t i = 0; i < k->nitems; i++) {
        if (k->items[i].stage == 1 && k->items[i].inner) return false;
    }
    for (size_t i = 0; i < k->nstores; i++)
        if (k->items[k->stores[i].item].stage == 1 && affine_uses(&k->stores[i].at, k->nouter, k->nloops))
            return false;
    return true;
}

/* Chunks of a row leave partial results of one number each. */
static bool may_split(const Graph *graph, const Kernel *k) {
    for (size_t i = 0; i < k->nitems; i++)
        if (k->items[i].kind == ITEM_REDUCE && graph_node(graph, k->items[i].node)->op == OP_argmax)
            return false;
    return one_pass(k);
}

/* Rows in units of work: with lanes across rows, a unit is one step of the other outer loops. */
static int64_t row_units(const Kernel *k) {
    int64_t units = kernel_outer_size(k);
    return k->lane_loop >= 0 && k->lane_loop < k->nouter ? units / MAX(k->size[k->lane_loop], 1) : units;
}

/* Lanes across rows: pieces of the lane loop are independent rows. Where they are few and long, as in a sum
   over a leading axis, each is cut into parts. */
static void cut_across(const Graph *graph, Kernel *k, int64_t work, int64_t units) {
    int64_t columns = k->size[k->lane_loop], length = kernel_inner_size(k);
    int64_t piece = MAX(64, work / MAX(length, 1) / 64 * 64), first = k->size[k->nouter];
    int64_t parts = (graph->gpu ? GPU_PARTS : PARTS) / (units * ceil_div(columns, piece));
    int64_t part_work = MIN(columns, piece) * (length / MAX(first, 1));
    int64_t part = MAX(ceil_div(first, MAX(parts, 1)), ceil_div(work, MAX(part_work, 1)));
    if (part < first && has_reduction(k) && may_split(graph, k)) k->part = part;
    if (columns > piece || k->part) k->chunk = MIN(piece, columns);
}

static void choose_blocks(const Graph *graph, Kernel *k) {
    const int64_t work = graph->gpu ? GPU_BLOCK_WORK : BLOCK_WORK, chunk = graph->gpu ? GPU_CHUNK : CHUNK,
                  few_rows = graph->gpu ? GPU_SPLIT_ROWS : SPLIT_ROWS;
    int64_t units = row_units(k), length = kernel_inner_size(k);
    bool across = k->lane_loop >= 0 && k->lane_loop < k->nouter;
    int cut = k->lane_loop;
    bool reduces = has_reduction(k);
    k->rows_per_block = MAX(1, work / MAX(length * (across ? k->size[cut] : 1), 1));
    if (k->sharing) k->rows_per_block = round_up(k->rows_per_block, kernel_pair_unit(graph, k));
    k->blocks = k->sharing ? units / k->sharing * ceil_div(k->sharing, k->rows_per_block)
                           : ceil_div(units, k->rows_per_block);
    if (k->nrows || cut < 0) return;
    if (across) {
        cut_across(graph, k, work, units);
        if (!k->chunk) return;
    } else if (!reduces || (units < few_rows && length > 2 * chunk && k->nloops - k->nouter == 1 &&
                            may_split(graph, k))) {
        if (k->size[cut] <= chunk) return;
        k->chunk = chunk;
    } else {
        return;
    }
    k->rows_per_block = 1;
    k->blocks = units * ceil_div(k->size[cut], k->chunk);
    if (k->part) k->blocks *= ceil_div(k->size[k->nouter], k->part);
}

/* Of one part of a partial spectrum: bins, or of a pair of rows as many as there are points. */
static size_t spectrum_bytes(const Graph *graph, Value v, bool pair) {
    const Type *type = graph_type(graph, pair ? graph_node(graph, v)->args[0] : v);
    uint32_t axes = graph_node(graph, v)->attrs->axes;
    size_t bytes = frax_dtype_size(type->dtype);
    for (int i = 0; i < type->shape.rank; i++)
        if (axes >> i & 1) bytes *= (size_t)type->shape.dims[i];
    return bytes;
}

/* Cross spectra that sum over rows: each block sums rows of one kept index into its own partial spectrum. */
static void choose_summed_blocks(const Graph *graph, Kernel *k) {
    int64_t summed = 1;
    for (int l = k->nouter - k->nsummed; l < k->nouter; l++) summed *= k->size[l];
    int64_t kept = kernel_outer_size(k) / MAX(summed, 1);
    int64_t least =
        round_up(ceil_div(summed, graph->gpu ? GPU_SUMS : SUMS), k->sharing ? kernel_pair_unit(graph, k) : 1);
    k->rows_per_block = MIN(MAX(k->rows_per_block, least), MAX(summed, 1));
    int64_t per_kept = ceil_div(summed, k->rows_per_block);
    k->blocks = kept * per_kept;
    for (size_t r = 0; r < k->nrows; r++) {
        if (graph_node(graph, k->rows[r].node)->op != OP_cross_spectrum) continue;
        k->workspace +=
            (size_t)k->blocks * 2 * (spectrum_bytes(graph, k->rows[r].node, k->sharing) + SPECTRUM_PAD);
    }
}

/* Recurrences need no whole row at once, however long it is. Their kernels hold nothing else that couples
   elements of a row, but for reductions whose results nothing along the row needs. */
static bool may_stream(const Graph *graph, const Kernel *k) {
    for (size_t r = 0; r < k->nrows; r++)
        if (!op_is_recurrence(graph_node(graph, k->rows[r].node)->op)) return false;
    for (size_t i = 0; i < k->nitems; i++)
        for (int a = 0; a < 3; a++) {
            int arg = k->items[i].args[a];
            bool along = k->items[i].inner || k->items[i].kind == ITEM_REDUCE;
            if (along && arg != NO_ITEM && !k->items[arg].inner && k->items[arg].stage > 0) return false;
        }
    for (size_t r = 0; r < k->nrows; r++)
        for (int n = 0; n < k->rows[r].ninputs; n++) {
            const Item *input = &k->items[k->rows[r].inputs[n]];
            if (!input->inner && input->stage > 0) return false;
        }
    for (size_t i = 0; i < k->nstores; i++) {
        const Item *item = k->stores[i].item == NO_ITEM ? NULL : &k->items[k->stores[i].item];
        if (item && !item->inner && item->stage > 0 && affine_uses(&k->stores[i].at, k->nouter, k->nloops))
            return false;
    }
    return k->nloops - k->nouter == 1;
}

static bool has_recurrence(const Graph *graph, const Kernel *k) {
    for (size_t r = 0; r < k->nrows; r++)
        if (op_is_recurrence(graph_node(graph, k->rows[r].node)->op)) return true;
    return false;
}

/* Blocks are pieces. */
static void schedule_transforms(const Graph *graph, Kernel *k) {
    merge_loops(k);
    mark_levels(k);
    TransformPlan plan = transform_plan(graph, k);
    k->rows_per_block = plan.piece;
    k->blocks = plan.pieces;
    k->workspace = plan.workspace;
}

bool kernel_schedule(const Graph *graph, Kernel *k) {
    k->lane_loop = -1;
    if (k->kind == KERNEL_TRANSFORM) {
        schedule_transforms(graph, k);
        return true;
    }
    if (k->kind != KERNEL_ROWS) {
        int64_t batch = shape_size(&graph_type(graph, k->product)->shape) / MAX(k->m * k->n, 1);
        k->lane_loop = k->n > 1 ? k->nloops - 1 : -1;
        k->rows_per_block = PRODUCT_ROWS;
        if (k->kind == KERNEL_GEMM) k->rows_per_block = MAX(LIBRARY_ROWS, ceil_div(k->m, LIBRARY_PIECES));
        k->blocks = k->n ? batch * ceil_div(k->m, k->rows_per_block) : 0;
        return true;
    }
    for (int l = 0; l < k->nloops; l++)
        if (!k->size[l] && !has_reduction(k)) return true; /* nothing to do: no blocks */
    kernel_pair_rows(graph, k);
    merge_loops(k);
    if (!k->nrows && !has_reduction(k))
        split_map(k);
    else
        split_rows(k);
    mark_levels(k);
    k->streams = has_recurrence(graph, k);
    if (k->streams && !may_stream(graph, k)) return false;
    if (has_reduction(k) && !k->nrows && kernel_inner_size(k) > LONGEST_CACHED_ROW && !one_pass(k))
        return false;
    choose_blocks(graph, k);
    if (k->nsummed)
        choose_summed_blocks(graph, k);
    else if (kernel_parts(k) > 1)
        for (size_t i = 0; i < k->nitems; i++)
            if (k->items[i].kind == ITEM_REDUCE)
                k->workspace += (size_t)(kernel_parts(k) * kernel_outer_size(k)) * sizeof(double);
    return true;
}

int64_t kernel_parts(const Kernel *k) {
    if (k->part) return ceil_div(k->size[k->nouter], k->part);
    return k->chunk && k->lane_loop >= k->nouter ? ceil_div(k->size[k->lane_loop], k->chunk) : 1;
}

int64_t kernel_finish_blocks(const Kernel *k) {
    int64_t blocks = 1;
    for (int l = 0; l < k->nouter - k->nsummed; l++) blocks *= k->size[l];
    return k->workspace ? blocks : 0;
}

/* ---- What fusion and the memory plan ask ---- */

bool op_is_recurrence(Op op) {
    return op == OP_exponential_conv || op == OP_exponential_correlation;
}

bool op_is_dear(Op op) {
    switch (op) {
    case OP_exp:
    case OP_expm1:
    case OP_log:
    case OP_log1p:
    case OP_sin:
    case OP_cos:
    case OP_tanh:
    case OP_sigmoid:
    case OP_erf:
    case OP_lgamma:
    case OP_polygamma:
    case OP_complex_lgamma:
    case OP_mittag_leffler:
    case OP_uniform:
    case OP_pow:
    case OP_atan2: return true;
    default: return op_is_reduction(op) || !op_is_pointwise(op);
    }
}

/* The element overwritten is read at the same place of the same loop iteration, never in a later pass. */
bool kernel_in_place(const Graph *graph, const Kernel *k, const Store *store, Value source) {
    bool by_elements = k->kind == KERNEL_ROWS && !k->nsummed && !k->workspace;
    /* A transform reads a piece of its rows before it writes any of it. */
    if ((!by_elements && k->kind != KERNEL_TRANSFORM) || store->item == NO_ITEM) return false;
    if (frax_dtype_size(graph_type(graph, store->node)->dtype) !=
        frax_dtype_size(graph_type(graph, source)->dtype))
        return false;
    int stage = k->items[store->item].stage;
    bool store_inner = affine_uses(&store->at, k->nouter, k->nloops);
    for (size_t i = 0; i < k->nitems; i++) {
        const Item *item = &k->items[i];
        if (item->kind != ITEM_LOAD || item->node != source) continue;
        if (!affine_equal(&item->at, &store->at) || item->guard != NO_GUARD) return false;
    }
    for (size_t r = 0; r < k->nrows; r++)
        for (int t = 0; t < 2; t++)
            if (!k->rows[r].tables[t].is_constant && k->rows[r].tables[t].node == source) return false;
    /* Items may be computed again in later passes of the row: only the last pass may overwrite. */
    return !store_inner || stage + 1 == k->nstages;
}

Value kernel_next_read(const Kernel *k, size_t *at) {
    bool is_product = k->kind == KERNEL_MATMUL || k->kind == KERNEL_GEMM;
    size_t tables = k->nitems + 2 * k->nrows, end = tables + (is_product ? 2 : 0);
    while (*at < end) {
        size_t i = (*at)++;
        if (i < k->nitems) {
            if (k->items[i].kind == ITEM_LOAD) return k->items[i].node;
            continue;
        }
        const Table *table = i < tables    ? &k->rows[(i - k->nitems) / 2].tables[(i - k->nitems) % 2]
                             : i == tables ? &k->left
                                           : &k->right;
        if (!table->is_constant) return table->node;
    }
    return NO_VALUE;
}

bool kernel_reads(const Kernel *k, Value v) {
    Value read;
    for (size_t at = 0; (read = kernel_next_read(k, &at)) != NO_VALUE;)
        if (read == v) return true;
    return false;
}
