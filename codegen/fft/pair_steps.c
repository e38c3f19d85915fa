/* pair_steps.c — the transforms of a pair, and the passes over its elements that live in their loads and
 * stores. Part of the template for rows in pairs; see pairs.c. */
#include "pairs.h"
#include <math.h>

enum { LINE = 64 /* bytes of a cache line */ };

/* Energies of a pair may differ by the square of 8: the smaller row then has three bits less, of the five or
   more by which the transforms stay below their bound. */
static const double RATIO = 64;

static Em index_of(Rows *r, int64_t value) {
    return r->e->ops->index(r->e, value);
}

static Em index_op(Rows *r, IndexOp op, Em a, Em b) {
    return r->e->ops->index_op(r->e, op, a, b);
}

/* ---- Passes ---- */

/* Elements at … of the row, or of the current line of an image, whose loops may be one. */
static void set_place(Rows *r, Em at, Em mask) {
    const Pairs *p = r->pairs;
    int first = r->k->nouter, loops = r->k->nloops - first;
    r->mask = mask;
    r->loops[r->k->nloops - 1] = at;
    if (p->lines == 1) return;
    if (loops == 2)
        r->loops[first] = p->line;
    else
        r->loops[first] = index_op(r, INDEX_ADD, index_op(r, INDEX_MUL, p->line, index_of(r, p->plan.n)), at);
}

/* The pass at one vector of both rows. Their values come before any store, which may overwrite operands. */
static void run_body(Rows *r) {
    for (int h = 0; h < 2; h++) {
        pairs_select(r, h);
        rows_element_values(r, h);
    }
    for (int h = 0; h < 2; h++) {
        pairs_select(r, h);
        rows_element_stores(r);
    }
}

static void forget_elements(Rows *r) {
    for (int h = 0; h < 2; h++) {
        pairs_select(r, h);
        rows_forget(r, true);
    }
}

/* At the positions of a tile one after the other. */
static void run_tile(Rows *r, Em first) {
    tile_begin(r, r->pairs->tile, first);
    for (int i = 0; i < r->lanes; i++) {
        forget_elements(r);
        tile_select(r, i);
        run_body(r);
    }
    tile_end(r);
    forget_elements(r);
}

static void run_vector(Rows *r, Em at, Em mask) {
    set_place(r, at, mask);
    forget_elements(r);
    run_body(r);
    forget_elements(r);
}

/* By tiles while these are full, by vectors, and by the rest of a vector. */
static void run_row(Rows *r, int64_t length) {
    const EmitterOps *o = r->e->ops;
    const Pairs *p = r->pairs;
    int64_t lanes = p->plan.lanes, tile = p->tile ? r->lanes : length + 1;
    int64_t tiled = length / tile * tile, whole = length / lanes * lanes;
    if (tiled) {
        EmLoop loop = o->loop_begin(r->e, index_of(r, 0), index_of(r, tiled), tile);
        run_tile(r, loop.index);
        o->loop_end(r->e, &loop);
    }
    EmLoop loop = o->loop_begin(r->e, index_of(r, tiled), index_of(r, whole), lanes);
    run_vector(r, loop.index, (Em){0});
    o->loop_end(r->e, &loop);
    if (whole == length) return;
    Em lane = o->index_lanes(r->e, index_of(r, 0), 1, r->lanes);
    run_vector(r, index_of(r, whole), o->index_less(r->e, lane, index_of(r, length - whole)));
    r->mask = (Em){0};
}

static EmLoop begin_lines(Rows *r) {
    EmLoop loop = r->e->ops->loop_begin(r->e, index_of(r, 0), index_of(r, r->pairs->lines), 1);
    r->pairs->phase = ALONG_LINE;
    r->pairs->line = loop.index;
    return loop;
}

void pairs_run_pass(Rows *r) {
    Pairs *p = r->pairs;
    if (p->lines == 1) {
        run_row(r, p->length);
        return;
    }
    EmLoop loop = begin_lines(r);
    run_row(r, p->plan.n);
    r->e->ops->loop_end(r->e, &loop);
}

/* ---- Judging a pair ---- */

