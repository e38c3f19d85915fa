/* pairs.c — the rows template two rows at a time: where all rows of a kernel share their filters, a pair is
 * one complex signal and goes through transforms that are emitted in place (pair_fft.h).
 *
 *     for each pair of a block
 *       repeat, once or for each row alone
 *         for each pass
 *           transforms of the rows that are complete; filters; cross spectra
 *           the pass itself, for both rows
 *
 * The passes live in the transforms where they can: the first pass in the loads of the first transform, any
 * other one in the stores of the last inverse transform before it. So x is read once and y written once, and
 * what lies between stays in the nearest cache.
 *
 * A pair shares its rounding errors, and a NaN or an infinity spreads over both rows. So the rows that go
 * into a transform are weighed on the way: if their energies differ by more than RATIO, or are out of range,
 * each row goes through once more, paired with itself. A last row without a partner does so at once.
 */
#include "pairs.h"

enum {
    FEWEST_LANES = 4, /* vectors shorter than this, where the target has longer ones, are not worth it */
    WIDEST_PLANES = 1 << 19, /* bytes of all pairs side by side */
    SHORT = 32,              /* samples to which pairs side by side beat vectors of half the lanes */
    MOST_TILED = 64,         /* items of a kernel, which a tile repeats for every position */
    PLANE_PAD = 320,         /* bytes: planes at unequal offsets of a page */
    NO_PLANES = -1,
    PREFETCHED =
        1 << 20 /* bytes of all rows from which they are fetched ahead: half the time at 1024 samples */
};

static Em index_of(Rows *r, int64_t value) {
    return r->e->ops->index(r->e, value);
}

static Em index_op(Rows *r, IndexOp op, Em a, Em b) {
    return r->e->ops->index_op(r->e, op, a, b);
}

/* ---- For all parts ---- */

static const Node *row_node(const Rows *r, int row) {
    return graph_node(r->graph, r->k->rows[row].node);
}

bool pairs_is_filter(const Rows *r, int row) {
    return row_node(r, row)->op == OP_spectral;
}

Em pairs_constant(Rows *r, double value) {
    return r->e->ops->constant(r->e, r->pairs->type, value);
}

Em pairs_arith(Rows *r, Op op, Em a, Em b) {
    return r->e->ops->arith(r->e, op, a, b);
}

/* The element of a plane where the vector at place `at` starts. */
static Em element(Rows *r, Em at) {
    const Pairs *p = r->pairs;
    if (p->phase == ALONG_ROW) return index_op(r, INDEX_MUL, at, index_of(r, p->plan.wide));
    Em line = p->phase == ALONG_LINE ? p->line : at, column = p->phase == ALONG_LINE ? at : p->at_column;
    return index_op(r, INDEX_ADD, index_op(r, INDEX_MUL, line, index_of(r, p->plan.n)), column);
}

Em pairs_load(Rows *r, Em base, Em at) {
    return r->e->ops->load(r->e, base, r->pairs->plan.dtype, element(r, at), 1, r->lanes, (Em){0});
}

void pairs_store(Rows *r, Em base, Em at, Em value) {
    r->e->ops->store(r->e, base, r->pairs->plan.dtype, element(r, at), 1, value, (Em){0});
}

Em pairs_plane(Rows *r, int64_t planes, int part) {
    return scratch_at(r, planes + part * r->apart);
}

void pairs_select(Rows *r, int half) {
    Pairs *p = r->pairs;
    r->half = half;
    r->values = p->values[half];
    r->known = p->known[half];
    for (int l = 0; l < r->k->nouter; l++) r->loops[l] = p->loops[half][l];
    if (p->plan.wide > 1) r->mask = p->exists[half];
}

Slot *pairs_slot(const Rows *r, int row, int input) {
    int owner = row, place = input;
    rows_slot_owner(r, row, input, &owner, &place);
    for (int i = 0; i < r->pairs->nslots; i++) {
        Slot *slot = &r->pairs->slots[i];
        if (slot->row == owner && slot->input == place) return slot;
    }
    return NULL;
}

/* ---- Layout ---- */

static int64_t reserve_planes(Rows *r) {
    int64_t at = (int64_t)r->scratch;
    r->scratch += (size_t)(2 * r->apart);
    return at;
}

