/* rows.c — the rows template: pointwise kernels, reductions, and whole-row operations between passes over a
 * row.
 *
 *     for each block of rows                      (threads)
 *       for each row                              (or vector of rows, when the lanes lie across rows)
 *         for each pass
 *           row operations that the pass needs    (row_ops.c)
 *           values that are the same along the row, stores of one element per row
 *           for each vector of elements           values, partial reductions, stores
 *           reductions become values of the row
 *
 * A row of recurrences is streamed: pieces of it go through all passes, one after the other.
 *
 * The order of all additions depends on sizes only. A reduction with few, long rows is cut into parts whose
 * partial results a second function, NAME_finish, combines in order.
 */
#include "pairs.h"
#include <math.h>
#include <string.h>

/* Bytes: shorter rows are fetched by the hardware, longer ones would be lost from the cache before their use,
   and arrays in the cache need nothing. */
enum { MIN_PREFETCHED_ROW = 512, MAX_PREFETCHED_ROW = 64 << 10, MIN_PREFETCHED = 1 << 20 };

enum { MOST_ADDED = 1024 }; /* into an accumulator of f32 */

typedef void Body(Rows *r, int copy);

static Em index_of(Rows *r, int64_t value) {
    return r->e->ops->index(r->e, value);
}

static Em index_op(Rows *r, IndexOp op, Em a, Em b) {
    return r->e->ops->index_op(r->e, op, a, b);
}

/* ---- Vectors along a loop ---- */

/* Runs body at the vectors of [first, end) of the lane loop: `unroll` at a time while they last, then singly,
   then the masked rest, which exists only if the loop's size is no multiple of the lanes. */
static void run_lanes(Rows *r, Em first, Em end, int unroll, Body *body) {
    int lane = r->lane_loop;
    int64_t step = r->lanes, size = r->k->size[lane];
    for (int copies = unroll; copies >= 1; copies = copies > 1 ? 1 : 0) {
        int64_t stride = step * copies;
        if (size < stride) continue;
        Em last = index_op(r, INDEX_SUB, end, index_of(r, stride - 1));
        EmLoop loop = r->e->ops->loop_begin(r->e, first, last, stride);
        for (int c = 0; c < copies; c++) {
            r->loops[lane] = index_op(r, INDEX_ADD, loop.index, index_of(r, c * step));
            body(r, c);
        }
        r->e->ops->loop_end(r->e, &loop);
        Em length = index_op(r, INDEX_SUB, end, first);
        Em rest = index_op(r, INDEX_REM, length, index_of(r, stride));
        first = index_op(r, INDEX_SUB, end, rest);
    }
    if (size % step == 0) return;
    Em rest = index_op(r, INDEX_SUB, end, first);
    EmIf some = r->e->ops->if_begin(r->e, r->e->ops->index_less(r->e, index_of(r, 0), rest));
    r->mask = r->e->ops->index_less(r->e, r->e->ops->index_lanes(r->e, index_of(r, 0), 1, r->lanes), rest);
    r->loops[lane] = first;
    body(r, 0);
    r->mask = (Em){0};
    r->e->ops->if_end(r->e, &some);
}

/* ---- Reductions ---- */

static double neutral(Op op, EmType type) {
    if (op == OP_sum) return 0;
    if (type == EM_I32)
        return op == OP_reduce_min ? INT32_MAX : INT32_MIN; /* no f32 between: INFINITY is one */
    return op == OP_reduce_min ? INFINITY : -INFINITY;
}

/* Lanes of an accumulator: those along the row, or one per row. */
static int accumulator_lanes(const Rows *r) {
    return r->lane_loop >= 0 ? r->lanes : 1;
}

void rows_begin_reductions(Rows *r) {
    const EmitterOps *o = r->e->ops;
    for (size_t i = 0; i < r->nreductions; i++) {
        Reduction *red = &r->reductions[i];
        if (r->k->items[red->item].stage != r->pass + 1) continue;
        Op op = red->op == OP_argmax ? OP_reduce_max : red->op;
        Em start = o->splat(r->e, o->constant(r->e, red->type, neutral(op, red->type)), accumulator_lanes(r));
        for (int c = 0; c < (r->pairs ? 2 : r->unroll); c++) o->set(r->e, red->best[c], start);
        if (red->op == OP_argmax)
            o->set(r->e, red->place, o->splat(r->e, o->constant(r->e, EM_I32, -1), accumulator_lanes(r)));
    }
}