Em pairs_input(Rows *r, int row, int input, Em value) {
    const EmitterOps *o = r->e->ops;
    Em sum = pairs_slot(r, row, input)->energy[r->half];
    value = o->splat(r->e, value, r->lanes);
    if (r->mask.ref) value = o->select(r->e, r->mask, value, pairs_constant(r, 0));
    o->set(r->e, sum, o->fma(r->e, value, value, o->get(r->e, sum, r->pairs->type, r->lanes)));
    return value;
}

bool pairs_hold_input(Rows *r, int row, int input, Em value) {
    Slot *slot = pairs_slot(r, row, input);
    if (r->pairs->holds)
        slot->held[r->half][slot->nheld[r->half]++] = value;
    else
        r->row[row][input] = pairs_slot_planes(r, slot);
    return r->pairs->holds;
}

void pairs_make_weights(Rows *r) {
    for (int i = 0; i < r->pairs->nslots; i++)
        for (int h = 0; h < 2; h++)
            r->pairs->slots[i].energy[h] = r->e->ops->variable(r->e, r->pairs->type, r->lanes);
}

void pairs_clear_weights(Rows *r) {
    for (int i = 0; i < r->pairs->nslots; i++) {
        Slot *slot = &r->pairs->slots[i];
        slot->transformed = false;
        for (int h = 0; h < 2; h++) {
            slot->nheld[h] = 0;
            r->e->ops->set(r->e, slot->energy[h], r->e->ops->splat(r->e, pairs_constant(r, 0), r->lanes));
        }
    }
}

/* Energies of the same order, neither overflown nor lost; NaN fails every comparison. Of pairs side by side
   all have to be well matched. */
static Em well_matched(Rows *r, const Slot *slot) {
    const EmitterOps *o = r->e->ops;
    const Pairs *p = r->pairs;
    bool wide = p->plan.wide > 1;
    Em energy[2], least = pairs_constant(r, p->type == EM_F64 ? 0x1p-900 : 0x1p-100);
    for (int h = 0; h < 2; h++) {
        energy[h] = o->get(r->e, slot->energy[h], p->type, r->lanes);
        if (!wide) energy[h] = o->reduce(r->e, OP_sum, energy[h]);
    }
    Em good = pairs_arith(r, OP_and, pairs_arith(r, OP_gt, energy[0], least),
                          pairs_arith(r, OP_gt, energy[1], least));
    for (int h = 0; h < 2; h++) {
        Em most = pairs_arith(r, OP_mul, energy[1 - h], pairs_constant(r, RATIO));
        good = pairs_arith(r, OP_and, good, pairs_arith(r, OP_lt, energy[h], most));
    }
    if (wide && p->exists[1].ref) /* without a partner there is nothing to match */
        good =
            pairs_arith(r, OP_or, good, pairs_arith(r, OP_eq, p->exists[1], o->constant(r->e, EM_BOOL, 0)));
    if (wide) good = o->reduce(r->e, OP_and, good);
    return pairs_arith(r, OP_or, good, p->alone);
}

/* All that follows in this pair depends on the judgement. */
static void hook_loaded(void *context) {
    Rows *r = context;
    Pairs *p = r->pairs;
    p->open[p->nopen++] = r->e->ops->if_begin(r->e, well_matched(r, p->step.slot));
}

/* ---- Transforms ---- */

static void hook_load(void *context, Em at, Em mask, Em *re, Em *im) {
    Rows *r = context;
    Pairs *p = r->pairs;
    const Slot *slot = p->step.slot;
    int pass = r->pass;
    Em *parts[2] = {re, im};
    r->pass = 0;
    set_place(r, at, mask);
    forget_elements(r);
    if (!p->first_pass_done) run_body(r);
    for (int h = 0; h < 2; h++) {
        pairs_select(r, h);
        *parts[h] = pairs_input(r, slot->row, slot->input, rows_value(r, slot->item));
    }
    forget_elements(r);
    r->mask = (Em){0};
    r->pass = pass;
}

/* What an earlier pass left in registers, in the order in which it came. */
static void hook_load_held(void *context, Em at, Em mask, Em *re, Em *im) {
    Pairs *p = ((Rows *)context)->pairs;
    const Slot *slot = p->step.slot;
    int i = p->next_held++;
    (void)at, (void)mask;
    *re = slot->held[0][i];
    *im = slot->held[1][i];
}