static bool same_table(const Table *a, const Table *b) {
    if (a->is_constant || b->is_constant)
        return a->is_constant && b->is_constant && a->constant == b->constant;
    return a->node == b->node && affine_equal(&a->at, &b->at) && a->stride[0] == b->stride[0] &&
           a->stride[1] == b->stride[1];
}

static int filter_for(Rows *r, const RowOp *op) {
    Pairs *p = r->pairs;
    for (int i = 0; i < p->nfilters; i++)
        if (same_table(&p->filters[i].op->tables[0], &op->tables[0]) &&
            same_table(&p->filters[i].op->tables[1], &op->tables[1]))
            return i;
    int64_t planes = p->place ? 2 * r->apart * p->nfilters : reserve_planes(r);
    p->filters[p->nfilters] = (Filter){op, planes};
    return p->nfilters++;
}

bool pairs_filters_in_place(const Rows *r, int row) {
    const Slot *slot = pairs_slot(r, row, 0);
    for (int i = 0; i < (int)r->k->nrows; i++)
        for (int n = 0; n < r->k->rows[i].ninputs; n++) {
            int stage = r->k->rows[i].stage, own = r->k->rows[row].stage;
            if (i == row || pairs_slot(r, i, n) != slot || stage < own) continue;
            if (stage > own || pairs_is_filter(r, i)) return false;
        }
    return true;
}

/* Reductions over what a first pass reads have to be known before anything else. */
static bool first_pass_may_wait(const Rows *r) {
    for (size_t i = 0; i < r->k->nitems; i++)
        if (r->k->items[i].kind == ITEM_REDUCE && r->k->items[i].stage == 1) return false;
    return true;
}

/* All rows share filters that stay the same from run to run. */
static bool filters_stay(const Rows *r) {
    const Kernel *k = r->k;
    for (size_t i = 0; i < k->nrows; i++)
        for (int t = 0; t < 2 && pairs_is_filter(r, (int)i); t++) {
            const Table *table = &k->rows[i].tables[t];
            if (!table->is_constant && graph_node(r->graph, table->node)->region != REGION_STATIC)
                return false;
        }
    return !k->is_static && k->sharing == kernel_outer_size(k);
}

int64_t pairs_slot_planes(Rows *r, Slot *slot) {
    if (slot->planes == NO_PLANES) slot->planes = reserve_planes(r);
    return slot->planes;
}

int64_t pairs_result_planes(Rows *r, int row) {
    int64_t *planes = &r->pairs->planes[row];
    if (*planes == NO_PLANES)
        *planes =
            pairs_filters_in_place(r, row) ? pairs_slot_planes(r, pairs_slot(r, row, 0)) : reserve_planes(r);
    return r->result[row] = *planes;
}

/* Once for many teams, where these share them. */
static FilterPlace choose_place(const Rows *r) {
    if (filters_stay(r)) return FILTERS_STATIC;
    return r->pairs->plan.registers && r->k->sharing > r->k->rows_per_block ? FILTERS_IN_WORKSPACE
                                                                            : FILTERS_IN_SCRATCH;
}

static void prepare_filters(const Rows *r) {
    const Pairs *p = r->pairs;
    const Kernel *k = r->k;
    int64_t bytes = 2 * r->apart * p->nfilters;
    if (!p->nfilters) return;
    if (p->place == FILTERS_STATIC) program_prepare(r->program, k->id, (size_t)bytes);
    if (p->place == FILTERS_IN_WORKSPACE)
        program_prepare_in_run(r->program, k->id, (size_t)(bytes * (kernel_outer_size(k) / k->sharing)),
                               pairs_fill_blocks(r));
}

static void layout(Rows *r) {
    Pairs *p = r->pairs;
    bool is_team = p->plan.registers > 0;
    p->place = choose_place(r);
    for (int row = 0; row < (int)r->k->nrows; row++)
        for (int n = 0; n < r->k->rows[row].ninputs; n++) {
            if (pairs_slot(r, row, n)) continue;
            int item = r->k->rows[row].inputs[n];
            bool reads = p->first_pass_waits && r->k->items[item].stage == 0;
            int64_t planes = is_team ? NO_PLANES : reserve_planes(r);
            p->slots[p->nslots++] = (Slot){row, n, item, reads, false, planes, {{0}, {0}}};
            r->row[row][n] = p->slots[p->nslots - 1].planes;
        }
    for (int row = 0; row < (int)r->k->nrows; row++) {
        if (!pairs_is_filter(r, row)) continue;
        p->filter_of[row] = filter_for(r, &r->k->rows[row]);
        p->planes[row] = NO_PLANES;
        if (!is_team) pairs_result_planes(r, row);
    }
}

