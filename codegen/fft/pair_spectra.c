/* pair_spectra.c — filters in the order of the bins that a pair's transform has, and sums of cross spectra in
 * that order. Part of the template for rows in pairs; see pairs.c.
 *
 * An image's spectrum has the order of its columns' transform from line to line, and that of its lines'
 * within each.
 */
#include "pairs.h"

static Em index_of(Rows *r, int64_t value) {
    return r->e->ops->index(r->e, value);
}

static Em index_op(Rows *r, IndexOp op, Em a, Em b) {
    return r->e->ops->index_op(r->e, op, a, b);
}

/* ---- Linear access: a filter or sums, all of it, whatever a place is ---- */

static bool is_image(const Rows *r) {
    return r->pairs->lines > 1;
}

/* Lanes of a vector of what all pairs have in common. */
static int shared_lanes(const Rows *r) {
    return r->pairs->plan.lanes;
}

static Em load_linear(Rows *r, Em base, Em at, int lanes) {
    return r->e->ops->load(r->e, base, r->pairs->plan.dtype, at, 1, lanes, (Em){0});
}

static void store_linear(Rows *r, Em base, Em at, Em value) {
    r->e->ops->store(r->e, base, r->pairs->plan.dtype, at, 1, value, (Em){0});
}

/* At a place of the transform: one number for all pairs side by side; a vector along columns of an image. */
static Em load_shared(Rows *r, Em base, Em at) {
    return is_image(r) ? pairs_load(r, base, at) : load_linear(r, base, at, shared_lanes(r));
}

static void store_shared(Rows *r, Em base, Em at, Em value) {
    if (is_image(r))
        pairs_store(r, base, at, value);
    else
        store_linear(r, base, at, value);
}

/* Entries at, at + 1, … of a table of places, those that the mask lets through. */
static Em load_indices(Rows *r, Em table, Em at, int lanes, Em mask) {
    const EmitterOps *o = r->e->ops;
    return o->convert(r->e, o->load(r->e, table, FRAX_I32, at, 1, lanes, mask), EM_INDEX);
}

static Em load_index(Rows *r, Em table, Em at) {
    return load_indices(r, table, at, 1, (Em){0});
}

static Em gather(Rows *r, Em base, Em places) {
    return r->e->ops->gather(r->e, base, r->pairs->plan.dtype, places);
}

static double total_points(const Rows *r) {
    return (double)(r->pairs->plan.n * r->pairs->lines);
}

/* ---- Orders ---- */

/* Tables of one axis. By position: the bin there, and the opposite one; for the last axis, which has half of
   the bins, the one of them that is there in its own right or as its mirror's, and what the parts of K are
   multiplied by: at the ends of the axis only the real part counts, and where no bin lies neither. By bin:
   its position, its opposite's, and half its weight in cross_spectrum. */
typedef struct Order {
    Em bin, opposite, half_bin, re, im;
    Em position, opposite_position, weight;
} Order;

static Em index_table(Rows *r, const int64_t *values, double *scratch, int64_t count) {
    for (int64_t i = 0; i < count; i++) scratch[i] = (double)MAX(values[i], 0);
    return r->e->ops->table(r->e, FRAX_I32, scratch, count);
}

static void factor_tables(Rows *r, const PairPlan *plan, const int64_t *bins, double *scratch, Order *order) {
    double scale = 1 / total_points(r), *im = scratch + plan->positions;
    for (int64_t i = 0; i < plan->positions; i++) {
        int64_t k = bins[i];
        scratch[i] = k < 0 ? 0 : scale;
        im[i] = k < 0 || 2 * k % plan->n == 0 ? 0 : 2 * k < plan->n ? scale : -scale;
    }
    order->re = r->e->ops->table(r->e, plan->dtype, scratch, plan->positions);
    order->im = r->e->ops->table(r->e, plan->dtype, im, plan->positions);
    for (int64_t k = 0; k < plan->n; k++) scratch[k] = (2 * k % plan->n ? 1 : 0.5) * scale;
    order->weight = r->e->ops->table(r->e, plan->dtype, scratch, plan->n / 2 + 1);
}