/* Asks for one line of the next pair's operands and of what this pair will store; `half`: which rows. */
static void prefetch_rows(Rows *r, Em at, int half) {
    const EmitterOps *o = r->e->ops;
    const Kernel *k = r->k;
    for (int write = 0; write < 2; write++) {
        for (int l = 0; l < k->nouter; l++) r->loops[l] = r->pairs->loops[write ? half : half + 2][l];
        r->loops[k->lane_loop] = at;
        size_t count = write ? k->nstores : k->nitems;
        for (size_t i = 0; i < count; i++) {
            const Affine *place = write ? &k->stores[i].at : &k->items[i].at;
            Value node = write ? k->stores[i].node : k->items[i].node;
            bool memory = write ? k->stores[i].item != NO_ITEM : k->items[i].kind == ITEM_LOAD;
            if (!memory || rows_lane_stride(r, place) != 1 || !affine_uses(place, 0, k->nouter)) continue;
            o->prefetch(r->e, rows_base(r, node), graph_type(r->graph, node)->dtype, rows_affine(r, place),
                        write);
        }
    }
}

static void prefetch_ahead(Rows *r, Em at) {
    Pairs *p = r->pairs;
    int64_t bytes = p->plan.lanes * (int64_t)frax_dtype_size(p->plan.dtype);
    if (!p->prefetches || p->vector++ % (int)MAX(LINE / bytes, 1)) return;
    for (int h = 0; h < 2; h++) prefetch_rows(r, at, h);
    pairs_select(r, r->half);
}

static void hook_bins(void *context, Em at, Em *re, Em *im) {
    Rows *r = context;
    const Step *step = &r->pairs->step;
    if (step->stage == 1) prefetch_ahead(r, at);
    if (!step->slot) { /* its spectrum was kept */
        int64_t planes = pairs_slot_planes(r, pairs_slot(r, step->filter, 0));
        *re = pairs_load(r, pairs_plane(r, planes, 0), at);
        *im = pairs_load(r, pairs_plane(r, planes, 1), at);
    }
    if (step->sums) pairs_add_crosses(r, at, *re, *im);
    if (step->slot && step->filter >= 0 && step->keeps) {
        int64_t planes = pairs_slot_planes(r, step->slot);
        pairs_store(r, pairs_plane(r, planes, 0), at, *re);
        pairs_store(r, pairs_plane(r, planes, 1), at, *im);
    }
    if (step->filter >= 0) pairs_multiply(r, step->filter, at, re, im);
}

/* Elements of the filtered pair: kept if another pass looks at them, given to this one if it runs here. */
static void hook_store(void *context, Em at, Em mask, Em re, Em im) {
    Rows *r = context;
    Pairs *p = r->pairs;
    int row = p->step.filter;
    bool later = r->row_read[row] >> p->step.stage >> 1;
    Em parts[2] = {re, im};
    for (int h = 0; h < 2 && (later || !p->step.has_body); h++)
        pairs_store(r, pairs_plane(r, pairs_result_planes(r, row), h), at, parts[h]);
    if (!p->step.has_body) return;
    for (int h = 0; h < 2; h++) p->now[row][h] = parts[h];
    set_place(r, at, mask);
    forget_elements(r);
    p->holds = p->plan.registers > 0;
    run_body(r);
    p->holds = false;
    forget_elements(r);
    r->mask = (Em){0};
    for (int h = 0; h < 2; h++) p->now[row][h] = (Em){0};
}

/* Planes of the step's transform, from the line's beginning on. A team works in registers: what it neither
   reads there nor leaves there has none. */
