/* recurrence.c — sums of exponentials: exponential_conv and exponential_correlation on a piece of a streamed
 * row.
 *
 *     s_0[t] = r s_0[t−1] + x_t,  s_i[t] = r s_i[t−1] + s_{i−1}[t−1]      for each mode, in f64
 *     y_t = Σ_m c_m s_n[t]        (conv)                  q_m = Σ_t y_t s_n[t]        (correlation)
 *
 * The lanes are modes. A tile of modes keeps its states in registers while it goes through the piece, so that
 * memory does not grow with modes × samples. The sums over the modes of as many samples as there are lanes
 * are made together, by a transposition. Operations with the same signal and rates share the recurrence: the
 * cotangents of x and c, and kernels of several orders. Lags and single samples have been lowered
 * (passes/fuse.c).
 */
#include "rows.h"

/* States that decay below this are zero: subnormal numbers would be slow, and reach no result. */
#define NEGLIGIBLE 0x1p-960

enum { MOST_TILE = 12, MOST_MEMBERS = 8 };

static Em index_of(Rows *r, int64_t value) {
    return r->e->ops->index(r->e, value);
}

static Em index_op(Rows *r, IndexOp op, Em a, Em b) {
    return r->e->ops->index_op(r->e, op, a, b);
}

static const Node *row_node(const Rows *r, int i) {
    return graph_node(r->graph, r->k->rows[i].node);
}

int64_t recurrence_modes(const Graph *g, Value v) {
    const Node *node = graph_node(g, v);
    return graph_type(g, node->args[2])->shape.dims[node->attrs->axis];
}

static int vector_lanes(const Rows *r) {
    return MAX(1, r->e->vector_bytes / 8);
}

/* ---- Operations that share a recurrence ---- */

typedef struct Group {
    int members[MOST_MEMBERS], count; /* the first one keeps rates and states */
    int order;                        /* the highest */
    int lanes, tile;                  /* vectors that run together */
    int64_t modes, padded;            /* to whole tiles; r = c = 0 there */
} Group;

static bool same_table(const Table *a, const Table *b) {
    if (a->is_constant || b->is_constant)
        return a->is_constant && b->is_constant && a->constant == b->constant;
    return a->node == b->node && a->stride[0] == b->stride[0] && affine_equal(&a->at, &b->at);
}

static bool share_states(const Rows *r, int a, int b) {
    const RowOp *p = &r->k->rows[a], *q = &r->k->rows[b];
    return p->stage == q->stage && p->inputs[0] == q->inputs[0] && same_table(&p->tables[1], &q->tables[1]) &&
           recurrence_modes(r->graph, p->node) == recurrence_modes(r->graph, q->node);
}

static int leader_of(const Rows *r, int row) {
    int count = 0, leader = row;
    for (int i = row; i >= 0; i--)
        if (share_states(r, i, row)) leader = i;
    for (int i = leader; i < row; i++) count += share_states(r, i, row);
    while (count >= MOST_MEMBERS) { /* a full group: the next of its kind leads another */
        for (int taken = 0; taken < MOST_MEMBERS; leader++) taken += share_states(r, leader, row);
        while (!share_states(r, leader, row)) leader++;
        count -= MOST_MEMBERS;
    }
    return leader;
}

static bool is_correlation(const Rows *r, int row) {
    return row_node(r, row)->op == OP_exponential_correlation;
}

static int order_of(const Rows *r, int row) {
    return (int)row_node(r, row)->attrs->n;
}

/* Vectors whose states, and sums over time, fit into the registers; the last tile is as full as the others.
 */
static void choose_tile(const Rows *r, Group *g) {
    int registers = r->e->vector_bytes == 64 ? 24 : 12, each = g->order + 1;
    for (int i = 0; i < g->count; i++) each += is_correlation(r, g->members[i]);
    int64_t most = MAX(1, MIN(MOST_TILE, registers / each)), vectors = (g->modes + g->lanes - 1) / g->lanes;
    int64_t tiles = (vectors + most - 1) / most;
    g->tile = (int)((vectors + tiles - 1) / tiles);
    g->padded = tiles * g->tile * g->lanes;
}

