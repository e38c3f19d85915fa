/* matmul.c — the template of small matrix products with an epilogue: C[i,j] = Σ_k A[i,k]·B[k,j], then the
 * kernel's items.
 *
 * A block computes PRODUCT_ROWS rows of one matrix of the batch. Lanes lie along the columns when a row of B
 * is contiguous, and along k (partial sums, added up at the end) when rows of A and columns of B are. Large
 * products are left to the library.
 */
#include "rows.h"

enum {
    COLUMN_VECTORS = 2,
    DOT_COLUMNS = 4,
    PIECE = 1024 /* products that are summed up in f32 */
};

typedef struct Product {
    Rows *r;
    const Kernel *k;
    FraxDType dtype;
    EmType type;
    int item; /* ITEM_PRODUCT, −1 if no store needs it */
    int row_loop, column_loop;
    Em left, right; /* places of the batch's matrices */
    Em first_row;
    int lanes;
} Product;

static Em index_of(Product *p, int64_t value) {
    return p->r->e->ops->index(p->r->e, value);
}

static Em index_op(Product *p, IndexOp op, Em a, Em b) {
    return p->r->e->ops->index_op(p->r->e, op, a, b);
}

static Em place(Product *p, Em base, Em a, int64_t stride_a, Em b, int64_t stride_b) {
    base = index_op(p, INDEX_ADD, base, index_op(p, INDEX_MUL, a, index_of(p, stride_a)));
    return index_op(p, INDEX_ADD, base, index_op(p, INDEX_MUL, b, index_of(p, stride_b)));
}

static Em operand(Product *p, const Table *table, Em at, int64_t stride, int lanes, Em mask) {
    const EmitterOps *o = p->r->e->ops;
    if (table->is_constant) {
        Em c = o->constant(p->r->e, p->type, table->constant);
        return mask.ref ? o->select(p->r->e, mask, c, o->constant(p->r->e, p->type, 0)) : c;
    }
    return o->load(p->r->e, rows_base(p->r, table->node), p->dtype, at, stride, lanes, mask);
}

/* Row i of the tile; rows beyond the last repeat it (and are not stored). */
static Em tile_row(Product *p, int i) {
    Em row = index_op(p, INDEX_ADD, p->first_row, index_of(p, i));
    return p->k->m % PRODUCT_ROWS ? index_op(p, INDEX_MIN, row, index_of(p, p->k->m - 1)) : row;
}

/* Runs the epilogue for one row at the columns from `column`. */
static void store_product(Product *p, int i, Em column, Em value, Em mask) {
    const EmitterOps *o = p->r->e->ops;
    EmIf inside = {0};
    bool check = p->k->m % PRODUCT_ROWS != 0;
    Em row = index_op(p, INDEX_ADD, p->first_row, index_of(p, i));
    if (check) inside = o->if_begin(p->r->e, o->index_less(p->r->e, row, index_of(p, p->k->m)));
    if (p->row_loop >= 0) p->r->loops[p->row_loop] = row;
    if (p->column_loop >= 0) p->r->loops[p->column_loop] = column;
    rows_forget(p->r, false);
    p->r->mask = mask;
    if (p->item >= 0) p->r->values[p->item] = value, p->r->known[p->item] = true;
    for (size_t s = 0; s < p->k->nstores; s++) rows_store(p->r, &p->k->stores[s]);
    rows_forget(p->r, false);
    p->r->mask = (Em){0};
    if (check) o->if_end(p->r->e, &inside);
}

/* ---- Tiles: rows by columns, or by vectors of columns ---- */

typedef struct ProductTile {
    Product *p;
    int rows, columns;
    Em column[DOT_COLUMNS];             /* places, of each or of the first of a vector's */
    Em mask;                            /* columns that exist; ref NULL: all */
    Em sums[PRODUCT_ROWS][DOT_COLUMNS]; /* variables; */
    Em wide[PRODUCT_ROWS][DOT_COLUMNS]; /* long sums of f32: f64, to which the sums of PIECE steps go */
    bool is_long;
} ProductTile;