static void find_planes(Rows *r, PairKind kind, PairIo *io) {
    const Pairs *p = r->pairs;
    const Step *step = &p->step;
    bool reads = kind != PAIR_INVERSE && !step->slot->reads && !step->slot->nheld[0],
         leaves = kind == PAIR_FORWARD && step->keeps;
    if (p->plan.registers && !reads && !leaves) return;
    int64_t planes =
        kind != PAIR_INVERSE ? pairs_slot_planes(r, step->slot) : pairs_result_planes(r, step->filter);
    Em first = p->lines > 1 ? index_op(r, INDEX_MUL, p->line,
                                       index_of(r, p->plan.n * (int64_t)frax_dtype_size(p->plan.dtype)))
                            : index_of(r, 0);
    io->re = r->e->ops->pointer(r->e, pairs_plane(r, planes, 0), first);
    io->im = r->e->ops->pointer(r->e, pairs_plane(r, planes, 1), first);
}

/* The transforms of rows, or of an image's lines in one direction. */
static bool transform_rows(Rows *r, PairKind kind) {
    Pairs *p = r->pairs;
    const Step *step = &p->step;
    bool forward = kind != PAIR_INVERSE, image = p->lines > 1;
    void (*load)(void *, Em, Em, Em *, Em *) = !forward               ? NULL
                                               : step->slot->reads    ? hook_load
                                               : step->slot->nheld[0] ? hook_load_held
                                                                      : NULL;
    p->next_held = 0;
    PairIo io = {.discard = kind == PAIR_FORWARD && !image && !step->keeps,
                 .length = image ? p->plan.n : p->length,
                 .context = r,
                 .load = load,
                 .store = kind != PAIR_FORWARD ? hook_store : NULL,
                 .loaded = forward && !image ? hook_loaded : NULL,
                 .bins = image ? NULL : hook_bins};
    find_planes(r, kind, &io);
    return emit_pair_transform(r->e, &p->plan, kind, &io);
}

static void hook_load_column(void *context, Em at, Em mask, Em *re, Em *im) {
    Rows *r = context;
    (void)mask;
    *re = pairs_load(r, pairs_plane(r, r->pairs->step.slot->planes, 0), at);
    *im = pairs_load(r, pairs_plane(r, r->pairs->step.slot->planes, 1), at);
}

static void hook_store_column(void *context, Em at, Em mask, Em re, Em im) {
    Rows *r = context;
    int64_t planes = r->pairs->planes[r->pairs->step.filter];
    (void)mask;
    pairs_store(r, pairs_plane(r, planes, 0), at, re);
    pairs_store(r, pairs_plane(r, planes, 1), at, im);
}

/* A spectrum that goes no further at once is kept where it is seen. */
static void hook_bins_of_column(void *context, Em at, Em *re, Em *im) {
    Rows *r = context;
    const Step *step = &r->pairs->step;
    hook_bins(context, at, re, im);
    if (step->filter >= 0) return;
    pairs_store(r, pairs_plane(r, step->slot->planes, 0), at, *re);
    pairs_store(r, pairs_plane(r, step->slot->planes, 1), at, *im);
}

/* Columns a vector at a time, in a buffer where their elements are neighbours. */
static bool transform_columns(Rows *r, PairKind kind) {
    const EmitterOps *o = r->e->ops;
    Pairs *p = r->pairs;
    PairIo io = {.re = scratch_at(r, p->buffer),
                 .im = scratch_at(r, p->buffer + p->buffer_apart),
                 .discard = kind == PAIR_FORWARD,
                 .context = r,
                 .load = hook_load_column,
                 .store = hook_store_column,
                 .bins = hook_bins_of_column};
    EmLoop loop = o->loop_begin(r->e, index_of(r, 0), index_of(r, p->plan.n), r->lanes);
    p->phase = ALONG_COLUMN;
    p->at_column = loop.index;
    bool ok = emit_pair_transform(r->e, &p->column, kind, &io);
    o->loop_end(r->e, &loop);
    return ok;
}

static bool transform_lines(Rows *r, PairKind kind) {
    EmLoop loop = begin_lines(r);
    bool ok = transform_rows(r, kind);
    r->e->ops->loop_end(r->e, &loop);
    return ok;
}

static bool transform_image(Rows *r, PairKind kind) {
    bool ok = true;
    if (kind != PAIR_INVERSE) {
        ok = transform_lines(r, PAIR_FORWARD);
        hook_loaded(r);
    }
    ok = ok && transform_columns(r, kind);
    if (kind != PAIR_FORWARD) ok = ok && transform_lines(r, PAIR_INVERSE);
    return ok;
}