static bool make_order(Rows *r, const PairPlan *plan, Order *order) {
    int64_t count = plan->positions, n = plan->n;
    int64_t *bins = mem_alloc((size_t)(3 * count + 2 * n) * sizeof *bins), *opposite = bins + count;
    double *scratch = mem_alloc((size_t)(2 * count) * sizeof *scratch);
    bool ok = bins && scratch;
    if (ok) {
        int64_t *half = opposite + count, *position = half + count, *opposite_position = position + n;
        pair_fft_order(plan, bins);
        for (int64_t i = 0; i < count; i++) {
            opposite[i] = bins[i] > 0 ? n - bins[i] : bins[i];
            half[i] = MIN(bins[i], opposite[i]);
            if (bins[i] >= 0) position[bins[i]] = i;
        }
        for (int64_t k = 0; k < n; k++) opposite_position[k] = position[(n - k) % n];
        order->bin = index_table(r, bins, scratch, count);
        order->opposite = index_table(r, opposite, scratch, count);
        order->half_bin = index_table(r, half, scratch, count);
        order->position = index_table(r, position, scratch, n);
        order->opposite_position = index_table(r, opposite_position, scratch, n);
        factor_tables(r, plan, bins, scratch, order);
    }
    mem_free(bins);
    mem_free(scratch);
    return ok;
}

/* ---- K ---- */

static Em filter_plane(Rows *r, const Filter *filter, int part) {
    const Pairs *p = r->pairs;
    if (!p->place) return pairs_plane(r, filter->planes, part);
    return r->e->ops->pointer(r->e, p->filter_base, index_of(r, filter->planes + part * r->apart));
}

/* K's part at a bin of the half spectrum; `line`: that of the first axis, if there are two. */
static Em table_element(Rows *r, const Table *table, Em line, Em bin) {
    if (table->is_constant) return pairs_constant(r, table->constant);
    Em at = index_op(r, INDEX_MUL, bin, index_of(r, table->stride[is_image(r)]));
    if (is_image(r))
        at = index_op(r, INDEX_ADD, at, index_op(r, INDEX_MUL, line, index_of(r, table->stride[0])));
    at = index_op(r, INDEX_ADD, rows_affine(r, &table->at), at);
    return gather(r, rows_base(r, table->node), at);
}

/* Infinite parts of K that do not count must not become NaN. */
static Em scaled_part(Rows *r, Em part, Em factor) {
    Em counts = pairs_arith(r, OP_ne, factor, pairs_constant(r, 0));
    return r->e->ops->select(r->e, counts, pairs_arith(r, OP_mul, part, factor), pairs_constant(r, 0));
}

/* A vector of a line of the filter's planes; lines[1] is opposite to lines[0], which starts at element
 * `start`.
 */
static void fill_vector(Rows *r, const Filter *filter, const Order *order, const Em lines[2], Em start,
                        Em at) {
    const EmitterOps *o = r->e->ops;
    int lanes = shared_lanes(r);
    Em bin = load_indices(r, order->half_bin, at, lanes, (Em){0}), line = lines[0];
    Em factor[2] = {load_linear(r, order->re, at, lanes), load_linear(r, order->im, at, lanes)};
    if (is_image(r)) /* the conjugate of K at the opposite bin */
        line = o->select(r->e, pairs_arith(r, OP_lt, factor[1], pairs_constant(r, 0)), lines[1], line);
    for (int part = 0; part < 2; part++) {
        Em k = scaled_part(r, table_element(r, &filter->op->tables[part], line, bin), factor[part]);
        store_linear(r, filter_plane(r, filter, part), index_op(r, INDEX_ADD, start, at), k);
    }
}

static void fill_line(Rows *r, const Filter *filter, const Order *order, const Em lines[2], Em start) {
    const EmitterOps *o = r->e->ops;
    EmLoop loop = o->loop_begin(r->e, index_of(r, 0), index_of(r, r->pairs->plan.positions), shared_lanes(r));
    fill_vector(r, filter, order, lines, start, loop.index);
    o->loop_end(r->e, &loop);
}

/* At the ends of an image's last axis what counts of K is the part that maps real to real: the mean of K and
   of its conjugate at the opposite bin. */