typedef void TileStep(ProductTile *t, Em k, Em mask);

static Em zero_sum(Product *p, EmType type) {
    const EmitterOps *o = p->r->e->ops;
    return o->splat(p->r->e, o->constant(p->r->e, type, 0), p->lanes);
}

static ProductTile begin_tile(Product *p, int columns, Em first, int64_t apart, int64_t steps) {
    const EmitterOps *o = p->r->e->ops;
    ProductTile t = {.p = p, .rows = (int)MIN(p->k->m, PRODUCT_ROWS), .columns = columns};
    t.is_long = p->type == EM_F32 && steps > PIECE;
    for (int j = 0; j < columns; j++) t.column[j] = index_op(p, INDEX_ADD, first, index_of(p, j * apart));
    for (int i = 0; i < t.rows; i++)
        for (int j = 0; j < columns; j++) {
            t.sums[i][j] = o->variable(p->r->e, p->type, p->lanes);
            o->set(p->r->e, t.sums[i][j], zero_sum(p, p->type));
            if (!t.is_long) continue;
            t.wide[i][j] = o->variable(p->r->e, EM_F64, p->lanes);
            o->set(p->r->e, t.wide[i][j], zero_sum(p, EM_F64));
        }
    return t;
}

static Em whole_sum(ProductTile *t, int i, int j) {
    const EmitterOps *o = t->p->r->e->ops;
    Emitter *e = t->p->r->e;
    Em sum = o->get(e, t->sums[i][j], t->p->type, t->p->lanes);
    if (!t->is_long) return sum;
    return o->arith(e, OP_add, o->get(e, t->wide[i][j], EM_F64, t->p->lanes), o->convert(e, sum, EM_F64));
}

static void widen_sums(ProductTile *t) {
    const EmitterOps *o = t->p->r->e->ops;
    for (int i = 0; i < t->rows; i++)
        for (int j = 0; j < t->columns; j++) {
            o->set(t->p->r->e, t->wide[i][j], whole_sum(t, i, j));
            o->set(t->p->r->e, t->sums[i][j], zero_sum(t->p, t->p->type));
        }
}

static void run_steps(ProductTile *t, Em first, Em end, int64_t stride, TileStep *step) {
    const EmitterOps *o = t->p->r->e->ops;
    EmLoop loop = o->loop_begin(t->p->r->e, first, end, stride);
    step(t, loop.index, (Em){0});
    o->loop_end(t->p->r->e, &loop);
}

/* Over k below `end`, a multiple of the stride. */
static void run_tile(ProductTile *t, int64_t end, int64_t stride, TileStep *step) {
    const EmitterOps *o = t->p->r->e->ops;
    Emitter *e = t->p->r->e;
    Em all = index_of(t->p, end);
    if (!t->is_long) {
        run_steps(t, index_of(t->p, 0), all, stride, step);
        return;
    }
    EmLoop pieces = o->loop_begin(e, index_of(t->p, 0), all, PIECE * stride);
    Em next = index_op(t->p, INDEX_ADD, pieces.index, index_of(t->p, PIECE * stride));
    run_steps(t, pieces.index, index_op(t->p, INDEX_MIN, next, all), stride, step);
    widen_sums(t);
    o->loop_end(e, &pieces);
}

static void add_products(ProductTile *t, int i, Em a, const Em *b) {
    const EmitterOps *o = t->p->r->e->ops;
    Emitter *e = t->p->r->e;
    for (int j = 0; j < t->columns; j++)
        o->set(e, t->sums[i][j], o->fma(e, a, b[j], o->get(e, t->sums[i][j], t->p->type, t->p->lanes)));
}