static bool run_step(Rows *r, Step step) {
    Pairs *p = r->pairs;
    PairKind kind = !step.slot ? PAIR_INVERSE : step.filter >= 0 ? PAIR_FILTER : PAIR_FORWARD;
    p->step = step;
    bool ok = p->lines > 1 ? transform_image(r, kind) : transform_rows(r, kind);
    if (step.slot) step.slot->transformed = true;
    if (step.slot && step.slot->reads) p->first_pass_done = true;
    return ok;
}

/* Whether a filter can go on from its signal's transform: where that is in place, no one else may want the
   spectrum. */
static bool goes_on(const Rows *r, int row) {
    return r->pairs->plan.registers || pairs_filters_in_place(r, row);
}

/* The spectra that operations of this stage want and that are not there, in the order in which they are made;
   last the one that its filter can go on from. */
static int missing_slots(Rows *r, int stage, Slot **slots) {
    int n = 0;
    for (int row = 0; row < (int)r->k->nrows; row++)
        for (int i = 0; i < r->k->rows[row].ninputs && r->k->rows[row].stage == stage; i++) {
            Slot *slot = pairs_slot(r, row, i);
            bool listed = slot->transformed;
            for (int s = 0; s < n; s++) listed |= slots[s] == slot;
            if (!listed) slots[n++] = slot;
        }
    for (int row = 0; row < (int)r->k->nrows; row++) {
        if (r->k->rows[row].stage != stage || !pairs_is_filter(r, row) || !goes_on(r, row)) continue;
        for (int s = 0; s < n - 1; s++) {
            if (slots[s] != pairs_slot(r, row, 0)) continue;
            slots[s] = slots[n - 1];
            slots[n - 1] = pairs_slot(r, row, 0);
        }
    }
    return n;
}

static bool has_cross(const Rows *r, int stage) {
    for (int row = 0; row < (int)r->k->nrows; row++)
        if (r->k->rows[row].stage == stage && !pairs_is_filter(r, row)) return true;
    return false;
}

/* Whether more than this stage's sums, and the filter `direct` of its transform, want a spectrum. */
static bool wanted_later(const Rows *r, const Slot *slot, int stage, int direct) {
    for (int row = 0; row < (int)r->k->nrows; row++)
        for (int i = 0; i < r->k->rows[row].ninputs; i++) {
            int own = r->k->rows[row].stage;
            bool filters = own == stage && pairs_is_filter(r, row) && row != direct;
            if (pairs_slot(r, row, i) == slot && (own > stage || filters)) return true;
        }
    return false;
}

/* Transforms of a stage, filters and sums. *has_body: the pass after them ran within. */
bool pairs_run_stage(Rows *r, int stage, bool *has_body) {
    Slot *slots[2 * MAX_ROW_OPS];
    int n = missing_slots(r, stage, slots), filters[MAX_ROW_OPS], nfilters = 0, direct = -1;
    bool ok = true, sums = has_cross(r, stage);
    for (int row = 0; row < (int)r->k->nrows; row++) {
        if (r->k->rows[row].stage != stage || !pairs_is_filter(r, row)) continue;
        if (n && direct < 0 && goes_on(r, row) && pairs_slot(r, row, 0) == slots[n - 1])
            direct = row;
        else
            filters[nfilters++] = row;
    }
    *has_body = (nfilters || direct >= 0) && r->pairs->plan.wide == 1;
    for (int s = 0; s < n && ok; s++) {
        bool last = s == n - 1;
        Step step = {.stage = stage,
                     .slot = slots[s],
                     .filter = last ? direct : -1,
                     .sums = last && sums,
                     .keeps = !last || wanted_later(r, slots[s], stage, direct),
                     .has_body = last && *has_body && !nfilters};
        ok = run_step(r, step);
    }
    r->pairs->step = (Step){.stage = stage, .filter = -1};
    if (sums && !n) pairs_add_kept_crosses(r);
    for (int i = 0; i < nfilters && ok; i++)
        ok = run_step(
            r, (Step){.stage = stage, .filter = filters[i], .has_body = *has_body && i == nfilters - 1});
    return ok;
}