/* Keeps the first of equal maxima; a NaN counts as the greatest. */
static void accumulate_argmax(Rows *r, Reduction *red, Em value, int lanes) {
    const EmitterOps *o = r->e->ops;
    Em best = o->get(r->e, red->best[0], red->type, lanes), place = o->get(r->e, red->place, EM_I32, lanes);
    Em here = o->index_lanes(r->e, rows_row_position(r), r->across ? 0 : 1, lanes);
    here = o->splat(r->e, o->convert(r->e, here, EM_I32), lanes);
    Em nan = o->arith(r->e, OP_and, o->arith(r->e, OP_ne, value, value), o->arith(r->e, OP_eq, best, best));
    Em better = o->arith(r->e, OP_or, o->arith(r->e, OP_gt, value, best), nan);
    better = o->arith(r->e, OP_or, better, o->arith(r->e, OP_lt, place, o->constant(r->e, EM_I32, 0)));
    if (r->mask.ref) better = o->arith(r->e, OP_and, better, r->mask);
    o->set(r->e, red->best[0], o->select(r->e, better, value, best));
    o->set(r->e, red->place, o->select(r->e, better, here, place));
}

static void accumulate(Rows *r, Reduction *red, int copy) {
    const EmitterOps *o = r->e->ops;
    int lanes = accumulator_lanes(r);
    Em value = rows_value(r, r->k->items[red->item].args[0]);
    value = o->splat(r->e, o->convert(r->e, value, red->type), lanes);
    if (red->op == OP_argmax) {
        accumulate_argmax(r, red, value, lanes);
        return;
    }
    if (r->mask.ref)
        value = o->select(r->e, r->mask, value, o->constant(r->e, red->type, neutral(red->op, red->type)));
    Em sum = o->arith(r->e, red->op, o->get(r->e, red->best[copy], red->type, lanes), value);
    o->set(r->e, red->best[copy], sum);
}

static Em finish_argmax(Rows *r, Reduction *red, Em best, int lanes) {
    const EmitterOps *o = r->e->ops;
    Em place = o->get(r->e, red->place, EM_I32, lanes);
    if (r->across || lanes == 1) return place;
    Em greatest = o->reduce(r->e, OP_reduce_max, best);
    Em both_nan =
        o->arith(r->e, OP_and, o->arith(r->e, OP_ne, best, best), o->arith(r->e, OP_ne, greatest, greatest));
    Em winner = o->arith(r->e, OP_or, o->arith(r->e, OP_eq, best, greatest), both_nan);
    winner = o->arith(r->e, OP_and, winner, o->arith(r->e, OP_ge, place, o->constant(r->e, EM_I32, 0)));
    return o->reduce(r->e, OP_reduce_min,
                     o->select(r->e, winner, place, o->constant(r->e, EM_I32, INT32_MAX)));
}

static void set_result(Rows *r, const Reduction *red, Em value) {
    r->values[red->item] = r->e->ops->convert(r->e, value, item_type(r->graph, &r->k->items[red->item]));
    r->known[red->item] = true;
}

/* The accumulators become the reductions' values: copies pairwise, then lanes pairwise. */
void rows_end_reductions(Rows *r) {
    const EmitterOps *o = r->e->ops;
    int lanes = accumulator_lanes(r);
    for (size_t i = 0; i < r->nreductions; i++) {
        Reduction *red = &r->reductions[i];
        Em copies[MAX_UNROLL];
        if (r->k->items[red->item].stage != r->pass + 1) continue;
        for (int c = 0; c < r->unroll; c++)
            copies[c] = o->get(r->e, red->best[c + r->half], red->type, lanes);
        for (int n = r->unroll; n > 1; n /= 2)
            for (int c = 0; c < n / 2; c++) copies[c] = o->arith(r->e, red->op, copies[c], copies[c + n / 2]);
        Em value = copies[0];
        if (red->op == OP_argmax)
            value = finish_argmax(r, red, value, lanes);
        else if (!r->across)
            value = o->reduce(r->e, red->op, value);
        set_result(r, red, value);
    }
}

/* ---- One pass along a row ---- */

/* One element per row's element, also where rows have but one. */
static bool store_is_inner(const Rows *r, const Store *store) {
    return r->k->items[store->item].inner || affine_uses(&store->at, r->k->nouter, r->k->nloops);
}

void rows_store(Rows *r, const Store *store) {
    const EmitterOps *o = r->e->ops;
    int64_t stride = rows_lane_stride(r, &store->at);
    Em value = rows_value(r, store->item);
    FraxDType dtype = graph_type(r->graph, store->node)->dtype;
    if (tile_store(r, store, value)) return;
    if (stride) value = o->splat(r->e, value, r->lanes);
    Em mask = value.lanes > 1 ? r->mask : (Em){0};
    o->store(r->e, rows_base(r, store->node), dtype, rows_affine(r, &store->at), stride, value, mask);
}

/* Keeps an element in scratch for later passes or a row operation. */
static void keep(Rows *r, Em value, int64_t bytes, int64_t lead) {
    const EmitterOps *o = r->e->ops;
    Em at = rows_kept_position(r);
    int lanes = r->lane_loop >= 0 ? r->lanes : 1;
    value = o->splat(r->e, value, lanes);
    if (r->across) at = index_op(r, INDEX_MUL, at, index_of(r, lanes));
    at = index_op(r, INDEX_ADD, at, index_of(r, lead));
    o->store(r->e, scratch_at(r, bytes + r->half * r->apart), scratch_dtype(value.type), at, 1, value,
             r->across ? (Em){0} : r->mask);
}

