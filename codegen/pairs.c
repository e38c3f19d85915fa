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
#include "pair_fft.h"
#include "rows.h"
#include <math.h>

enum {
    FEWEST_LANES = 4, /* vectors shorter than this, where the target has longer ones, are not worth it */
    WIDEST_PLANES = 1 << 19, /* bytes of all pairs side by side */
    MOST_TILED = 64,         /* items of a kernel, which a tile repeats for every position */
    PLANE_PAD = 320,         /* bytes: planes at unequal offsets of a page */
    LINE = 64,               /* bytes of a cache line */
    PREFETCHED =
        1 << 20 /* bytes of all rows from which they are fetched ahead: half the time at 1024 samples */
};

/* Energies of a pair may differ by the square of 8: the smaller row then has three bits less, of the five or
   more by which the transforms stay below their bound. */
static const double RATIO = 64;

/* An input row of operations, and its spectrum, which takes its place. */
typedef struct Slot {
    int row, input; /* where it is owned */
    int item;
    bool reads; /* by the transform itself, from its operands */
    bool transformed;
    int64_t planes;
    Em energy[2]; /* variables */
} Slot;

/* K in the order of the bins, times 1/n. */
typedef struct Filter {
    const RowOp *op; /* the first that uses it */
    int64_t planes;
} Filter;

/* What an operation's transform does on the way. */
typedef struct Step {
    int stage;
    Slot *slot;    /* transformed forward; NULL: none */
    int filter;    /* row operation transformed back; −1: none */
    bool sums;     /* adds to the stage's cross spectra */
    bool has_body; /* the pass runs where results are stored */
} Step;

typedef struct Pairs {
    PairPlan plan;
    EmType type;
    int64_t length; /* of the rows in memory, without zeros behind them */
    Slot slots[2 * MAX_ROW_OPS];
    int nslots;
    Filter filters[MAX_ROW_OPS];
    int nfilters, filter_of[MAX_ROW_OPS];
    int64_t planes[MAX_ROW_OPS]; /* of each filtered row */
    Em now[MAX_ROW_OPS][2];      /* its elements at the current place; ref NULL: in its planes */
    bool first_pass_waits;       /* until the first transform of the pair */
    bool first_pass_done;
    Em *values[2]; /* of the items, by row; and which are known */
    bool *known[2];
    Em loops[4][MAX_LOOPS]; /* of both rows, and of the next pair's */
    Em exists[2];           /* pairs side by side: the lanes that have a row; ref NULL: all */
    bool prefetches;
    Tile *tile;                        /* pairs side by side: passes go by tiles; NULL: element by element */
    int vector;                        /* number of the last vector of bins that was emitted */
    Em partner, row, finished, loaded; /* variables: the pair, whether it is done, whose K is loaded */
    Em alone, weight;                  /* of the current pair: a row with itself; its weight in sums */
    EmIf open[2 * MAX_ROW_OPS];
    int nopen;
    Step step;
} Pairs;

/* ---- Small helpers ---- */

static Em index_of(Rows *r, int64_t value) {
    return r->e->ops->index(r->e, value);
}

static Em index_op(Rows *r, IndexOp op, Em a, Em b) {
    return r->e->ops->index_op(r->e, op, a, b);
}

static const Node *row_node(const Rows *r, int row) {
    return graph_node(r->graph, r->k->rows[row].node);
}

static bool is_filter(const Rows *r, int row) {
    return row_node(r, row)->op == OP_spectral;
}

static Em constant(Rows *r, double value) {
    return r->e->ops->constant(r->e, r->pairs->type, value);
}

static Em splat(Rows *r, double value) {
    return r->e->ops->splat(r->e, constant(r, value), r->lanes);
}

static Em arith(Rows *r, Op op, Em a, Em b) {
    return r->e->ops->arith(r->e, op, a, b);
}

/* The vector at position `at` of a plane, of all pairs side by side. */
static Em load_plane(Rows *r, Em base, Em at) {
    const PairPlan *plan = &r->pairs->plan;
    at = index_op(r, INDEX_MUL, at, index_of(r, plan->wide));
    return r->e->ops->load(r->e, base, plan->dtype, at, 1, r->lanes, (Em){0});
}