static Group group_of(const Rows *r, int leader) {
    Group g = {.lanes = vector_lanes(r)};
    g.modes = recurrence_modes(r->graph, r->k->rows[leader].node);
    for (int i = leader; i < (int)r->k->nrows && g.count < MOST_MEMBERS; i++) {
        if (!share_states(r, leader, i)) continue;
        g.members[g.count++] = i;
        g.order = MAX(g.order, order_of(r, i));
    }
    choose_tile(r, &g);
    return g;
}

/* ---- Scratch ---- */

static FraxDType input_dtype(const Rows *r, int row) {
    return scratch_dtype(item_type(r->graph, &r->k->items[r->k->rows[row].inputs[0]]));
}

void rows_layout_recurrence(Rows *r, int row) {
    FraxDType dtype = input_dtype(r, row);
    int leader = leader_of(r, row);
    Group g = group_of(r, leader);
    for (int n = 0; n < r->k->rows[row].ninputs; n++) {
        int owner = row, slot = n;
        rows_slot_owner(r, row, n, &owner, &slot);
        bool own = owner == row && slot == n;
        r->row[row][n] = own ? rows_reserve(r, STREAM, dtype) : r->row[owner][slot];
        r->wide[row][n] = own && dtype != FRAX_F64 ? rows_reserve(r, STREAM, FRAX_F64)
                          : own                    ? r->row[row][n]
                                                   : r->wide[owner][slot];
    }
    if (leader == row) {
        r->rates[row] = rows_reserve(r, g.padded, FRAX_F64);
        r->states[row] = rows_reserve(r, g.padded * (g.order + 1), FRAX_F64);
    }
    r->modes[row] = rows_reserve(r, g.padded, FRAX_F64);
    if (!is_correlation(r, row)) r->result[row] = rows_reserve(r, STREAM, FRAX_F64);
}

/* ---- Before and after a row ---- */

/* The modes of a table, f64, with zeros after them; table NULL: zeros alone. */
static void fill_modes(Rows *r, int64_t to, const Table *table, int64_t modes, int64_t padded) {
    const EmitterOps *o = r->e->ops;
    EmLoop loop = o->loop_begin(r->e, index_of(r, 0), index_of(r, padded), 1);
    o->store(r->e, scratch_at(r, to), FRAX_F64, loop.index, 1, o->constant(r->e, EM_F64, 0), (Em){0});
    o->loop_end(r->e, &loop);
    if (!table) return;
    loop = o->loop_begin(r->e, index_of(r, 0), index_of(r, modes), 1);
    Em value = o->constant(r->e, EM_F64, table->constant);
    if (!table->is_constant) {
        Em at = index_op(r, INDEX_MUL, loop.index, index_of(r, table->stride[0]));
        at = index_op(r, INDEX_ADD, at, rows_affine(r, &table->at));
        value = o->load(r->e, rows_base(r, table->node), FRAX_F64, at, 0, 1, (Em){0});
    }
    o->store(r->e, scratch_at(r, to), FRAX_F64, loop.index, 1, value, (Em){0});
    o->loop_end(r->e, &loop);
}

void rows_begin_recurrences(Rows *r) {
    for (int i = 0; i < (int)r->k->nrows; i++) {
        const RowOp *row = &r->k->rows[i];
        int leader = leader_of(r, i);
        Group g = group_of(r, leader);
        if (leader == i) {
            fill_modes(r, r->rates[i], &row->tables[1], g.modes, g.padded);
            fill_modes(r, r->states[i], NULL, 0, g.padded * (g.order + 1));
        }
        fill_modes(r, r->modes[i], is_correlation(r, i) ? NULL : &row->tables[0], g.modes, g.padded);
    }
}