/* The operands at k: in neighbouring columns of B, or (dots) at neighbouring k. */
static void tile_step(ProductTile *t, Em k, Em mask, bool dots) {
    Product *p = t->p;
    const EmitterOps *o = p->r->e->ops;
    const Table *left = &p->k->left, *right = &p->k->right;
    Em b[DOT_COLUMNS];
    for (int j = 0; j < t->columns; j++) {
        Em at = place(p, p->right, k, right->stride[0], t->column[j], right->stride[1]);
        Em value = operand(p, right, at, right->stride[dots ? 0 : 1], p->lanes, dots ? mask : t->mask);
        b[j] = o->splat(p->r->e, value, p->lanes);
    }
    for (int i = 0; i < t->rows; i++) {
        Em at = place(p, p->left, tile_row(p, i), left->stride[0], k, left->stride[1]);
        Em a = dots ? operand(p, left, at, left->stride[1], p->lanes, mask)
                    : operand(p, left, at, 0, 1, (Em){0});
        add_products(t, i, o->splat(p->r->e, a, p->lanes), b);
    }
}

/* ---- Lanes along the columns ---- */

static void column_step(ProductTile *t, Em k, Em mask) {
    tile_step(t, k, mask, false);
}

static void column_tile(Product *p, Em column, int vectors, Em mask) {
    ProductTile t = begin_tile(p, vectors, column, p->lanes, p->k->k);
    t.mask = mask;
    run_tile(&t, p->k->k, 1, column_step);
    for (int i = 0; i < t.rows; i++)
        for (int v = 0; v < vectors; v++) {
            Em sum = p->r->e->ops->convert(p->r->e, whole_sum(&t, i, v), p->type);
            store_product(p, i, t.column[v], sum, mask);
        }
}

static void lanes_along_columns(Product *p) {
    const EmitterOps *o = p->r->e->ops;
    int64_t done = 0, n = p->k->n;
    for (int vectors = COLUMN_VECTORS; vectors >= 1; vectors--) {
        int64_t step = vectors * p->lanes, end = done + (n - done) / step * step;
        if (end == done) continue;
        EmLoop loop = o->loop_begin(p->r->e, index_of(p, done), index_of(p, end), step);
        column_tile(p, loop.index, vectors, (Em){0});
        o->loop_end(p->r->e, &loop);
        done = end;
    }
    if (done == n) return;
    Em lanes = o->index_lanes(p->r->e, index_of(p, 0), 1, p->lanes);
    column_tile(p, index_of(p, done), 1, o->index_less(p->r->e, lanes, index_of(p, n - done)));
}

/* ---- Lanes along k ---- */

static void dot_step(ProductTile *t, Em k, Em mask) {
    tile_step(t, k, mask, true);
}

static void dot_tile(Product *p, Em column, int columns) {
    const EmitterOps *o = p->r->e->ops;
    Emitter *e = p->r->e;
    int64_t whole = p->k->k / p->lanes * p->lanes;
    ProductTile t = begin_tile(p, columns, column, 1, whole / p->lanes);
    run_tile(&t, whole, p->lanes, dot_step);
    if (whole < p->k->k) {
        Em lanes = o->index_lanes(e, index_of(p, 0), 1, p->lanes);
        dot_step(&t, index_of(p, whole), o->index_less(e, lanes, index_of(p, p->k->k - whole)));
    }
    for (int i = 0; i < t.rows; i++)
        for (int j = 0; j < columns; j++) {
            Em sum = o->convert(e, o->reduce(e, OP_sum, whole_sum(&t, i, j)), p->type);
            store_product(p, i, t.column[j], sum, (Em){0});
        }
}

static void lanes_along_k(Product *p) {
    const EmitterOps *o = p->r->e->ops;
    int64_t done = 0;
    p->r->lanes = 1; /* the epilogue sees one element */
    for (int columns = DOT_COLUMNS; columns >= 1; columns = columns > 1 ? 1 : 0) {
        int64_t end = done + (p->k->n - done) / columns * columns;
        if (end == done) continue;
        EmLoop loop = o->loop_begin(p->r->e, index_of(p, done), index_of(p, end), columns);
        dot_tile(p, loop.index, columns);
        o->loop_end(p->r->e, &loop);
        done = end;
    }
}

/* ---- Blocks ---- */