static void keep_row_inputs(Rows *r) {
    for (size_t i = 0; i < r->k->nrows; i++) {
        const RowOp *row = &r->k->rows[i];
        for (int n = 0; n < row->ninputs; n++) {
            if (r->k->items[row->inputs[n]].stage != r->pass || !rows_input_slot(r, (int)i, n)) continue;
            Em value = rows_value(r, row->inputs[n]);
            if (r->pairs) value = pairs_input(r, (int)i, n, value);
            if (r->pairs && pairs_hold_input(r, (int)i, n, value)) continue;
            keep(r, value, r->row[i][n], r->lead[i]);
        }
    }
}

/* ---- Lines fetched ahead: rows are about as long as a page, at whose end the hardware's prefetcher stops
 * ---- */

static bool prefetches(const Rows *r) {
    const Kernel *k = r->k;
    if (r->graph->gpu) return false; /* other warps hide the latency */
    int lane = k->lane_loop;
    return k->nstages > 1 && k->nouter > 0 && !r->across && lane == k->nloops - 1 && !r->mask.ref &&
           kernel_inner_size(k) * 4 >= MIN_PREFETCHED_ROW && kernel_inner_size(k) * 4 <= MAX_PREFETCHED_ROW &&
           kernel_inner_size(k) * kernel_outer_size(k) * 4 >= MIN_PREFETCHED;
}

static bool moves_with_row(const Rows *r, const Affine *at) {
    return rows_lane_stride(r, at) == 1 && at->coeff[r->k->nouter - 1] != 0;
}

/* The row that is written a pass later, and after pass 0 the next row that is read. */
static void prefetch_ahead(Rows *r) {
    const Kernel *k = r->k;
    const EmitterOps *o = r->e->ops;
    for (size_t i = 0; i < k->nstores; i++) {
        const Store *store = &k->stores[i];
        if (store->item == NO_ITEM || k->items[store->item].stage != r->pass + 1 ||
            !moves_with_row(r, &store->at))
            continue;
        o->prefetch(r->e, rows_base(r, store->node), graph_type(r->graph, store->node)->dtype,
                    rows_affine(r, &store->at), true);
    }
    for (size_t i = 0; i < k->nitems && r->pass == 1; i++) {
        const Item *item = &k->items[i];
        if (item->kind != ITEM_LOAD || r->first_pass[i] != 0 || !moves_with_row(r, &item->at)) continue;
        Affine next = item->at;
        next.base += next.coeff[k->nouter - 1];
        o->prefetch(r->e, rows_base(r, item->node), graph_type(r->graph, item->node)->dtype,
                    rows_affine(r, &next), false);
    }
}

/* Values that an inner store of this pass writes; or the stores. */
static void for_stores(Rows *r, bool storing) {
    const Kernel *k = r->k;
    for (size_t i = 0; i < k->nstores; i++) {
        const Store *store = &k->stores[i];
        if (store->item == NO_ITEM || k->items[store->item].stage != r->pass || !store_is_inner(r, store))
            continue;
        if (storing)
            rows_store(r, store);
        else
            rows_value(r, store->item);
    }
}

void rows_element_values(Rows *r, int copy) {
    const Kernel *k = r->k;
    for (size_t i = 0; i < k->nitems; i++)
        if (r->cached[i] >= 0 && r->first_pass[i] == r->pass) keep(r, rows_value(r, (int)i), r->cached[i], 0);
    keep_row_inputs(r);
    for (size_t i = 0; i < r->nreductions; i++)
        if (k->items[r->reductions[i].item].stage == r->pass + 1) accumulate(r, &r->reductions[i], copy);
    for_stores(r, false);
}

void rows_element_stores(Rows *r) {
    for_stores(r, true);
}

/* All values first: a store may overwrite an operand of another one in place. */
static void element_body(Rows *r, int copy) {
    rows_forget(r, true);
    if (prefetches(r)) prefetch_ahead(r);
    rows_element_values(r, copy);
    rows_element_stores(r);
    rows_forget(r, true);
}

bool rows_pass_has_elements(const Rows *r) {
    const Kernel *k = r->k;
    for (size_t i = 0; i < k->nitems; i++)
        if (k->items[i].kind == ITEM_REDUCE && k->items[i].stage == r->pass + 1) return true;
    for (size_t i = 0; i < k->nrows; i++)
        for (int n = 0; n < k->rows[i].ninputs; n++)
            if (k->items[k->rows[i].inputs[n]].stage == r->pass && rows_input_slot(r, (int)i, n)) return true;
    for (size_t i = 0; i < k->nstores; i++) {
        const Store *store = &k->stores[i];
        if (store->item != NO_ITEM && k->items[store->item].stage == r->pass && store_is_inner(r, store))
            return true;
    }
    return false;
}

static int most_unrolled(const Rows *r) {
    int64_t vectors = r->lane_loop >= r->k->nouter && !r->across ? r->k->size[r->lane_loop] / r->lanes : 1;
    return vectors >= 2 * MAX_UNROLL ? MAX_UNROLL : 1;
}