static void store_plane(Rows *r, Em base, Em at, Em value) {
    const PairPlan *plan = &r->pairs->plan;
    at = index_op(r, INDEX_MUL, at, index_of(r, plan->wide));
    r->e->ops->store(r->e, base, plan->dtype, at, 1, value, (Em){0});
}

/* Of a spectrum that all pairs have in common: a filter, or sums. */
static Em load_shared(Rows *r, Em base, Em at) {
    const PairPlan *plan = &r->pairs->plan;
    return r->e->ops->load(r->e, base, plan->dtype, at, 1, plan->lanes, (Em){0});
}

static void store_shared(Rows *r, Em base, Em at, Em value) {
    r->e->ops->store(r->e, base, r->pairs->plan.dtype, at, 1, value, (Em){0});
}

static Em plane_at(Rows *r, int64_t planes, int part) {
    return scratch_at(r, planes + part * r->apart);
}

static void select_half(Rows *r, int half) {
    Pairs *p = r->pairs;
    r->half = half;
    r->values = p->values[half];
    r->known = p->known[half];
    for (int l = 0; l < r->k->nouter; l++) r->loops[l] = p->loops[half][l];
    if (p->plan.wide > 1) r->mask = p->exists[half];
}

static Slot *slot_of(const Rows *r, int row, int input) {
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
    return a->node == b->node && affine_equal(&a->at, &b->at) && a->stride[0] == b->stride[0];
}

static int filter_for(Rows *r, const RowOp *op) {
    Pairs *p = r->pairs;
    for (int i = 0; i < p->nfilters; i++)
        if (same_table(&p->filters[i].op->tables[0], &op->tables[0]) &&
            same_table(&p->filters[i].op->tables[1], &op->tables[1]))
            return i;
    p->filters[p->nfilters] = (Filter){op, reserve_planes(r)};
    return p->nfilters++;
}

/* Is the filter the only operation from its stage on that wants its signal's spectrum? Sums of its stage are
   made before. */
static bool filters_in_place(const Rows *r, int row) {
    const Slot *slot = slot_of(r, row, 0);
    for (int i = 0; i < (int)r->k->nrows; i++)
        for (int n = 0; n < r->k->rows[i].ninputs; n++) {
            int stage = r->k->rows[i].stage, own = r->k->rows[row].stage;
            if (i == row || slot_of(r, i, n) != slot || stage < own) continue;
            if (stage > own || is_filter(r, i)) return false;
        }
    return true;
}

/* Reductions over what a first pass reads have to be known before anything else. */
static bool first_pass_may_wait(const Rows *r) {
    for (size_t i = 0; i < r->k->nitems; i++)
        if (r->k->items[i].kind == ITEM_REDUCE && r->k->items[i].stage == 1) return false;
    return true;
}

static void layout(Rows *r) {
    Pairs *p = r->pairs;
    for (int row = 0; row < (int)r->k->nrows; row++)
        for (int n = 0; n < r->k->rows[row].ninputs; n++) {
            if (slot_of(r, row, n)) continue;
            int item = r->k->rows[row].inputs[n];
            bool reads = p->first_pass_waits && r->k->items[item].stage == 0;
            p->slots[p->nslots++] = (Slot){row, n, item, reads, false, reserve_planes(r), {{0}, {0}}};
            r->row[row][n] = p->slots[p->nslots - 1].planes;
        }
    for (int row = 0; row < (int)r->k->nrows; row++) {
        if (!is_filter(r, row)) continue;
        p->filter_of[row] = filter_for(r, &r->k->rows[row]);
        p->planes[row] = filters_in_place(r, row) ? slot_of(r, row, 0)->planes : reserve_planes(r);
        r->result[row] = p->planes[row];
    }
}

/* Lanes along the row where they are many; else pairs side by side, if there are enough and their planes stay
   in the second cache. lanes 0: neither. */
static PairPlan choose_plan(const Rows *r) {
    const Kernel *k = r->k;
    FftShape shape = rows_fft_shape(r, 0);
    int vector = r->e->vector_bytes;
    PairPlan along = pair_fft_plan(shape.dtype, shape.dims[0], vector);
    PairPlan wide = pair_fft_plan_wide(shape.dtype, shape.dims[0], vector);
    int64_t bytes = 2 * wide.elements * (int64_t)frax_dtype_size(shape.dtype);
    bool enough = k->sharing == k->size[k->nouter - 1] && k->sharing >= wide.wide && bytes <= WIDEST_PLANES;
    if (2 * along.lanes < wide.wide && enough) return wide;
    if (along.lanes >= MIN(wide.wide, FEWEST_LANES)) return along;
    return (PairPlan){.lanes = 0};
}