/* Lanes along the row where they are many; else pairs side by side, if there are enough and their planes stay
   in the second cache. lanes 0: neither. */
static PairPlan choose_plan(const Rows *r, FraxDType dtype, int64_t n) {
    const Kernel *k = r->k;
    PairPlan team = pair_fft_plan_team(dtype, n, kernel_inner_size(k));
    if (r->graph->gpu && team.registers) return team;
    int vector = r->e->vector_bytes;
    PairPlan along = pair_fft_plan(dtype, n, vector), wide = pair_fft_plan_wide(dtype, n, vector);
    int64_t bytes = 2 * wide.elements * (int64_t)frax_dtype_size(dtype);
    bool enough = k->sharing == k->size[k->nouter - 1] && k->sharing >= wide.wide && bytes <= WIDEST_PLANES;
    bool full = along.lanes == wide.wide, half_full = 2 * along.lanes >= wide.wide;
    if (enough && (!half_full || (!full && n <= SHORT))) return wide;
    if (half_full || along.lanes >= FEWEST_LANES) return along;
    return (PairPlan){.lanes = 0};
}

/* An image's columns go side by side, its lines by full vectors. */
static PairPlan choose_image_plan(const Rows *r, FraxDType dtype, int64_t n) {
    PairPlan along = pair_fft_plan(dtype, n, r->e->vector_bytes);
    int widest = pair_fft_plan_wide(dtype, n, r->e->vector_bytes).wide;
    return along.lanes == widest && along.positions == n ? along : (PairPlan){.lanes = 0};
}

static bool choose_plans(const Rows *r, Pairs *p) {
    FftShape shape = rows_fft_shape(r, 0);
    p->lines = shape.rank == 2 ? shape.dims[0] : 1;
    p->plan = shape.rank == 2 ? choose_image_plan(r, shape.dtype, shape.dims[1])
                              : choose_plan(r, shape.dtype, shape.dims[0]);
    if (shape.rank == 2) p->column = pair_fft_plan_wide(shape.dtype, shape.dims[0], r->e->vector_bytes);
    p->phase = shape.rank == 2 ? ALONG_LINE : ALONG_ROW;
    return p->plan.lanes > 0;
}

/* Lanes: along the row, or one for each pair. */
static bool place_lanes(Rows *r) {
    Pairs *p = r->pairs;
    r->lanes = pair_fft_width(&p->plan);
    if (p->plan.wide == 1) return true;
    r->across = true;
    r->lane_loop = r->k->nouter - 1;
    r->lane_step = 2;
    if (r->k->nitems > MOST_TILED) return true;
    p->tile = tile_create(r);
    return p->tile != NULL;
}

/* Planes have room for the widest element that is kept beside them. On the CPU they keep off each other's
   lines of the first cache. */
static int64_t plane_bytes(const Rows *r) {
    int64_t size = (int64_t)frax_dtype_size(r->pairs->plan.dtype);
    for (size_t i = 0; i < r->k->nitems; i++)
        if (r->k->items[i].inner && item_type(r->graph, &r->k->items[i]) == EM_F64) size = 8;
    int64_t bytes = r->pairs->plan.elements * r->pairs->lines * size;
    return r->graph->gpu ? (bytes + 127) / 128 * 128 : (bytes + 4095) / 4096 * 4096 + PLANE_PAD;
}

static void reserve_columns(Rows *r) {
    Pairs *p = r->pairs;
    if (p->lines == 1) return;
    p->buffer = (int64_t)r->scratch;
    p->buffer_apart = p->column.elements * (int64_t)frax_dtype_size(p->plan.dtype) + PLANE_PAD;
    r->scratch += (size_t)(2 * p->buffer_apart);
}