static void fill_end(Rows *r, const Filter *filter, Em line, Em opposite, int64_t bin, Em at) {
    const EmitterOps *o = r->e->ops;
    Em half = pairs_constant(r, 0.5 / total_points(r)), alone = pairs_arith(r, OP_eq, line, opposite);
    for (int part = 0; part < 2; part++) {
        Em k = table_element(r, &filter->op->tables[part], line, index_of(r, bin));
        Em other = table_element(r, &filter->op->tables[part], opposite, index_of(r, bin));
        k = pairs_arith(r, OP_mul, pairs_arith(r, part ? OP_sub : OP_add, k, other), half);
        if (part) k = o->select(r->e, alone, pairs_constant(r, 0), k);
        store_linear(r, filter_plane(r, filter, part), at, k);
    }
}

static void load_filter(Rows *r, const Filter *filter, const Order orders[2]) {
    const EmitterOps *o = r->e->ops;
    const Pairs *p = r->pairs;
    if (!is_image(r)) {
        fill_line(r, filter, &orders[1], (Em[2]){0}, index_of(r, 0));
        return;
    }
    EmLoop loop = o->loop_begin(r->e, index_of(r, 0), index_of(r, p->lines), 1);
    Em start = index_op(r, INDEX_MUL, loop.index, index_of(r, p->plan.n));
    Em line = load_index(r, orders[0].bin, loop.index),
       opposite = load_index(r, orders[0].opposite, loop.index);
    fill_line(r, filter, &orders[1], (Em[]){line, opposite}, start);
    for (int64_t bin = 0; 2 * bin <= p->plan.n; bin += p->plan.n % 2 ? p->plan.n : p->plan.n / 2) {
        Em at = load_index(r, orders[1].position, index_of(r, bin));
        fill_end(r, filter, line, opposite, bin, index_op(r, INDEX_ADD, start, at));
    }
    o->loop_end(r->e, &loop);
}

static bool make_orders(Rows *r, Order orders[2]) {
    return (!is_image(r) || make_order(r, &r->pairs->column, &orders[0])) &&
           make_order(r, &r->pairs->plan, &orders[1]);
}

bool pairs_fill_filters(Rows *r, Em row) {
    Order orders[2];
    if (!make_orders(r, orders)) return false;
    rows_decode(r, row);
    for (int i = 0; i < r->pairs->nfilters; i++) load_filter(r, &r->pairs->filters[i], orders);
    return true;
}

static int64_t filter_vectors(const Rows *r) {
    return r->pairs->plan.positions / shared_lanes(r);
}

int64_t pairs_fill_blocks(const Rows *r) {
    return kernel_outer_size(r->k) / r->k->sharing * filter_vectors(r);
}

bool pairs_fill_groups(Rows *r) {
    const EmitterOps *o = r->e->ops;
    Order orders[2];
    if (!make_orders(r, orders)) return false;
    EmLoop loop = o->loop_begin(r->e, r->params[2], r->params[3], 1);
    Em vectors = index_of(r, filter_vectors(r)), group = index_op(r, INDEX_DIV, loop.index, vectors);
    Em at = index_op(r, INDEX_MUL, index_op(r, INDEX_REM, loop.index, vectors), index_of(r, shared_lanes(r)));
    pairs_find_filters(r, group);
    rows_decode(r, index_op(r, INDEX_MUL, group, index_of(r, r->k->sharing)));
    for (int i = 0; i < r->pairs->nfilters; i++)
        fill_vector(r, &r->pairs->filters[i], &orders[1], (Em[2]){0}, index_of(r, 0), at);
    o->loop_end(r->e, &loop);
    return true;
}

bool pairs_load_filters(Rows *r, Em row) {
    const EmitterOps *o = r->e->ops;
    Pairs *p = r->pairs;
    if (!p->nfilters || p->place == FILTERS_STATIC) return true;
    Em group = index_op(r, INDEX_DIV, row, index_of(r, r->k->sharing));
    if (p->place == FILTERS_IN_WORKSPACE) {
        pairs_find_filters(r, group);
        return true;
    }
    EmIf missing = o->if_begin(r->e, pairs_arith(r, OP_ne, o->get(r->e, p->loaded, EM_INDEX, 1), group));
    bool ok = pairs_fill_filters(r, row);
    o->set(r->e, p->loaded, group);
    o->if_end(r->e, &missing);
    return ok;
}