bool pairs_begin(Rows *r) {
    const Kernel *k = r->k;
    if (!k->sharing) return true;
    PairPlan plan = choose_plan(r);
    if (!plan.lanes) return true;
    Pairs *p = r->pairs = mem_calloc(1, sizeof *p);
    if (!p) return false;
    p->plan = plan;
    p->type = em_type_of(plan.dtype);
    p->length = kernel_inner_size(k);
    p->first_pass_waits = plan.wide == 1 && first_pass_may_wait(r);
    p->prefetches = kernel_outer_size(k) * p->length * (int64_t)frax_dtype_size(plan.dtype) >= PREFETCHED;
    for (int h = 0; h < 2; h++) {
        p->values[h] = h ? mem_calloc(k->nitems + 1, sizeof **p->values) : r->values;
        p->known[h] = h ? mem_calloc(k->nitems + 1, 1) : r->known;
    }
    r->lanes = pair_fft_width(&plan);
    if (plan.wide > 1) {
        r->across = true;
        r->lane_loop = k->nouter - 1;
        r->lane_step = 2;
        p->prefetches = false;
        if (k->nitems <= MOST_TILED && !(p->tile = tile_create(r))) return false;
    }
    r->apart = (plan.elements * 8 + 4095) / 4096 * 4096 + PLANE_PAD; /* 8: what is kept may be f64 */
    if (!p->values[1] || !p->known[1]) return false;
    layout(r);
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
    return r->pairs->plan.positions;
}

bool pairs_reads_input(const Rows *r, int row, int input) {
    return slot_of(r, row, input)->reads;
}

Em pairs_row_value(Rows *r, int row) {
    return r->pairs->now[row][r->half];
}

/* ---- K ---- */

/* For each position of the spectrum: which bin of the half spectrum lies there, and what its parts of K are
   multiplied by; at DC and at the Nyquist frequency only the real part counts, and where no bin lies neither.
 */
static bool order_tables(Rows *r, Em *place, Em *re, Em *im) {
    const PairPlan *plan = &r->pairs->plan;
    size_t count = (size_t)plan->positions;
    int64_t *bins = mem_alloc(count * sizeof *bins);
    double *values = mem_alloc(3 * count * sizeof *values), *at = values, *re_of = at + count,
           *im_of = re_of + count;
    bool ok = bins && values;
    if (ok) pair_fft_order(plan, bins);
    for (size_t i = 0; ok && i < count; i++) {
        int64_t mirror = bins[i] > 0 ? plan->n - bins[i] : bins[i];
        at[i] = (double)MAX(MIN(bins[i], mirror), 0);
        re_of[i] = bins[i] < 0 ? 0 : 1 / (double)plan->n;
        im_of[i] = bins[i] < 0 || bins[i] == mirror || bins[i] == 0 ? 0
                   : bins[i] < mirror                               ? re_of[i]
                                                                    : -re_of[i];
    }
    if (ok) {
        *place = r->e->ops->table(r->e, FRAX_I32, at, plan->positions);
        *re = r->e->ops->table(r->e, plan->dtype, re_of, plan->positions);
        *im = r->e->ops->table(r->e, plan->dtype, im_of, plan->positions);
    }
    mem_free(bins);
    mem_free(values);
    return ok;
}

static Em table_element(Rows *r, const Table *table, Em bin) {
    const EmitterOps *o = r->e->ops;
    if (table->is_constant) return constant(r, table->constant);
    Em at = index_op(r, INDEX_MUL, bin, index_of(r, table->stride[0]));
    at = index_op(r, INDEX_ADD, rows_affine(r, &table->at), at);
    return o->load(r->e, rows_base(r, table->node), r->pairs->plan.dtype, at, 1, 1, (Em){0});
}

/* Infinite parts of K that do not count must not become NaN. */
static Em scaled_part(Rows *r, Em part, Em factor) {
    Em counts = arith(r, OP_ne, factor, constant(r, 0));
    return r->e->ops->select(r->e, counts, arith(r, OP_mul, part, factor), constant(r, 0));
}