void rows_finish_recurrences(Rows *r) {
    const EmitterOps *o = r->e->ops;
    for (size_t i = 0; i < r->k->nstores; i++) {
        const Store *store = &r->k->stores[i];
        if (store->item != NO_ITEM) continue;
        EmLoop loop =
            o->loop_begin(r->e, index_of(r, 0), index_of(r, recurrence_modes(r->graph, store->node)), 1);
        Em value = o->load(r->e, scratch_at(r, r->modes[store->row]), FRAX_F64, loop.index, 0, 1, (Em){0});
        Em at = index_op(r, INDEX_MUL, loop.index, index_of(r, store->stride[0]));
        at = index_op(r, INDEX_ADD, at, rows_affine(r, &store->at));
        o->store(r->e, rows_base(r, store->node), FRAX_F64, at, 0, value, (Em){0});
        o->loop_end(r->e, &loop);
    }
}

/* ---- A tile of modes along the piece ---- */

typedef struct Tile {
    const Group *g;
    Em first; /* of its modes */
    Em rate[MOST_TILE];
    Em c[MOST_MEMBERS][MOST_TILE];        /* conv */
    Em state[MOST_TILE][MAX_CASCADE + 1]; /* variables */
    Em sum[MOST_MEMBERS][MOST_TILE];      /* correlation: variables */
} Tile;

static Em mode_place(Rows *r, const Tile *t, int vector, int order) {
    return index_op(r, INDEX_ADD, t->first,
                    index_of(r, order * t->g->padded + (int64_t)vector * t->g->lanes));
}

static Em load_modes(Rows *r, const Tile *t, int64_t bytes, int vector, int order) {
    return r->e->ops->load(r->e, scratch_at(r, bytes), FRAX_F64, mode_place(r, t, vector, order), 1,
                           t->g->lanes, (Em){0});
}

static void store_modes(Rows *r, const Tile *t, int64_t bytes, int vector, int order, Em value) {
    r->e->ops->store(r->e, scratch_at(r, bytes), FRAX_F64, mode_place(r, t, vector, order), 1, value,
                     (Em){0});
}

static Em zero_vector(Rows *r, const Group *g) {
    return r->e->ops->splat(r->e, r->e->ops->constant(r->e, EM_F64, 0), g->lanes);
}

/* Cells for all tiles of a group. */
static void make_cells(Rows *r, Tile *t) {
    const Group *g = t->g;
    for (int v = 0; v < g->tile; v++) {
        for (int i = 0; i <= g->order; i++) t->state[v][i] = r->e->ops->variable(r->e, EM_F64, g->lanes);
        for (int k = 0; k < g->count; k++)
            if (is_correlation(r, g->members[k])) t->sum[k][v] = r->e->ops->variable(r->e, EM_F64, g->lanes);
    }
}

static void begin_tile(Rows *r, Tile *t) {
    const EmitterOps *o = r->e->ops;
    const Group *g = t->g;
    int leader = g->members[0];
    for (int v = 0; v < g->tile; v++) {
        t->rate[v] = load_modes(r, t, r->rates[leader], v, 0);
        for (int i = 0; i <= g->order; i++)
            o->set(r->e, t->state[v][i], load_modes(r, t, r->states[leader], v, i));
        for (int k = 0; k < g->count; k++) {
            if (is_correlation(r, g->members[k]))
                o->set(r->e, t->sum[k][v], zero_vector(r, g));
            else
                t->c[k][v] = load_modes(r, t, r->modes[g->members[k]], v, 0);
        }
    }
}

static Em without_negligible(Rows *r, Em s) {
    const EmitterOps *o = r->e->ops;
    Em tiny = o->constant(r->e, EM_F64, NEGLIGIBLE), zero = o->constant(r->e, EM_F64, 0);
    Em small = o->arith(r->e, OP_and, o->arith(r->e, OP_lt, s, tiny),
                        o->arith(r->e, OP_gt, s, o->constant(r->e, EM_F64, -NEGLIGIBLE)));
    return o->select(r->e, small, zero, s);
}