bool pairs_begin(Rows *r) {
    const Kernel *k = r->k;
    if (!k->sharing) return true;
    Pairs *p = mem_calloc(1, sizeof *p);
    if (!p) return false;
    if (!choose_plans(r, p)) {
        mem_free(p);
        return true;
    }
    r->pairs = p;
    p->type = em_type_of(p->plan.dtype);
    p->length = kernel_inner_size(k);
    p->first_pass_waits = p->plan.wide == 1 && first_pass_may_wait(r);
    p->prefetches = !r->graph->gpu && p->plan.wide == 1 && p->lines == 1 &&
                    kernel_outer_size(k) * p->length * (int64_t)frax_dtype_size(p->plan.dtype) >= PREFETCHED;
    for (int h = 0; h < 2; h++) {
        p->values[h] = h ? mem_calloc(k->nitems + 1, sizeof **p->values) : r->values;
        p->known[h] = h ? mem_calloc(k->nitems + 1, 1) : r->known;
    }
    if (!place_lanes(r) || !p->values[1] || !p->known[1]) return false;
    r->apart = plane_bytes(r);
    layout(r);
    reserve_columns(r);
    prepare_filters(r);
    return true;
}

void pairs_end(Rows *r) {
    Pairs *p = r->pairs;
    if (!p) return;
    r->values = p->values[0];
    r->known = p->known[0];
    mem_free(p->values[1]);
    mem_free(p->known[1]);
    tile_free(p->tile);
    mem_free(p);
    r->pairs = NULL;
}

int64_t pairs_spectrum_elements(const Rows *r) {
    return r->pairs->plan.positions * r->pairs->lines;
}

bool pairs_reads_input(const Rows *r, int row, int input) {
    return pairs_slot(r, row, input)->reads;
}

Em pairs_row_value(Rows *r, int row) {
    return r->pairs->now[row][r->half];
}

/* ---- A pair ---- */

static void for_halves(Rows *r, void (*run)(Rows *)) {
    for (int h = 0; h < 2; h++) {
        pairs_select(r, h);
        run(r);
    }
}

static void forget_all(Rows *r) {
    rows_forget(r, false);
}

static bool run_passes_of_pair(Rows *r) {
    Pairs *p = r->pairs;
    bool ok = true;
    for (r->pass = 0; r->pass < r->k->nstages && ok; r->pass++) {
        bool has_body = r->pass == 0 && p->first_pass_waits;
        for_halves(r, rows_values_of_row);
        rows_begin_reductions(r);
        if (r->pass > 0) ok = pairs_run_stage(r, r->pass, &has_body);
        if (!has_body && rows_pass_has_elements(r)) pairs_run_pass(r);
        for_halves(r, rows_end_reductions);
    }
    return ok;
}

/* Rows `row` and `partner`, which is the same one or the next; side by side with them every second one up to
   `end`, if that is given. */
static bool run_pair(Rows *r, Em row, Em partner, Em end) {
    const EmitterOps *o = r->e->ops;
    Pairs *p = r->pairs;
    Em rows[2] = {row, partner};
    for (int h = 0; h < 2; h++)
        p->exists[h] =
            end.ref ? o->index_less(r->e, o->index_lanes(r->e, rows[h], 2, r->lanes), end) : (Em){0};
    p->alone = pairs_arith(r, OP_eq, row, partner);
    p->weight = o->select(r->e, p->alone, pairs_constant(r, 0.5), pairs_constant(r, 1));
    for (int h = 0; h < 4; h++) {
        rows_decode(r, h < 2 ? rows[h] : index_op(r, INDEX_ADD, rows[h - 2], index_of(r, 2)));
        for (int l = 0; l < r->k->nouter; l++) p->loops[h][l] = r->loops[l];
    }
    for_halves(r, forget_all);
    p->first_pass_done = !p->first_pass_waits;
    p->nopen = 0;
    pairs_clear_weights(r);
    bool ok = run_passes_of_pair(r);
    o->set(r->e, p->finished, o->constant(r->e, EM_BOOL, 1));
    while (p->nopen) o->if_end(r->e, &p->open[--p->nopen]);
    for_halves(r, forget_all);
    return ok;
}