static bool is_zero(const Table *table) {
    return table->is_constant && table->constant == 0;
}

void pairs_multiply(Rows *r, int row, Em at, Em *re, Em *im) {
    const RowOp *op = &r->k->rows[row];
    const Filter *filter = &r->pairs->filters[r->pairs->filter_of[row]];
    Em kr = load_shared(r, filter_plane(r, filter, 0), at), x = *re, y = *im;
    if (op->tables[0].negated) kr = pairs_arith(r, OP_sub, pairs_constant(r, -0.0), kr);
    *re = pairs_arith(r, OP_mul, x, kr);
    *im = pairs_arith(r, OP_mul, y, kr);
    if (is_zero(&op->tables[1])) return;
    Em ki = load_shared(r, filter_plane(r, filter, 1), at);
    bool negated = op->tables[1].negated;
    *re = pairs_arith(r, negated ? OP_add : OP_sub, *re, pairs_arith(r, OP_mul, y, ki));
    *im = pairs_arith(r, negated ? OP_sub : OP_add, *im, pairs_arith(r, OP_mul, x, ki));
}

/* ---- Cross spectra ---- */

/* conj X · Y of both rows together: what belongs to a bin is the mean of what lies at its position and of the
   conjugate at its mirror's (pairs_finish_spectra). */
static void add_cross(Rows *r, int row, Em at, Em re, Em im) {
    Em z[2][2], part[2];
    for (int n = 0; n < 2; n++) {
        Slot *slot = pairs_slot(r, row, n);
        bool here = slot == r->pairs->step.slot;
        z[n][0] = here ? re : pairs_load(r, pairs_plane(r, pairs_slot_planes(r, slot), 0), at);
        z[n][1] = here ? im : pairs_load(r, pairs_plane(r, pairs_slot_planes(r, slot), 1), at);
    }
    for (int i = 0; i < 2; i++) z[0][i] = pairs_arith(r, OP_mul, z[0][i], r->pairs->weight);
    part[0] = pairs_arith(r, OP_add, pairs_arith(r, OP_mul, z[0][0], z[1][0]),
                          pairs_arith(r, OP_mul, z[0][1], z[1][1]));
    part[1] = pairs_arith(r, OP_sub, pairs_arith(r, OP_mul, z[0][0], z[1][1]),
                          pairs_arith(r, OP_mul, z[0][1], z[1][0]));
    for (int i = 0; i < 2; i++) {
        if (!rows_spectrum_store(r, row, (Part)i)) continue;
        Em base = rows_partial_spectrum(r, r->block, row, (Part)i);
        if (r->pairs->plan.wide > 1) part[i] = r->e->ops->reduce(r->e, OP_sum, part[i]);
        store_shared(r, base, at, pairs_arith(r, OP_add, load_shared(r, base, at), part[i]));
    }
}

void pairs_add_crosses(Rows *r, Em at, Em re, Em im) {
    for (int row = 0; row < (int)r->k->nrows; row++)
        if (r->k->rows[row].stage == r->pairs->step.stage && !pairs_is_filter(r, row))
            add_cross(r, row, at, re, im);
}

static EmLoop spectrum_loop(Rows *r) {
    const PairPlan *plan = &r->pairs->plan;
    return r->e->ops->loop_begin(r->e, index_of(r, 0), index_of(r, pairs_spectrum_elements(r)), plan->lanes);
}

void pairs_clear_sums(Rows *r) {
    Em zero = r->e->ops->splat(r->e, pairs_constant(r, 0), shared_lanes(r));
    EmLoop loop = spectrum_loop(r);
    for (int row = 0; row < (int)r->k->nrows; row++)
        for (int i = 0; i < 2 && !pairs_is_filter(r, row); i++)
            if (rows_spectrum_store(r, row, (Part)i))
                store_linear(r, rows_partial_spectrum(r, r->block, row, (Part)i), loop.index, zero);
    r->e->ops->loop_end(r->e, &loop);
}

/* Every step-th of the partial spectra [first, end), summed in order into the first one: the vector at `at`.
 */