static void load_filter(Rows *r, const Filter *filter, Em place, const Em *factor) {
    const EmitterOps *o = r->e->ops;
    FraxDType dtype = r->pairs->plan.dtype;
    Em none = {0};
    EmLoop loop = o->loop_begin(r->e, index_of(r, 0), index_of(r, r->pairs->plan.positions), 1);
    Em bin = o->convert(r->e, o->load(r->e, place, FRAX_I32, loop.index, 1, 1, none), EM_INDEX);
    for (int part = 0; part < 2; part++) {
        Em f = o->load(r->e, factor[part], dtype, loop.index, 1, 1, none);
        Em k = scaled_part(r, table_element(r, &filter->op->tables[part], bin), f);
        o->store(r->e, plane_at(r, filter->planes, part), dtype, loop.index, 1, k, none);
    }
    o->loop_end(r->e, &loop);
}

/* The filters of the group of rows that `row` belongs to, unless they are there from the last block. */
static bool load_filters(Rows *r, Em row) {
    const EmitterOps *o = r->e->ops;
    Pairs *p = r->pairs;
    Em group = index_op(r, INDEX_DIV, row, index_of(r, r->k->sharing)), place, factor[2];
    if (!p->nfilters) return true;
    if (!order_tables(r, &place, &factor[0], &factor[1])) return false;
    EmIf missing = o->if_begin(r->e, arith(r, OP_ne, o->get(r->e, p->loaded, EM_INDEX, 1), group));
    rows_decode(r, row);
    for (int i = 0; i < p->nfilters; i++) load_filter(r, &p->filters[i], place, factor);
    o->set(r->e, p->loaded, group);
    o->if_end(r->e, &missing);
    return true;
}

static bool is_zero(const Table *table) {
    return table->is_constant && table->constant == 0;
}

/* z·K, for K with its signs. */
static void multiply(Rows *r, int row, Em at, Em *re, Em *im) {
    const RowOp *op = &r->k->rows[row];
    int64_t planes = r->pairs->filters[r->pairs->filter_of[row]].planes;
    Em kr = load_shared(r, plane_at(r, planes, 0), at), x = *re, y = *im;
    if (op->tables[0].negated) kr = arith(r, OP_sub, constant(r, -0.0), kr);
    *re = arith(r, OP_mul, x, kr);
    *im = arith(r, OP_mul, y, kr);
    if (is_zero(&op->tables[1])) return;
    Em ki = load_shared(r, plane_at(r, planes, 1), at);
    bool negated = op->tables[1].negated;
    *re = arith(r, negated ? OP_add : OP_sub, *re, arith(r, OP_mul, y, ki));
    *im = arith(r, negated ? OP_sub : OP_add, *im, arith(r, OP_mul, x, ki));
}

/* ---- Cross spectra ---- */

/* conj X · Y of both rows together: what belongs to a bin is the mean of what lies at its position and of the
   conjugate at its mirror's (pairs_finish_spectra). */
static void add_cross(Rows *r, int row, Em at, Em re, Em im) {
    Em z[2][2], part[2];
    for (int n = 0; n < 2; n++) {
        const Slot *slot = slot_of(r, row, n);
        bool here = slot == r->pairs->step.slot;
        z[n][0] = here ? re : load_plane(r, plane_at(r, slot->planes, 0), at);
        z[n][1] = here ? im : load_plane(r, plane_at(r, slot->planes, 1), at);
    }
    for (int i = 0; i < 2; i++) z[0][i] = arith(r, OP_mul, z[0][i], r->pairs->weight);
    part[0] = arith(r, OP_add, arith(r, OP_mul, z[0][0], z[1][0]), arith(r, OP_mul, z[0][1], z[1][1]));
    part[1] = arith(r, OP_sub, arith(r, OP_mul, z[0][0], z[1][1]), arith(r, OP_mul, z[0][1], z[1][0]));
    for (int i = 0; i < 2; i++) {
        if (!rows_spectrum_store(r, row, (Part)i)) continue;
        Em base = rows_partial_spectrum(r, r->block, row, (Part)i);
        if (r->pairs->plan.wide > 1) part[i] = r->e->ops->reduce(r->e, OP_sum, part[i]);
        store_shared(r, base, at, arith(r, OP_add, load_shared(r, base, at), part[i]));
    }
}