/* Several accumulators hide the latency of additions; argmax keeps one. */
static int choose_unroll(const Rows *r) {
    int unroll = most_unrolled(r);
    bool reduces = false;
    for (size_t i = 0; i < r->nreductions; i++) {
        if (r->k->items[r->reductions[i].item].stage != r->pass + 1) continue;
        reduces = true;
        if (r->reductions[i].op == OP_argmax) unroll = 1;
    }
    return reduces ? unroll : 1;
}

static void element_loops(Rows *r, int loop, Em lane_first, Em lane_end) {
    const EmitterOps *o = r->e->ops;
    if (loop == r->k->nloops) {
        element_body(r, 0);
    } else if (loop == r->lane_loop) {
        run_lanes(r, lane_first, lane_end, r->unroll, element_body);
    } else {
        bool in_part = r->k->part && loop == r->k->nouter;
        EmLoop over = o->loop_begin(r->e, in_part ? r->part_first : index_of(r, 0),
                                    in_part ? r->part_end : index_of(r, r->k->size[loop]), 1);
        r->loops[loop] = over.index;
        element_loops(r, loop + 1, lane_first, lane_end);
        o->loop_end(r->e, &over);
    }
}

/* Values that are the same along the row, and stores of one element per row. */
void rows_values_of_row(Rows *r) {
    const Kernel *k = r->k;
    for (size_t i = 0; i < k->nitems; i++)
        if (!k->items[i].inner && k->items[i].stage == r->pass && k->items[i].kind != ITEM_REDUCE)
            rows_value(r, (int)i);
    for (size_t i = 0; i < k->nstores; i++) {
        const Store *store = &k->stores[i];
        if (store->item == NO_ITEM || k->items[store->item].stage != r->pass || store_is_inner(r, store))
            continue;
        rows_store(r, store);
    }
}

static void one_pass(Rows *r, Em lane_first, Em lane_end) {
    rows_run_row_ops(r, r->pass);
    rows_values_of_row(r);
    if (!rows_pass_has_elements(r)) return;
    r->unroll = choose_unroll(r);
    rows_begin_reductions(r);
    element_loops(r, r->k->nouter, lane_first, lane_end);
    rows_end_reductions(r);
}

/* All passes over one piece of a streamed row. */
static void stream_piece(Rows *r, Em first, Em end) {
    r->origin = first;
    r->piece = index_op(r, INDEX_SUB, end, first);
    for (r->pass = 0; r->pass < r->k->nstages; r->pass++) {
        rows_complete_inputs(r, r->pass);
        rows_run_row_ops(r, r->pass);
        if (rows_pass_has_elements(r)) element_loops(r, r->k->nouter, first, end);
    }
    r->origin = (Em){0};
}

/* Reductions of all passes run along with the pieces; what follows from them has its turn after the last
 * piece. */
static void streamed_row(Rows *r) {
    const EmitterOps *o = r->e->ops;
    Em size = index_of(r, r->k->size[r->lane_loop]);
    rows_forget(r, false);
    r->pass = 0;
    r->unroll = 1;
    rows_values_of_row(r);
    rows_begin_recurrences(r);
    for (r->pass = 0; r->pass < r->k->nstages; r->pass++) rows_begin_reductions(r);
    EmLoop pieces = o->loop_begin(r->e, index_of(r, 0), size, STREAM);
    Em end = index_op(r, INDEX_MIN, index_op(r, INDEX_ADD, pieces.index, index_of(r, STREAM)), size);
    stream_piece(r, pieces.index, end);
    o->loop_end(r->e, &pieces);
    rows_finish_recurrences(r);
    for (r->pass = 0; r->pass < r->k->nstages; r->pass++) {
        if (r->pass) rows_values_of_row(r);
        rows_end_reductions(r);
    }
    rows_forget(r, false);
}

/* All passes over the row at the current outer loops. */
static void whole_row(Rows *r, int copy) {
    (void)copy;
    if (r->k->streams) {
        streamed_row(r);
        return;
    }
    int lane = r->lane_loop;
    Em first = index_of(r, 0), end = index_of(r, lane >= 0 ? r->k->size[lane] : 1);
    rows_forget(r, false);
    for (r->pass = 0; r->pass < r->k->nstages; r->pass++) one_pass(r, first, end);
    rows_forget(r, false);
}

/* ---- Rows and blocks ---- */

/* Outer loops (but the lanes', if it is not pairs that lie there) from the number of the row. */
void rows_decode(Rows *r, Em unit) {
    for (int l = r->k->nouter - 1; l >= 0; l--) {
        if (l == r->lane_loop && !r->pairs) continue;
        Em size = index_of(r, r->k->size[l]);
        r->loops[l] = index_op(r, INDEX_REM, unit, size);
        unit = index_op(r, INDEX_DIV, unit, size);
    }
}

static int64_t units_of(const Rows *r) {
    int64_t units = kernel_outer_size(r->k);
    return r->across ? units / MAX(r->k->size[r->lane_loop], 1) : units;
}