static void sum_partials(Rows *r, int row, Part part, Em at, Em first, Em end, int64_t step) {
    const EmitterOps *o = r->e->ops;
    int lanes = shared_lanes(r);
    Em sum = o->variable(r->e, r->pairs->type, lanes);
    o->set(r->e, sum, o->splat(r->e, pairs_constant(r, 0), lanes));
    EmLoop each = o->loop_begin(r->e, first, end, step);
    Em value = load_linear(r, rows_partial_spectrum(r, each.index, row, part), at, lanes);
    o->set(r->e, sum, pairs_arith(r, OP_add, o->get(r->e, sum, r->pairs->type, lanes), value));
    o->loop_end(r->e, &each);
    store_linear(r, rows_partial_spectrum(r, first, row, part), at, o->get(r->e, sum, r->pairs->type, lanes));
}

/* Blocks of one kept index. */
static int64_t kept_blocks(const Rows *r) {
    return (r->k->sharing + r->k->rows_per_block - 1) / r->k->rows_per_block;
}

static void sum_blocks(Rows *r, int row, Part part) {
    EmLoop loop = spectrum_loop(r);
    Em end = index_op(r, INDEX_ADD, r->block, index_of(r, kept_blocks(r)));
    sum_partials(r, row, part, loop.index, r->block, end, 1);
    r->e->ops->loop_end(r->e, &loop);
}

/* ---- The same by many teams of a GPU: groups of GROUP partial spectra first, then the groups ---- */

enum { GROUP = 16 };

/* A block is one vector of one group: function frax_kN_sum`level`. */
static void sum_function(Rows *r, int level, int64_t groups, int64_t step, int64_t *blocks) {
    const EmitterOps *o = r->e->ops;
    int64_t vectors = pairs_spectrum_elements(r) / shared_lanes(r), own = kept_blocks(r);
    char name[40];
    snprintf(name, sizeof name, "frax_k%d_sum%d", r->k->id, level);
    o->function_begin(r->e, name, KERNEL_PARAMS, r->params);
    EmLoop loop = o->loop_begin(r->e, r->params[2], r->params[3], 1);
    Em at = index_op(r, INDEX_MUL, index_op(r, INDEX_REM, loop.index, index_of(r, vectors)),
                     index_of(r, shared_lanes(r)));
    Em group = index_op(r, INDEX_DIV, loop.index, index_of(r, vectors));
    Em base = index_op(r, INDEX_MUL, index_op(r, INDEX_DIV, group, index_of(r, groups)), index_of(r, own));
    Em first = index_op(r, INDEX_MUL, index_op(r, INDEX_REM, group, index_of(r, groups)), index_of(r, GROUP));
    Em end = groups > 1
                 ? index_op(r, INDEX_MIN, index_op(r, INDEX_ADD, first, index_of(r, GROUP)), index_of(r, own))
                 : index_of(r, own);
    first = index_op(r, INDEX_ADD, base, first);
    end = index_op(r, INDEX_ADD, base, end);
    for (int row = 0; row < (int)r->k->nrows; row++)
        for (int part = 0; part < 2 && !pairs_is_filter(r, row); part++)
            if (rows_spectrum_store(r, row, (Part)part))
                sum_partials(r, row, (Part)part, at, first, end, step);
    o->loop_end(r->e, &loop);
    o->function_end(r->e);
    *blocks = kernel_finish_blocks(r->k) * groups * vectors;
}

void pairs_sum_functions(Rows *r) {
    int64_t *sums = r->program->kernels[r->k->id].sums;
    if (!r->pairs || !r->graph->gpu || !r->k->nsummed) return;
    int64_t groups = (kept_blocks(r) + GROUP - 1) / GROUP;
    if (groups > 1) sum_function(r, 0, groups, 1, &sums[0]);
    sum_function(r, 1, 1, groups > 1 ? GROUP : 1, &sums[1]);
}