static void add_crosses(Rows *r, Em at, Em re, Em im) {
    for (int row = 0; row < (int)r->k->nrows; row++)
        if (r->k->rows[row].stage == r->pairs->step.stage && !is_filter(r, row))
            add_cross(r, row, at, re, im);
}

static EmLoop spectrum_loop(Rows *r) {
    const PairPlan *plan = &r->pairs->plan;
    return r->e->ops->loop_begin(r->e, index_of(r, 0), index_of(r, plan->positions), plan->lanes);
}

static void clear_sums(Rows *r) {
    Em zero = r->e->ops->splat(r->e, constant(r, 0), r->pairs->plan.lanes);
    EmLoop loop = spectrum_loop(r);
    for (int row = 0; row < (int)r->k->nrows; row++)
        for (int i = 0; i < 2 && !is_filter(r, row); i++)
            if (rows_spectrum_store(r, row, (Part)i))
                store_shared(r, rows_partial_spectrum(r, r->block, row, (Part)i), loop.index, zero);
    r->e->ops->loop_end(r->e, &loop);
}

/* Sums the blocks' partial spectra, in order, into the first one. */
static void sum_blocks(Rows *r, int row, Part part) {
    const EmitterOps *o = r->e->ops;
    const Kernel *k = r->k;
    int lanes = r->pairs->plan.lanes;
    int64_t blocks = (k->sharing + k->rows_per_block - 1) / k->rows_per_block;
    Em sum = o->variable(r->e, r->pairs->type, lanes);
    EmLoop loop = spectrum_loop(r);
    o->set(r->e, sum, o->splat(r->e, constant(r, 0), lanes));
    EmLoop each = o->loop_begin(r->e, r->block, index_op(r, INDEX_ADD, r->block, index_of(r, blocks)), 1);
    Em value = load_shared(r, rows_partial_spectrum(r, each.index, row, part), loop.index);
    o->set(r->e, sum, arith(r, OP_add, o->get(r->e, sum, r->pairs->type, lanes), value));
    o->loop_end(r->e, &each);
    store_shared(r, rows_partial_spectrum(r, r->block, row, part), loop.index,
                 o->get(r->e, sum, r->pairs->type, lanes));
    o->loop_end(r->e, &loop);
}

/* For each bin of the half spectrum: its position, its mirror's, and half its weight in cross_spectrum. */
static bool bin_tables(Rows *r, Em *position, Em *mirror, Em *weight) {
    const PairPlan *plan = &r->pairs->plan;
    int64_t n = plan->n, count = n / 2 + 1;
    int64_t *bins = mem_alloc((size_t)plan->positions * sizeof *bins);
    double *values = mem_alloc((size_t)(n + 2 * count) * sizeof *values), *at = values, *to = at + n,
           *weights = to + count;
    bool ok = bins && values;
    if (ok) pair_fft_order(plan, bins);
    for (int64_t i = 0; ok && i < plan->positions; i++)
        if (bins[i] >= 0) at[bins[i]] = (double)i;
    for (int64_t k = 0; ok && k < count; k++) {
        to[k] = at[(n - k) % n];
        weights[k] = (2 * k % n == 0 ? 0.5 : 1) / (double)n;
    }
    if (ok) {
        *position = r->e->ops->table(r->e, FRAX_I32, at, count);
        *mirror = r->e->ops->table(r->e, FRAX_I32, to, count);
        *weight = r->e->ops->table(r->e, plan->dtype, weights, count);
    }
    mem_free(bins);
    mem_free(values);
    return ok;
}

static Em load_position(Rows *r, Em table, Em at) {
    const EmitterOps *o = r->e->ops;
    return o->convert(r->e, o->load(r->e, table, FRAX_I32, at, 1, 1, (Em){0}), EM_INDEX);
}