static bool along_k(const Kernel *k) {
    bool columns_contiguous = k->right.is_constant || k->right.stride[1] == 1;
    bool k_contiguous =
        (k->left.is_constant || k->left.stride[1] == 1) && (k->right.is_constant || k->right.stride[0] == 1);
    return k_contiguous && (k->n == 1 || !columns_contiguous);
}

static void product_block(Product *p, Em block) {
    const Kernel *k = p->k;
    int64_t tiles = (k->m + PRODUCT_ROWS - 1) / PRODUCT_ROWS;
    Em batch = index_op(p, INDEX_DIV, block, index_of(p, tiles));
    int batch_loops = k->nloops - (p->row_loop >= 0) - (p->column_loop >= 0);
    for (int l = batch_loops - 1; l >= 0; l--) {
        p->r->loops[l] = index_op(p, INDEX_REM, batch, index_of(p, k->size[l]));
        batch = index_op(p, INDEX_DIV, batch, index_of(p, k->size[l]));
    }
    p->first_row =
        index_op(p, INDEX_MUL, index_op(p, INDEX_REM, block, index_of(p, tiles)), index_of(p, PRODUCT_ROWS));
    p->left = rows_affine(p->r, &k->left.at);
    p->right = rows_affine(p->r, &k->right.at);
    if (along_k(k))
        lanes_along_k(p);
    else
        lanes_along_columns(p);
}

/* Vectors of the widest type in the product and its epilogue, no wider than what they run along. */
static int choose_lanes(const Rows *r, bool dot) {
    int widest = 4;
    for (size_t i = 0; i < r->k->nitems; i++)
        if (item_type(r->graph, &r->k->items[i]) == EM_F64) widest = 8;
    int lanes = r->e->vector_bytes / widest;
    int64_t length = dot ? r->k->k : r->k->n;
    while (lanes > 1 && lanes / 2 >= length) lanes /= 2;
    return lanes;
}

static void product_function(Rows *r) {
    const Kernel *k = r->k;
    FraxDType dtype = graph_type(r->graph, k->product)->dtype;
    Product p = {.r = r,
                 .k = k,
                 .dtype = dtype,
                 .type = em_type_of(dtype),
                 .item = -1,
                 .row_loop = -1,
                 .column_loop = -1};
    char name[32];
    snprintf(name, sizeof name, "frax_k%d", k->id);
    r->lanes = p.lanes = choose_lanes(r, along_k(k));
    if (k->n > 1) p.column_loop = k->nloops - 1;
    if (k->m > 1) p.row_loop = k->nloops - 1 - (k->n > 1);
    for (size_t i = 0; i < k->nitems; i++)
        if (k->items[i].kind == ITEM_PRODUCT) p.item = (int)i;
    r->e->ops->function_begin(r->e, name, KERNEL_PARAMS, r->params);
    rows_load_bases(r);
    if (!k->left.is_constant) rows_base(r, k->left.node);
    if (!k->right.is_constant) rows_base(r, k->right.node);
    EmLoop blocks = r->e->ops->loop_begin(r->e, r->params[2], r->params[3], 1);
    product_block(&p, blocks.index);
    r->e->ops->loop_end(r->e, &blocks);
    r->e->ops->function_end(r->e);
}

bool emit_matmul(Emitter *e, Program *program, int kernel) {
    const Kernel *k = &program->kernels[kernel].kernel;
    Rows r = {.e = e,
              .program = program,
              .graph = program->graph,
              .k = k,
              .lane_loop = k->lane_loop,
              .lane_step = 1};
    r.values = mem_calloc(k->nitems + 1, sizeof *r.values);
    r.known = mem_calloc(k->nitems + 1, 1);
    r.bases = mem_calloc(program->graph->count, sizeof *r.bases);
    r.cached = mem_alloc((k->nitems + 1) * sizeof *r.cached);
    bool ok = r.values && r.known && r.bases && r.cached;
    for (size_t i = 0; ok && i < k->nitems; i++) r.cached[i] = -1;
    if (ok) product_function(&r);
    mem_free(r.values);
    mem_free(r.known);
    mem_free(r.bases);
    mem_free(r.cached);
    return ok;
}