/* Where the partial result of reduction i of a part of the row at the current outer loops is kept: 8 bytes
   each, in the order of parts, reductions, rows. */
static Em partial_at(Rows *r, Em part, size_t i) {
    Em workspace = r->e->ops->load_pointer(r->e, r->params[0], offsetof(KernelContext, workspace));
    Em place = index_op(r, INDEX_ADD, index_op(r, INDEX_MUL, part, index_of(r, (int64_t)r->nreductions)),
                        index_of(r, (int64_t)i));
    for (int l = 0; l < r->k->nouter; l++)
        place =
            index_op(r, INDEX_ADD, index_op(r, INDEX_MUL, place, index_of(r, r->k->size[l])), r->loops[l]);
    return r->e->ops->pointer(r->e, workspace, index_op(r, INDEX_MUL, place, index_of(r, 8)));
}

/* From one place of an outer loop to the next, in elements. */
static int64_t partial_stride(const Rows *r, int loop, FraxDType dtype) {
    int64_t stride = 8 / (int64_t)frax_dtype_size(dtype);
    for (int l = loop + 1; l < r->k->nouter; l++) stride *= r->k->size[l];
    return stride;
}

/* Pass 0 over a part of the row; partial reductions go to the workspace. */
static void part_of_row(Rows *r, Em first, Em end) {
    const EmitterOps *o = r->e->ops;
    rows_forget(r, false);
    r->pass = 0;
    one_pass(r, first, end);
    for (size_t i = 0; i < r->nreductions; i++) {
        const Reduction *red = &r->reductions[i];
        FraxDType dtype = scratch_dtype(red->type);
        int64_t apart = partial_stride(r, r->lane_loop, dtype);
        Em value = o->convert(r->e, r->values[red->item], red->type);
        o->store(r->e, partial_at(r, r->part, i), dtype, index_of(r, 0), apart, value, r->mask);
    }
    rows_forget(r, false);
}

static void part_of_rows(Rows *r, int copy) {
    (void)copy;
    part_of_row(r, index_of(r, 0), index_of(r, 1));
}

/* Block number `block` of pieces of a loop. */
static void piece_of(Rows *r, Em block, int loop, int64_t piece, Em *first, Em *end) {
    *first = index_op(r, INDEX_MUL, block, index_of(r, piece));
    *end = index_op(r, INDEX_MIN, index_op(r, INDEX_ADD, *first, index_of(r, piece)),
                    index_of(r, r->k->size[loop]));
}

static void chunk_block(Rows *r) {
    const Kernel *k = r->k;
    int64_t chunks = (k->size[k->lane_loop] + k->chunk - 1) / k->chunk;
    Em block = r->block, first, end;
    if (k->part) {
        Em parts = index_of(r, kernel_parts(k));
        r->part = index_op(r, INDEX_REM, block, parts);
        block = index_op(r, INDEX_DIV, block, parts);
        piece_of(r, r->part, k->nouter, k->part, &r->part_first, &r->part_end);
    }
    rows_decode(r, index_op(r, INDEX_DIV, block, index_of(r, chunks)));
    Em chunk = index_op(r, INDEX_REM, block, index_of(r, chunks));
    piece_of(r, chunk, k->lane_loop, k->chunk, &first, &end);
    if (r->across) {
        run_lanes(r, first, end, 1, k->part ? part_of_rows : whole_row);
    } else {
        r->part = chunk;
        part_of_row(r, first, end);
    }
}

/* First and last row of the block; cross spectra that sum over rows keep to one kept index, pairs to rows
   that share their tables. */
static void block_rows(Rows *r, Em *first, Em *end) {
    const Kernel *k = r->k;
    int64_t group = 1; /* rows that are summed into one */
    for (int l = k->nouter - k->nsummed; l < k->nouter; l++) group *= k->size[l];
    if (!k->nsummed) group = k->sharing ? k->sharing : units_of(r);
    Em per_group = index_of(r, MAX((group + k->rows_per_block - 1) / k->rows_per_block, 1));
    Em base = index_op(r, INDEX_MUL, index_op(r, INDEX_DIV, r->block, per_group), index_of(r, group));
    Em offset =
        index_op(r, INDEX_MUL, index_op(r, INDEX_REM, r->block, per_group), index_of(r, k->rows_per_block));
    Em stop = index_op(r, INDEX_MIN, index_op(r, INDEX_ADD, offset, index_of(r, k->rows_per_block)),
                       index_of(r, group));
    *first = index_op(r, INDEX_ADD, base, offset);
    *end = index_op(r, INDEX_ADD, base, stop);
}

static bool rows_block(Rows *r) {
    Em first, end;
    block_rows(r, &first, &end);
    if (r->pairs) return pairs_block(r, first, end);
    EmLoop rows = r->e->ops->loop_begin(r->e, first, end, 1);
    rows_decode(r, rows.index);
    if (r->across)
        run_lanes(r, index_of(r, 0), index_of(r, r->k->size[r->lane_loop]), 1, whole_row);
    else
        whole_row(r, 0);
    r->e->ops->loop_end(r->e, &rows);
    return true;
}