bool pairs_finish_spectra(Rows *r) {
    const EmitterOps *o = r->e->ops;
    FraxDType dtype = r->pairs->plan.dtype;
    Em position, mirror, weight, none = {0};
    if (!bin_tables(r, &position, &mirror, &weight)) return false;
    for (int row = 0; row < (int)r->k->nrows; row++)
        for (int part = 0; part < 2 && !is_filter(r, row); part++) {
            const Store *store = rows_spectrum_store(r, row, (Part)part);
            if (!store) continue;
            sum_blocks(r, row, (Part)part);
            Em sums = rows_partial_spectrum(r, r->block, row, (Part)part);
            EmLoop loop = o->loop_begin(r->e, index_of(r, 0), index_of(r, r->pairs->plan.n / 2 + 1), 1);
            Em a = o->load(r->e, sums, dtype, load_position(r, position, loop.index), 1, 1, none);
            Em b = o->load(r->e, sums, dtype, load_position(r, mirror, loop.index), 1, 1, none);
            Em value = arith(r, part == PART_RE ? OP_add : OP_sub, a, b);
            value = arith(r, OP_mul, value, o->load(r->e, weight, dtype, loop.index, 1, 1, none));
            Em at = index_op(r, INDEX_MUL, loop.index, index_of(r, store->stride[0]));
            at = index_op(r, INDEX_ADD, rows_affine(r, &store->at), at);
            o->store(r->e, rows_base(r, store->node), dtype, at, 1, value, none);
            o->loop_end(r->e, &loop);
        }
    return true;
}

/* ---- Passes ---- */

static void set_place(Rows *r, Em at, Em mask) {
    r->loops[r->k->nouter] = at;
    r->mask = mask;
}

/* The pass at one vector of both rows. Their values come before any store, which may overwrite operands. */
static void run_body(Rows *r) {
    for (int h = 0; h < 2; h++) {
        select_half(r, h);
        rows_element_values(r, h);
    }
    for (int h = 0; h < 2; h++) {
        select_half(r, h);
        rows_element_stores(r);
    }
}