/* Sums over time are added piece by piece, which keeps them accurate. */
static void end_tile(Rows *r, Tile *t) {
    const EmitterOps *o = r->e->ops;
    const Group *g = t->g;
    for (int v = 0; v < g->tile; v++) {
        for (int i = 0; i <= g->order; i++) {
            Em s = o->get(r->e, t->state[v][i], EM_F64, g->lanes);
            store_modes(r, t, r->states[g->members[0]], v, i, without_negligible(r, s));
        }
        for (int k = 0; k < g->count; k++) {
            int64_t bytes = r->modes[g->members[k]];
            if (!is_correlation(r, g->members[k])) continue;
            Em sum = o->arith(r->e, OP_add, load_modes(r, t, bytes, v, 0),
                              o->get(r->e, t->sum[k][v], EM_F64, g->lanes));
            store_modes(r, t, bytes, v, 0, sum);
        }
    }
}

static Em sample(Rows *r, int64_t bytes, Em at) {
    return r->e->ops->load(r->e, scratch_at(r, bytes), FRAX_F64, at, 0, 1, (Em){0});
}

static void advance(Rows *r, Tile *t, int v, Em x) {
    const EmitterOps *o = r->e->ops;
    int lanes = t->g->lanes;
    for (int i = t->g->order; i >= 0; i--) {
        Em from = i ? o->get(r->e, t->state[v][i - 1], EM_F64, lanes) : x;
        Em s = o->get(r->e, t->state[v][i], EM_F64, lanes);
        o->set(r->e, t->state[v][i], o->fma(r->e, t->rate[v], s, from));
    }
}

/* One sample: the states advance; partial[k] becomes member k's Σ c_m s_m, lane by lane. */
static void run_sample(Rows *r, Tile *t, Em at, Em *partial) {
    const EmitterOps *o = r->e->ops;
    const Group *g = t->g;
    Em x = o->splat(r->e, sample(r, r->wide[g->members[0]][0], at), g->lanes), y[MOST_MEMBERS];
    for (int k = 0; k < g->count; k++)
        if (is_correlation(r, g->members[k]))
            y[k] = o->splat(r->e, sample(r, r->wide[g->members[k]][1], at), g->lanes);
    for (int v = 0; v < g->tile; v++) {
        advance(r, t, v, x);
        for (int k = 0; k < g->count; k++) {
            Em s = o->get(r->e, t->state[v][order_of(r, g->members[k])], EM_F64, g->lanes);
            if (is_correlation(r, g->members[k]))
                o->set(r->e, t->sum[k][v],
                       o->fma(r->e, s, y[k], o->get(r->e, t->sum[k][v], EM_F64, g->lanes)));
            else
                partial[k] =
                    v ? o->fma(r->e, t->c[k][v], s, partial[k]) : o->arith(r->e, OP_mul, t->c[k][v], s);
        }
    }
}

/* As many samples as there are lanes. */
static void run_samples(Rows *r, Tile *t, Em at) {
    const EmitterOps *o = r->e->ops;
    const Group *g = t->g;
    Em partial[64][MOST_MEMBERS];
    for (int j = 0; j < g->lanes; j++)
        run_sample(r, t, index_op(r, INDEX_ADD, at, index_of(r, j)), partial[j]);
    for (int k = 0; k < g->count; k++) {
        Em terms[64], y = scratch_at(r, r->result[g->members[k]]);
        if (is_correlation(r, g->members[k])) continue;
        for (int j = 0; j < g->lanes; j++) terms[j] = partial[j][k];
        Em sum = o->sum_lanes(r->e, terms);
        if (g->padded > g->tile * g->lanes)
            sum = o->arith(r->e, OP_add, sum, o->load(r->e, y, FRAX_F64, at, 1, g->lanes, (Em){0}));
        o->store(r->e, y, FRAX_F64, at, 1, sum, (Em){0});
    }
}

/* ---- A piece ---- */