/* Addresses are made before the loops, so that they can be used anywhere. */
void rows_load_bases(Rows *r) {
    for (size_t v = 0; v < r->graph->count; v++) r->bases[v].ref = NULL;
    for (size_t i = 0; i < r->k->nitems; i++)
        if (r->k->items[i].kind == ITEM_LOAD) rows_base(r, r->k->items[i].node);
    for (size_t i = 0; i < r->k->nstores; i++) rows_base(r, r->k->stores[i].node);
    for (size_t i = 0; i < r->k->nrows; i++)
        for (int t = 0; t < 2; t++)
            if (!r->k->rows[i].tables[t].is_constant) rows_base(r, r->k->rows[i].tables[t].node);
}

static void make_accumulators(Rows *r) {
    int lanes = accumulator_lanes(r);
    for (size_t i = 0; i < r->nreductions; i++) {
        Reduction *red = &r->reductions[i];
        for (int c = 0; c < MAX_UNROLL; c++) red->best[c] = r->e->ops->variable(r->e, red->type, lanes);
        if (red->op == OP_argmax) red->place = r->e->ops->variable(r->e, EM_I32, lanes);
    }
}

static bool main_function(Rows *r) {
    char name[32];
    bool ok = true;
    snprintf(name, sizeof name, "frax_k%d", r->k->id);
    r->e->ops->function_begin(r->e, name, KERNEL_PARAMS, r->params);
    rows_load_bases(r);
    make_accumulators(r);
    rows_zero_margins(r);
    if (r->pairs) pairs_start(r);
    EmLoop blocks = r->e->ops->loop_begin(r->e, r->params[2], r->params[3], 1);
    r->block = blocks.index;
    rows_begin_block(r);
    if (r->k->chunk)
        chunk_block(r);
    else
        ok = rows_block(r);
    r->e->ops->loop_end(r->e, &blocks);
    r->e->ops->function_end(r->e);
    return ok;
}

/* Filters are brought into the order of the transforms: once, if they stay the same from run to run. */
static bool prepare_function(Rows *r) {
    char name[40];
    snprintf(name, sizeof name, "frax_k%d_prepare", r->k->id);
    r->e->ops->function_begin(r->e, name, KERNEL_PARAMS, r->params);
    rows_load_bases(r);
    bool ok = pairs_prepare(r);
    r->e->ops->function_end(r->e);
    return ok;
}

/* A GPU combines many parts at a time. */
static int partial_lanes(const Rows *r) {
    return r->graph->gpu ? r->e->team : 1;
}

/* The partial results of reduction `red` in parts at, at + 1, … below `end`. */
static void add_partial(Rows *r, Reduction *red, Em at, Em end, int lanes) {
    const EmitterOps *o = r->e->ops;
    FraxDType dtype = scratch_dtype(red->type);
    int64_t apart = (int64_t)r->nreductions * partial_stride(r, -1, dtype);
    Em mask = lanes > 1 ? o->index_less(r->e, o->index_lanes(r->e, at, 1, lanes), end) : (Em){0};
    Em part = o->load(r->e, partial_at(r, at, (size_t)(red - r->reductions)), dtype, index_of(r, 0), apart,
                      lanes, mask);
    if (mask.ref)
        part = o->select(r->e, mask, part, o->constant(r->e, red->type, neutral(red->op, red->type)));
    Em sum = o->get(r->e, red->best[0], red->type, lanes);
    o->set(r->e, red->best[0], o->arith(r->e, red->op, sum, part));
}

/* Combines the parts of each row in order, then does what follows from the whole. */
static void finish_reductions(Rows *r) {
    const EmitterOps *o = r->e->ops;
    Em first = index_of(r, 0), end = index_of(r, kernel_parts(r->k));
    int lanes = partial_lanes(r);
    EmLoop rows = o->loop_begin(r->e, r->params[2], r->params[3], 1);
    rows_decode(r, rows.index);
    rows_forget(r, false);
    r->pass = 0;
    rows_values_of_row(r);
    for (size_t i = 0; i < r->nreductions; i++) {
        Reduction *red = &r->reductions[i];
        Em start = o->constant(r->e, red->type, neutral(red->op, red->type));
        o->set(r->e, red->best[0], o->splat(r->e, start, lanes));
    }
    EmLoop each = o->loop_begin(r->e, first, end, lanes);
    for (size_t i = 0; i < r->nreductions; i++) add_partial(r, &r->reductions[i], each.index, end, lanes);
    o->loop_end(r->e, &each);
    for (size_t i = 0; i < r->nreductions; i++) {
        Reduction *red = &r->reductions[i];
        Em value = o->get(r->e, red->best[0], red->type, lanes);
        set_result(r, red, lanes > 1 ? o->reduce(r->e, red->op, value) : value);
    }
    r->pass = 1;
    rows_values_of_row(r);
    o->loop_end(r->e, &rows);
}