/* Vector by vector, with no transform whose place they would be at. */
void pairs_add_kept_crosses(Rows *r) {
    const PairPlan *plan = &r->pairs->plan;
    if (!is_image(r)) {
        EmLoop loop = spectrum_loop(r);
        pairs_add_crosses(r, loop.index, (Em){0}, (Em){0});
        r->e->ops->loop_end(r->e, &loop);
        return;
    }
    EmLoop lines = r->e->ops->loop_begin(r->e, index_of(r, 0), index_of(r, r->pairs->lines), 1);
    EmLoop loop = r->e->ops->loop_begin(r->e, index_of(r, 0), index_of(r, plan->n), plan->lanes);
    r->pairs->line = lines.index;
    pairs_add_crosses(r, loop.index, (Em){0}, (Em){0});
    r->e->ops->loop_end(r->e, &loop);
    r->e->ops->loop_end(r->e, &lines);
}

/* What the sums say of bins: both rows' part of one lies at its position and, conjugate, at its opposite's.
 */
static void finish_bins(Rows *r, int row, Part part, const Em at[2], Em weight, Em to, Em mask) {
    const Store *store = rows_spectrum_store(r, row, part);
    Em sums = rows_partial_spectrum(r, r->block, row, part);
    Em a = gather(r, sums, at[0]), b = gather(r, sums, at[1]);
    Em value = pairs_arith(r, OP_mul, pairs_arith(r, part == PART_RE ? OP_add : OP_sub, a, b), weight);
    r->e->ops->store(r->e, rows_base(r, store->node), r->pairs->plan.dtype,
                     index_op(r, INDEX_ADD, rows_affine(r, &store->at), to), store->stride[is_image(r)],
                     value, mask);
}

/* Bins of the last axis; of an image those of one line, whose elements start at starts[0], and at starts[1]
   for the opposite one. Lanes behind the last bin look at position 0. */
static void finish_line(Rows *r, int row, Part part, const Order *order, const Em *starts, Em to) {
    const EmitterOps *o = r->e->ops;
    const Store *store = rows_spectrum_store(r, row, part);
    int lanes = shared_lanes(r);
    int64_t count = r->pairs->plan.n / 2 + 1;
    EmLoop loop = o->loop_begin(r->e, index_of(r, 0), index_of(r, count), lanes);
    Em mask = count % lanes
                  ? o->index_less(r->e, o->index_lanes(r->e, loop.index, 1, lanes), index_of(r, count))
                  : (Em){0};
    Em at[2] = {load_indices(r, order->position, loop.index, lanes, mask),
                load_indices(r, order->opposite_position, loop.index, lanes, mask)};
    Em place = index_op(r, INDEX_MUL, loop.index, index_of(r, store->stride[is_image(r)]));
    for (int i = 0; i < 2 && starts; i++) at[i] = index_op(r, INDEX_ADD, at[i], starts[i]);
    if (starts) place = index_op(r, INDEX_ADD, place, to);
    Em weight = o->load(r->e, order->weight, r->pairs->plan.dtype, loop.index, 1, lanes, mask);
    finish_bins(r, row, part, at, weight, place, mask);
    o->loop_end(r->e, &loop);
}

static void finish_spectrum(Rows *r, int row, Part part, const Order orders[2]) {
    const EmitterOps *o = r->e->ops;
    const Store *store = rows_spectrum_store(r, row, part);
    Em width = index_of(r, r->pairs->plan.n);
    if (!r->graph->gpu) sum_blocks(r, row, part);
    if (!is_image(r)) {
        finish_line(r, row, part, &orders[1], NULL, (Em){0});
        return;
    }
    EmLoop loop = o->loop_begin(r->e, index_of(r, 0), index_of(r, r->pairs->lines), 1);
    Em starts[2] = {index_op(r, INDEX_MUL, load_index(r, orders[0].position, loop.index), width),
                    index_op(r, INDEX_MUL, load_index(r, orders[0].opposite_position, loop.index), width)};
    finish_line(r, row, part, &orders[1], starts,
                index_op(r, INDEX_MUL, loop.index, index_of(r, store->stride[0])));
    o->loop_end(r->e, &loop);
}

bool pairs_finish_spectra(Rows *r) {
    Order orders[2];
    if (!make_orders(r, orders)) return false;
    for (int row = 0; row < (int)r->k->nrows; row++)
        for (int part = 0; part < 2 && !pairs_is_filter(r, row); part++)
            if (rows_spectrum_store(r, row, (Part)part)) finish_spectrum(r, row, (Part)part, orders);
    return true;
}