/* A pair that does not fit together is done again: first its first row with itself, then its second. */
static bool run_until_finished(Rows *r, Em first, Em last, Em end) {
    const EmitterOps *o = r->e->ops;
    Pairs *p = r->pairs;
    o->set(r->e, p->row, first);
    o->set(r->e, p->partner, last);
    void *repeat = o->repeat_begin(r->e);
    Em row = o->get(r->e, p->row, EM_INDEX, 1), partner = o->get(r->e, p->partner, EM_INDEX, 1);
    o->set(r->e, p->finished, o->constant(r->e, EM_BOOL, 0));
    bool ok = run_pair(r, row, partner, end);
    Em finished = o->get(r->e, p->finished, EM_BOOL, 1), next = o->select(r->e, finished, last, row);
    o->set(r->e, p->row, next);
    o->set(r->e, p->partner, next);
    Em again = pairs_arith(r, OP_ne, o->select(r->e, finished, partner, index_of(r, -1)), last);
    o->repeat_end(r->e, repeat, again);
    return ok;
}

void pairs_find_filters(Rows *r, Em group) {
    const EmitterOps *o = r->e->ops;
    Pairs *p = r->pairs;
    int64_t offset =
        p->place == FILTERS_STATIC ? offsetof(KernelContext, statics) : offsetof(KernelContext, workspace);
    Em base = o->load_pointer(r->e, r->params[0], offset);
    Em at = index_op(r, INDEX_MUL, group, index_of(r, 2 * r->apart * p->nfilters));
    at = index_op(r, INDEX_ADD, at, index_of(r, (int64_t)r->program->kernels[r->k->id].prepared_at));
    p->filter_base = o->pointer(r->e, base, at);
}

bool pairs_prepare(Rows *r) {
    if (r->pairs->place == FILTERS_IN_WORKSPACE) return pairs_fill_groups(r);
    pairs_find_filters(r, index_of(r, 0));
    return pairs_fill_filters(r, index_of(r, 0));
}

void pairs_start(Rows *r) {
    const EmitterOps *o = r->e->ops;
    Pairs *p = r->pairs;
    if (p->place == FILTERS_STATIC) pairs_find_filters(r, index_of(r, 0));
    Em *const indices[] = {&p->row, &p->partner, &p->loaded};
    for (size_t i = 0; i < COUNT(indices); i++) *indices[i] = o->variable(r->e, EM_INDEX, 1);
    p->finished = o->variable(r->e, EM_BOOL, 1);
    o->set(r->e, p->loaded, index_of(r, -1));
    r->unroll = 1;
    pairs_make_weights(r);
}

/* Pairs one after the other; a last row without a partner is its own. */
static bool run_single_pairs(Rows *r, Em first, Em end) {
    const EmitterOps *o = r->e->ops;
    EmLoop loop = o->loop_begin(r->e, first, end, 2);
    Em last = index_op(r, INDEX_SUB, end, index_of(r, 1));
    last = index_op(r, INDEX_MIN, last, index_op(r, INDEX_ADD, loop.index, index_of(r, 1)));
    bool ok = run_until_finished(r, loop.index, last, (Em){0});
    o->loop_end(r->e, &loop);
    return ok;
}

/* Pairs side by side, as many as a vector has lanes; then those that do not fill one. */
static bool run_wide_pairs(Rows *r, Em first, Em end) {
    const EmitterOps *o = r->e->ops;
    int64_t step = 2 * r->lanes;
    Em count = index_op(r, INDEX_SUB, end, first);
    Em whole = index_op(r, INDEX_SUB, end, index_op(r, INDEX_REM, count, index_of(r, step)));
    bool ok = true;
    for (int rest = 0; rest < 2 && ok; rest++) {
        EmLoop loop = o->loop_begin(r->e, rest ? whole : first, rest ? end : whole, step);
        Em last = index_op(r, INDEX_ADD, loop.index, index_of(r, 1));
        ok = run_until_finished(r, loop.index, last, rest ? end : (Em){0});
        o->loop_end(r->e, &loop);
    }
    return ok;
}

bool pairs_block(Rows *r, Em first, Em end) {
    if (!pairs_load_filters(r, first)) return false;
    if (r->k->nsummed) pairs_clear_sums(r);
    bool ok = r->pairs->plan.wide > 1 ? run_wide_pairs(r, first, end) : run_single_pairs(r, first, end);
    r->mask = (Em){0};
    return ok;
}