static bool finish_function(Rows *r) {
    char name[40];
    bool ok = true;
    snprintf(name, sizeof name, "frax_k%d_finish", r->k->id);
    r->e->ops->function_begin(r->e, name, KERNEL_PARAMS, r->params);
    rows_load_bases(r);
    if (r->k->nsummed) {
        ok = rows_finish_spectra(r);
    } else {
        for (size_t i = 0; i < r->nreductions; i++)
            r->reductions[i].best[0] = r->e->ops->variable(r->e, r->reductions[i].type, partial_lanes(r));
        int lane_loop = r->lane_loop;
        r->lane_loop = -1; /* rows come one by one */
        finish_reductions(r);
        r->lane_loop = lane_loop;
    }
    r->e->ops->function_end(r->e);
    return ok;
}

/* ---- Preparation ---- */

static size_t element_bytes(EmType type) {
    return type == EM_F64 ? 8 : 4;
}

/* Full vectors of the widest type that varies along the lanes, but no wider than the loop needs. */
static int choose_lanes(const Rows *r, int vector_bytes) {
    size_t widest = 4;
    if (r->lane_loop < 0) return 1;
    for (size_t i = 0; i < r->k->nitems; i++) {
        const Item *item = &r->k->items[i];
        bool matters = item->inner || item->kind == ITEM_REDUCE || r->across;
        if (matters) widest = MAX(widest, element_bytes(item_type(r->graph, item)));
    }
    int lanes = vector_bytes / (int)widest;
    while (lanes > 1 && lanes / 2 >= r->k->size[r->lane_loop]) lanes /= 2;
    return lanes;
}

/* Are the neighbours along the lanes neighbours in memory, from a multiple of `unit` elements on? */
static bool is_aligned_access(const Rows *r, const Affine *at, int unit) {
    if (rows_lane_stride(r, at) != 1 || at->base % unit) return false;
    for (int l = 0; l < r->k->nloops; l++)
        if (l != r->lane_loop && at->coeff[l] % unit) return false;
    return true;
}

/* All accesses that move with the lanes. */
static bool accesses_are_aligned(const Rows *r, int unit) {
    const Kernel *k = r->k;
    for (size_t i = 0; i < k->nitems; i++) {
        const Item *item = &k->items[i];
        if (item->kind == ITEM_LOAD && rows_lane_stride(r, &item->at) &&
            (item->guard != NO_GUARD || !is_aligned_access(r, &item->at, unit)))
            return false;
    }
    for (size_t i = 0; i < k->nstores; i++)
        if (rows_lane_stride(r, &k->stores[i].at) && !is_aligned_access(r, &k->stores[i].at, unit))
            return false;
    return true;
}

/* Functions of hundreds of instructions, which take all registers of a thread: it is not for memory that they
   wait. */
static bool has_long_functions(const Rows *r) {
    for (size_t i = 0; i < r->k->nitems; i++) {
        const Item *item = &r->k->items[i];
        if (item->kind != ITEM_POINTWISE) continue;
        Op op = graph_node(r->graph, item->node)->op;
        if (op == OP_lgamma || op == OP_polygamma || op == OP_complex_lgamma || op == OP_mittag_leffler)
            return true;
    }
    return false;
}

/* GPU: the lanes of a packed vector (Emitter.packed), in which a thread has 2 or more elements that it moves
   at once; 0 where it could not, or lanes change places. Chunks must be of whole vectors. */
static int choose_packed_lanes(const Rows *r) {
    const Kernel *k = r->k;
    if (r->lane_loop < 0 || !r->e->packed_bytes || r->pairs || k->nrows || k->streams) return 0;
    if (has_long_functions(r)) return 0;
    bool is_cut = k->chunk && k->chunk < k->size[r->lane_loop];
    for (int lanes = choose_lanes(r, r->e->packed_bytes); lanes >= 2 * r->e->team; lanes /= 2)
        if (!(is_cut && k->chunk % lanes) && accesses_are_aligned(r, lanes / r->e->team)) return lanes;
    return 0;
}

/* Long sums of f32 in f64: one after the other into an f32, 10^6 of them are off by 1e-3. */
static EmType accumulator_type(const Rows *r, const Reduction *red) {
    const Kernel *k = r->k;
    EmType type = item_type(r->graph, &k->items[k->items[red->item].args[0]]);
    int64_t added = kernel_inner_size(k);
    if (r->lane_loop >= k->nouter) added /= r->lanes * (r->pairs || k->streams ? 1 : most_unrolled(r));
    return red->op == OP_sum && type == EM_F32 && added > MOST_ADDED ? EM_F64 : type;
}

static bool is_dear(const Rows *r, int item) {
    return r->k->items[item].kind == ITEM_POINTWISE &&
           op_is_dear(graph_node(r->graph, r->k->items[item].node)->op);
}