static void forget_elements(Rows *r) {
    for (int h = 0; h < 2; h++) {
        select_half(r, h);
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

/* The pass by itself: by tiles while these are full, by vectors, and by the rest of a vector. */
static void run_pass_alone(Rows *r) {
    const EmitterOps *o = r->e->ops;
    const Pairs *p = r->pairs;
    int64_t lanes = p->plan.lanes, tile = p->tile ? r->lanes : p->length + 1;
    int64_t tiled = p->length / tile * tile, whole = p->length / lanes * lanes;
    if (tiled) {
        EmLoop loop = o->loop_begin(r->e, index_of(r, 0), index_of(r, tiled), tile);
        run_tile(r, loop.index);
        o->loop_end(r->e, &loop);
    }
    EmLoop loop = o->loop_begin(r->e, index_of(r, tiled), index_of(r, whole), lanes);
    run_vector(r, loop.index, (Em){0});
    o->loop_end(r->e, &loop);
    if (whole == p->length) return;
    Em lane = o->index_lanes(r->e, index_of(r, 0), 1, r->lanes);
    run_vector(r, index_of(r, whole), o->index_less(r->e, lane, index_of(r, p->length - whole)));
    r->mask = (Em){0};
}

/* ---- Judging a pair ---- */

Em pairs_input(Rows *r, int row, int input, Em value) {
    const EmitterOps *o = r->e->ops;
    Em sum = slot_of(r, row, input)->energy[r->half];
    value = o->splat(r->e, value, r->lanes);
    if (r->mask.ref) value = o->select(r->e, r->mask, value, constant(r, 0));
    o->set(r->e, sum, o->fma(r->e, value, value, o->get(r->e, sum, r->pairs->type, r->lanes)));
    return value;
}

static void make_weights(Rows *r) {
    for (int i = 0; i < r->pairs->nslots; i++)
        for (int h = 0; h < 2; h++)
            r->pairs->slots[i].energy[h] = r->e->ops->variable(r->e, r->pairs->type, r->lanes);
}

static void clear_weights(Rows *r) {
    for (int i = 0; i < r->pairs->nslots; i++) {
        r->pairs->slots[i].transformed = false;
        for (int h = 0; h < 2; h++) r->e->ops->set(r->e, r->pairs->slots[i].energy[h], splat(r, 0));
    }
}

/* Energies of the same order, neither overflown nor lost; NaN fails every comparison. Of pairs side by side
   all have to be well matched. */
static Em well_matched(Rows *r, const Slot *slot) {
    const EmitterOps *o = r->e->ops;
    const Pairs *p = r->pairs;
    bool wide = p->plan.wide > 1;
    Em energy[2], least = constant(r, p->type == EM_F64 ? 0x1p-900 : 0x1p-100);
    for (int h = 0; h < 2; h++) {
        energy[h] = o->get(r->e, slot->energy[h], p->type, r->lanes);
        if (!wide) energy[h] = o->reduce(r->e, OP_sum, energy[h]);
    }
    Em good = arith(r, OP_and, arith(r, OP_gt, energy[0], least), arith(r, OP_gt, energy[1], least));
    for (int h = 0; h < 2; h++) {
        Em most = arith(r, OP_mul, energy[1 - h], constant(r, RATIO));
        good = arith(r, OP_and, good, arith(r, OP_lt, energy[h], most));
    }
    if (wide && p->exists[1].ref) /* without a partner there is nothing to match */
        good = arith(r, OP_or, good, arith(r, OP_eq, p->exists[1], o->constant(r->e, EM_BOOL, 0)));
    if (wide) good = o->reduce(r->e, OP_and, good);
    return arith(r, OP_or, good, p->alone);
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
        select_half(r, h);
        *parts[h] = pairs_input(r, slot->row, slot->input, rows_value(r, slot->item));
    }
    forget_elements(r);
    r->mask = (Em){0};
    r->pass = pass;
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
    select_half(r, r->half);
}

static void hook_bins(void *context, Em at, Em *re, Em *im) {
    Rows *r = context;
    const Step *step = &r->pairs->step;
    if (step->stage == 1) prefetch_ahead(r, at);
    if (!step->slot) { /* its spectrum was kept */
        const Slot *slot = slot_of(r, step->filter, 0);
        *re = load_plane(r, plane_at(r, slot->planes, 0), at);
        *im = load_plane(r, plane_at(r, slot->planes, 1), at);
    }
    if (step->sums) add_crosses(r, at, *re, *im);
    if (step->filter >= 0) multiply(r, step->filter, at, re, im);
}

/* Elements of the filtered pair: kept if another pass looks at them, given to this one if it runs here. */
static void hook_store(void *context, Em at, Em mask, Em re, Em im) {
    Rows *r = context;
    Pairs *p = r->pairs;
    int row = p->step.filter;
    bool later = r->row_read[row] >> p->step.stage >> 1;
    Em parts[2] = {re, im};
    for (int h = 0; h < 2 && (later || !p->step.has_body); h++)
        store_plane(r, plane_at(r, p->planes[row], h), at, parts[h]);
    if (!p->step.has_body) return;
    for (int h = 0; h < 2; h++) p->now[row][h] = parts[h];
    set_place(r, at, mask);
    forget_elements(r);
    run_body(r);
    forget_elements(r);
    r->mask = (Em){0};
    for (int h = 0; h < 2; h++) p->now[row][h] = (Em){0};
}

static bool run_step(Rows *r, Step step) {
    Pairs *p = r->pairs;
    int64_t planes = step.slot ? step.slot->planes : p->planes[step.filter];
    bool reads = step.slot && step.slot->reads;
    PairKind kind = !step.slot ? PAIR_INVERSE : step.filter >= 0 ? PAIR_FILTER : PAIR_FORWARD;
    PairIo io = {.re = plane_at(r, planes, 0),
                 .im = plane_at(r, planes, 1),
                 .length = p->length,
                 .context = r,
                 .load = reads ? hook_load : NULL,
                 .store = step.filter >= 0 ? hook_store : NULL,
                 .loaded = step.slot ? hook_loaded : NULL,
                 .bins = hook_bins};
    p->step = step;
    bool ok = emit_pair_transform(r->e, &p->plan, kind, &io);
    if (step.slot) step.slot->transformed = true;
    if (reads) p->first_pass_done = true;
    return ok;
}

/* The spectra that operations of this stage want and that are not there, in the order in which they are made;
   last the one that its filter can go on from. */
static int missing_slots(Rows *r, int stage, Slot **slots) {
    int n = 0;
    for (int row = 0; row < (int)r->k->nrows; row++)
        for (int i = 0; i < r->k->rows[row].ninputs && r->k->rows[row].stage == stage; i++) {
            Slot *slot = slot_of(r, row, i);
            bool listed = slot->transformed;
            for (int s = 0; s < n; s++) listed |= slots[s] == slot;
            if (!listed) slots[n++] = slot;
        }
    for (int row = 0; row < (int)r->k->nrows; row++) {
        if (r->k->rows[row].stage != stage || !is_filter(r, row) || !filters_in_place(r, row)) continue;
        for (int s = 0; s < n - 1; s++) {
            if (slots[s] != slot_of(r, row, 0)) continue;
            slots[s] = slots[n - 1];
            slots[n - 1] = slot_of(r, row, 0);
        }
    }
    return n;
}

static bool has_cross(const Rows *r, int stage) {
    for (int row = 0; row < (int)r->k->nrows; row++)
        if (r->k->rows[row].stage == stage && !is_filter(r, row)) return true;
    return false;
}

/* Spectra that were all made before. */
static void add_kept_spectra(Rows *r, int stage) {
    r->pairs->step = (Step){.stage = stage, .filter = -1};
    EmLoop loop = spectrum_loop(r);
    add_crosses(r, loop.index, (Em){0}, (Em){0});
    r->e->ops->loop_end(r->e, &loop);
}

/* Transforms of a stage, filters and sums. *has_body: the pass after them ran within. */
static bool run_stage(Rows *r, int stage, bool *has_body) {
    Slot *slots[2 * MAX_ROW_OPS];
    int n = missing_slots(r, stage, slots), filters[MAX_ROW_OPS], nfilters = 0, direct = -1;
    bool ok = true, sums = has_cross(r, stage);
    for (int row = 0; row < (int)r->k->nrows; row++) {
        if (r->k->rows[row].stage != stage || !is_filter(r, row)) continue;
        if (n && filters_in_place(r, row) && slot_of(r, row, 0) == slots[n - 1])
            direct = row;
        else
            filters[nfilters++] = row;
    }
    *has_body = (nfilters || direct >= 0) && r->pairs->plan.wide == 1;
    for (int s = 0; s < n && ok; s++) {
        bool last = s == n - 1;
        Step step = {stage, slots[s], last ? direct : -1, last && sums, last && *has_body && !nfilters};
        ok = run_step(r, step);
    }
    if (sums && !n) add_kept_spectra(r, stage);
    for (int i = 0; i < nfilters && ok; i++)
        ok = run_step(r, (Step){stage, NULL, filters[i], false, *has_body && i == nfilters - 1});
    return ok;
}

/* ---- A pair ---- */

static void for_halves(Rows *r, void (*run)(Rows *)) {
    for (int h = 0; h < 2; h++) {
        select_half(r, h);
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
        if (r->pass > 0) ok = run_stage(r, r->pass, &has_body);
        if (!has_body && rows_pass_has_elements(r)) run_pass_alone(r);
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
    p->alone = arith(r, OP_eq, row, partner);
    p->weight = o->select(r->e, p->alone, constant(r, 0.5), constant(r, 1));
    for (int h = 0; h < 4; h++) {
        rows_decode(r, h < 2 ? rows[h] : index_op(r, INDEX_ADD, rows[h - 2], index_of(r, 2)));
        for (int l = 0; l < r->k->nouter; l++) p->loops[h][l] = r->loops[l];
    }
    for_halves(r, forget_all);
    p->first_pass_done = !p->first_pass_waits;
    p->nopen = 0;
    clear_weights(r);
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
    Em again = arith(r, OP_ne, o->select(r->e, finished, partner, index_of(r, -1)), last);
    o->repeat_end(r->e, repeat, again);
    return ok;
}

void pairs_start(Rows *r) {
    const EmitterOps *o = r->e->ops;
    Pairs *p = r->pairs;
    Em *const indices[] = {&p->row, &p->partner, &p->loaded};
    for (size_t i = 0; i < COUNT(indices); i++) *indices[i] = o->variable(r->e, EM_INDEX, 1);
    p->finished = o->variable(r->e, EM_BOOL, 1);
    o->set(r->e, p->loaded, index_of(r, -1));
    r->unroll = 1;
    make_weights(r);
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
    if (!load_filters(r, first)) return false;
    if (r->k->nsummed) clear_sums(r);
    bool ok = r->pairs->plan.wide > 1 ? run_wide_pairs(r, first, end) : run_single_pairs(r, first, end);
    r->mask = (Em){0};
    return ok;
}