/* Samples in whole vectors: the rest of the last one is zero. */
static Em whole_vectors(Rows *r, int lanes) {
    Em above = index_op(r, INDEX_ADD, r->piece, index_of(r, lanes - 1));
    return index_op(r, INDEX_SUB, above, index_op(r, INDEX_REM, above, index_of(r, lanes)));
}

static void complete_input(Rows *r, int row, int input, int lanes) {
    const EmitterOps *o = r->e->ops;
    FraxDType dtype = input_dtype(r, row);
    Em x = scratch_at(r, r->row[row][input]), end = whole_vectors(r, lanes);
    EmLoop loop = o->loop_begin(r->e, r->piece, end, 1);
    o->store(r->e, x, dtype, loop.index, 1, o->constant(r->e, em_type_of(dtype), 0), (Em){0});
    o->loop_end(r->e, &loop);
    if (dtype == FRAX_F64) return;
    loop = o->loop_begin(r->e, index_of(r, 0), end, lanes);
    Em value = o->convert(r->e, o->load(r->e, x, dtype, loop.index, 1, lanes, (Em){0}), EM_F64);
    o->store(r->e, scratch_at(r, r->wide[row][input]), FRAX_F64, loop.index, 1, value, (Em){0});
    o->loop_end(r->e, &loop);
}

void rows_complete_inputs(Rows *r, int stage) {
    for (int i = 0; i < (int)r->k->nrows; i++)
        for (int n = 0; n < r->k->rows[i].ninputs; n++)
            if (r->k->items[r->k->rows[i].inputs[n]].stage + 1 == stage && rows_input_slot(r, i, n))
                complete_input(r, i, n, vector_lanes(r));
}

static void clear_result(Rows *r, int row, const Group *g) {
    const EmitterOps *o = r->e->ops;
    EmLoop loop = o->loop_begin(r->e, index_of(r, 0), whole_vectors(r, g->lanes), g->lanes);
    o->store(r->e, scratch_at(r, r->result[row]), FRAX_F64, loop.index, 1, zero_vector(r, g), (Em){0});
    o->loop_end(r->e, &loop);
}

/* To the dtype of the row, in place: f32 elements lie below the f64 ones that are still to be read. */
static void narrow_result(Rows *r, int row, int lanes) {
    const EmitterOps *o = r->e->ops;
    FraxDType dtype = row_node(r, row)->type.dtype;
    Em y = scratch_at(r, r->result[row]);
    if (dtype == FRAX_F64) return;
    EmLoop loop = o->loop_begin(r->e, index_of(r, 0), whole_vectors(r, lanes), lanes);
    Em value = o->convert(r->e, o->load(r->e, y, FRAX_F64, loop.index, 1, lanes, (Em){0}), em_type_of(dtype));
    o->store(r->e, y, dtype, loop.index, 1, value, (Em){0});
    o->loop_end(r->e, &loop);
}

void rows_run_recurrence(Rows *r, int row) {
    const EmitterOps *o = r->e->ops;
    if (leader_of(r, row) != row) return;
    Group g = group_of(r, row);
    Tile t = {.g = &g};
    for (int k = 0; k < g.count; k++) {
        int member = g.members[k];
        if (!is_correlation(r, member) && g.padded > g.tile * g.lanes) clear_result(r, member, &g);
    }
    make_cells(r, &t);
    EmLoop tiles = o->loop_begin(r->e, index_of(r, 0), index_of(r, g.padded), (int64_t)g.tile * g.lanes);
    t.first = tiles.index;
    begin_tile(r, &t);
    EmLoop samples = o->loop_begin(r->e, index_of(r, 0), whole_vectors(r, g.lanes), g.lanes);
    run_samples(r, &t, samples.index);
    o->loop_end(r->e, &samples);
    end_tile(r, &t);
    o->loop_end(r->e, &tiles);
    for (int k = 0; k < g.count; k++)
        if (!is_correlation(r, g.members[k])) narrow_result(r, g.members[k], g.lanes);
}