/* Marks what pass p computes; a dear item of an earlier pass is kept in scratch instead of computed again. */
static void visit_pass(Rows *r, int item, int pass) {
    if (item == NO_ITEM || !r->k->items[item].inner) return;
    if (r->k->items[item].kind == ITEM_ROW) {
        r->row_read[r->k->items[item].row] |= 1u << pass;
        return;
    }
    if (r->visited[item] == pass) return;
    r->visited[item] = pass;
    if (r->first_pass[item] >= 0 && r->first_pass[item] < pass && is_dear(r, item)) {
        r->cached[item] = 0;
        return;
    }
    if (r->first_pass[item] < 0) r->first_pass[item] = pass;
    for (int a = 0; a < 3; a++) visit_pass(r, r->k->items[item].args[a], pass);
}

static void reserve_cached(Rows *r) {
    const Kernel *k = r->k;
    for (int pass = 0; pass < k->nstages; pass++) {
        for (size_t i = 0; i < k->nrows; i++)
            for (int n = 0; n < k->rows[i].ninputs; n++)
                if (k->items[k->rows[i].inputs[n]].stage == pass) visit_pass(r, k->rows[i].inputs[n], pass);
        for (size_t i = 0; i < k->nitems; i++)
            if (k->items[i].kind == ITEM_REDUCE && k->items[i].stage == pass + 1)
                visit_pass(r, k->items[i].args[0], pass);
        for (size_t i = 0; i < k->nstores; i++)
            if (k->stores[i].item != NO_ITEM && k->items[k->stores[i].item].stage == pass)
                visit_pass(r, k->stores[i].item, pass);
    }
    for (size_t i = 0; i < k->nitems; i++) {
        if (r->cached[i] < 0) continue;
        r->cached[i] = (int64_t)r->scratch;
        if (r->pairs) {
            r->scratch += 2 * (size_t)r->apart;
            continue;
        }
        size_t row = (size_t)rows_kept_length(r) * (size_t)(r->across ? r->lanes : 1) + (size_t)r->lanes;
        r->scratch += (row * element_bytes(item_type(r->graph, &k->items[i])) + 127) / 64 * 64;
    }
}

static bool prepare(Rows *r) {
    const Kernel *k = r->k;
    r->values = mem_calloc(k->nitems + 1, sizeof *r->values);
    r->known = mem_calloc(k->nitems + 1, 1);
    r->bases = mem_calloc(r->graph->count, sizeof *r->bases);
    r->reductions = mem_calloc(k->nitems + 1, sizeof *r->reductions);
    r->first_pass = mem_alloc((k->nitems + 1) * sizeof *r->first_pass);
    r->cached = mem_alloc((k->nitems + 1) * sizeof *r->cached);
    r->visited = mem_alloc((k->nitems + 1) * sizeof *r->visited);
    if (!r->values || !r->known || !r->bases || !r->reductions || !r->first_pass || !r->cached || !r->visited)
        return false;
    for (size_t i = 0; i < k->nitems; i++) {
        r->first_pass[i] = r->visited[i] = -1;
        r->cached[i] = -1;
        if (k->items[i].kind != ITEM_REDUCE) continue;
        Op op = graph_node(r->graph, k->items[i].node)->op;
        r->reductions[r->nreductions++] = (Reduction){.item = (int)i, .op = op};
    }
    r->across = k->lane_loop >= 0 && k->lane_loop < k->nouter;
    r->lanes = choose_lanes(r, r->e->vector_bytes);
    if (!pairs_begin(r) || (!r->pairs && !rows_layout_row_ops(r))) return false;
    int packed = choose_packed_lanes(r);
    r->e->packed = packed > 0;
    if (packed) r->lanes = packed;
    for (size_t i = 0; i < r->nreductions; i++)
        r->reductions[i].type = accumulator_type(r, &r->reductions[i]);
    reserve_cached(r);
    return true;
}

bool emit_rows(Emitter *e, Program *program, int kernel) {
    ProgramKernel *pk = &program->kernels[kernel];
    Rows r = {.e = e, .program = program, .graph = program->graph, .k = &pk->kernel};
    r.lane_loop = r.k->lane_loop;
    r.lane_step = 1;
    bool ok = prepare(&r);
    int team = e->team;
    if (ok && r.pairs && r.pairs->plan.registers) {
        e->team = r.pairs->plan.lanes;
        pk->exchange = team_exchange_bytes(&r.pairs->plan);
        pk->resident = r.pairs->plan.halved ? TEAM_RESIDENT : 0;
    }
    pk->team = e->team;
    if (ok) {
        pairs_sum_functions(&r);
        ok = main_function(&r) && (!kernel_finish_blocks(r.k) || finish_function(&r)) &&
             (!(pk->prepared || pk->prepared_blocks) || prepare_function(&r));
        pk->scratch = r.scratch; /* which grows while the kernel is emitted */
    }
    e->team = team;
    e->packed = false;
    pairs_end(&r);
    mem_free(r.values);
    mem_free(r.known);
    mem_free(r.bases);
    mem_free(r.reductions);
    mem_free(r.first_pass);
    mem_free(r.cached);
    mem_free(r.visited);
    return ok;
}
