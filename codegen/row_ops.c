/* row_ops.c — operations on whole rows between passes: FFT · K · inverse FFT, spectra, causal convolution,
 * weights.
 *
 * Rows lie densely in the thread's scratch, with the zeros after them that pad a transform. The transforms
 * are the runtime's (fft.h); all else is emitted. An input row that several operations need is kept and
 * transformed once: the backward kernel of a spectral op (adjoint and both cross spectra) transforms x and
 * the cotangent once each.
 */
#include "rows.h"

/* Accumulators of a direct convolution, lags that they gather before they are added to the result's, and lags
   of a direct correlation computed at once. */
enum { CONV_VECTORS = 4, CONV_LAGS = 128, CORRELATION_LAGS = 8 };

/* Bytes: rows that leave the nearest caches are filtered within the memory they were loaded to, though zeros
   after them must then be written for each; fresh memory costs more. */
enum { LARGE_ROW = 1 << 17 };

static Em index_of(Rows *r, int64_t value) {
    return r->e->ops->index(r->e, value);
}

static Em index_op(Rows *r, IndexOp op, Em a, Em b) {
    return r->e->ops->index_op(r->e, op, a, b);
}

static const Node *row_node(const Rows *r, int i) {
    return graph_node(r->graph, r->k->rows[i].node);
}

static bool is_spectral(Op op) {
    return op == OP_spectral || op == OP_rfft || op == OP_cross_spectrum;
}

static bool is_direct(Op op) {
    return op == OP_causal_conv || op == OP_causal_correlation;
}

/* dtype of the rows and of the table. */
static FraxDType row_dtype(const Rows *r, int i) {
    return row_node(r, i)->type.dtype;
}

/* ---- The transform of an operation ---- */

static FftShape fft_shape(const Graph *g, const Node *node) {
    const Type *x = graph_type(g, node->args[0]);
    FftShape shape = {.dtype = x->dtype, .rows = 1};
    for (int i = 0; i < x->shape.rank; i++)
        if (node->attrs->axes >> i & 1) shape.dims[shape.rank++] = x->shape.dims[i];
    return shape;
}

FftShape rows_fft_shape(const Rows *r, int row) {
    return fft_shape(r->graph, row_node(r, row));
}

static bool same_fft(const FftShape *a, const FftShape *b) {
    bool same = a->dtype == b->dtype && a->rank == b->rank;
    for (int i = 0; i < a->rank; i++) same = same && a->dims[i] == b->dims[i];
    return same;
}

int program_fft(Program *p, Value v) {
    FftShape shape = fft_shape(p->graph, graph_node(p->graph, v));
    for (size_t i = 0; i < p->nffts; i++)
        if (same_fft(&p->ffts[i], &shape)) return (int)i;
    if (!mem_grow(&p->ffts, &p->ffts_capacity, p->nffts + 1, sizeof *p->ffts)) return -1;
    p->ffts[p->nffts] = shape;
    return (int)p->nffts++;
}

static int64_t points(const FftShape *shape) {
    int64_t n = 1;
    for (int i = 0; i < shape->rank; i++) n *= shape->dims[i];
    return n;
}

static int64_t bins(const FftShape *shape) {
    int64_t n = shape->dims[shape->rank - 1] / 2 + 1;
    for (int i = 0; i < shape->rank - 1; i++) n *= shape->dims[i];
    return n;
}

/* ---- Scratch ---- */

int64_t rows_reserve(Rows *r, int64_t elements, FraxDType dtype) {
    int64_t at = (int64_t)r->scratch;
    r->scratch += ((size_t)elements * frax_dtype_size(dtype) + 63) / 64 * 64 + 64;
    return at;
}

static int vector_lanes(const Rows *r, FraxDType dtype, int64_t length) {
    int lanes = r->e->vector_bytes / (int)frax_dtype_size(dtype);
    while (lanes > 1 && lanes > length) lanes /= 2;
    return lanes;
}

/* Do two operations keep an input row in the same way? [n] and [n, 1] have the same rows, but other spectra.
 */
static bool same_slots(const Rows *r, int a, int b) {
    const Node *x = row_node(r, a), *y = row_node(r, b);
    if (x->op == OP_grunwald_weights || y->op == OP_grunwald_weights) return false;
    if (!is_spectral(x->op) || !is_spectral(y->op)) return is_spectral(x->op) == is_spectral(y->op);
    FftShape p = fft_shape(r->graph, x), q = fft_shape(r->graph, y);
    return same_fft(&p, &q);
}

/* The first operation that keeps the same input row in the same way. */
void rows_slot_owner(const Rows *r, int row, int input, int *owner, int *slot) {
    int item = r->k->rows[row].inputs[input];
    for (int i = 0; i <= row; i++) {
        if (!same_slots(r, i, row)) continue;
        for (int n = 0; n < r->k->rows[i].ninputs; n++) {
            if (r->k->rows[i].inputs[n] != item) continue;
            *owner = i;
            *slot = n;
            return;
        }
    }
}

static bool owns_slot(const Rows *r, int row, int input) {
    int owner = row, slot = input;
    if (row_node(r, row)->op == OP_grunwald_weights) return false; /* its input is one number, not a row */
    rows_slot_owner(r, row, input, &owner, &slot);
    return owner == row && slot == input;
}

/* The operation whose result this input is as it stands, or −1. */
static int maker(const Rows *r, int row, int input) {
    const Item *item = &r->k->items[r->k->rows[row].inputs[input]];
    return item->kind == ITEM_ROW ? item->row : -1;
}

bool rows_input_slot(const Rows *r, int row, int input) {
    if (r->pairs) return owns_slot(r, row, input) && !pairs_reads_input(r, row, input);
    int from = maker(r, row, input);
    return owns_slot(r, row, input) && (from < 0 || r->result[from] != r->row[row][input]);
}

/* Is this the last operation that looks at its signal's spectrum, which may then be filtered in place? */
static bool spectrum_dies(const Rows *r, int row) {
    int owner = row, slot = 0, stage = r->k->rows[row].stage;
    rows_slot_owner(r, row, 0, &owner, &slot);
    for (int i = 0; i < (int)r->k->nrows; i++) {
        bool later = r->k->rows[i].stage > stage || (r->k->rows[i].stage == stage && i > row);
        for (int n = 0; later && is_spectral(row_node(r, i)->op) && n < r->k->rows[i].ninputs; n++) {
            int other = i, place = n;
            rows_slot_owner(r, i, n, &other, &place);
            if (other == owner && place == slot) return false;
        }
    }
    return true;
}

static bool layout_row_op(Rows *r, int i) {
    const Node *node = row_node(r, i);
    FraxDType dtype = row_dtype(r, i);
    if (op_is_recurrence(node->op)) {
        rows_layout_recurrence(r, i);
        return true;
    }
    int64_t length = kernel_inner_size(r->k);
    int lanes = vector_lanes(r, dtype, length);
    if (is_direct(node->op)) r->lead[i] = MAX(CONV_VECTORS * lanes, CORRELATION_LAGS);
    FftShape shape = is_spectral(node->op) ? fft_shape(r->graph, node) : (FftShape){0};
    if (is_spectral(node->op)) length = points(&shape); /* with the zeros after the kernel's row */
    if (is_spectral(node->op) && program_fft(r->program, r->k->rows[i].node) < 0) return false;
    for (int n = 0; n < r->k->rows[i].ninputs; n++) {
        int owner = i, slot = n;
        rows_slot_owner(r, i, n, &owner, &slot);
        bool own = owner == i && slot == n;
        if (node->op == OP_grunwald_weights) continue;
        r->row[i][n] = own ? rows_reserve(r, length + 2 * r->lead[i], dtype) : r->row[owner][slot];
        if (is_spectral(node->op))
            r->spectrum[i][n] = own ? rows_reserve(r, 2 * bins(&shape), dtype) : r->spectrum[owner][slot];
    }
    if (node->op == OP_spectral)
        r->product[i] = spectrum_dies(r, i) ? r->spectrum[i][0] : rows_reserve(r, 2 * bins(&shape), dtype);
    return true;
}

/* The filtered row may lie where its signal did: that is looked at no more once it is transformed. */
static bool filters_in_place(const Rows *r, int row) {
    FftShape shape = rows_fft_shape(r, row);
    bool large = points(&shape) * (int64_t)frax_dtype_size(shape.dtype) >= LARGE_ROW;
    return large && owns_slot(r, row, 0);
}

/* Weights that are transformed and nothing else are made where the transform wants them. */
static bool made_in_place(Rows *r, int row) {
    for (int i = row + 1; i < (int)r->k->nrows; i++) {
        Op op = row_node(r, i)->op;
        for (int n = 0; (op == OP_rfft || op == OP_cross_spectrum) && n < r->k->rows[i].ninputs; n++) {
            if (maker(r, i, n) != row || !owns_slot(r, i, n)) continue;
            r->result[row] = r->row[i][n];
            return true;
        }
    }
    return false;
}

static void layout_result(Rows *r, int i) {
    const Node *node = row_node(r, i);
    FraxDType dtype = row_dtype(r, i);
    int64_t length = kernel_inner_size(r->k);
    if (node->op == OP_rfft || node->op == OP_cross_spectrum || node->op == OP_causal_correlation ||
        op_is_recurrence(node->op))
        return;
    if (node->op == OP_spectral) {
        FftShape shape = fft_shape(r->graph, node);
        length = points(&shape);
        r->result[i] = r->row[i][0];
        if (filters_in_place(r, i)) return;
    }
    if (node->op == OP_grunwald_weights && made_in_place(r, i)) return;
    r->result[i] = rows_reserve(r, length + CONV_VECTORS * vector_lanes(r, dtype, length), dtype);
}

static size_t transform_work(const Rows *r, const FftShape *shape) {
    if (fft_is_generated(shape)) return fft_work_bytes(shape);
    return r->graph->self_contained ? general_fft_work_bytes(shape) : 0;
}

bool rows_layout_row_ops(Rows *r) {
    size_t work = 0;
    for (int i = 0; i < (int)r->k->nrows; i++) {
        if (!layout_row_op(r, i)) return false;
        if (!is_spectral(row_node(r, i)->op)) continue;
        FftShape shape = rows_fft_shape(r, i);
        work = MAX(work, transform_work(r, &shape));
    }
    for (int i = 0; i < (int)r->k->nrows; i++) layout_result(r, i);
    r->fft_work = (int64_t)r->scratch;
    r->scratch += (work + 63) / 64 * 64;
    return true;
}

/* ---- Loops over the bins of a spectrum ---- */

/* One place in the spectrum: the position in a dense spectrum, and per axis. */
typedef struct Bin {
    Em dense, axis[3];
    int lanes;
} Bin;

typedef void BinBody(Rows *r, int row, const FftShape *shape, const Bin *bin);

static void bins_of_line(Rows *r, int row, const FftShape *shape, Bin *bin, Em line, BinBody *body) {
    const EmitterOps *o = r->e->ops;
    int64_t count = shape->dims[shape->rank - 1] / 2 + 1, done = 0;
    int last = shape->rank - 1;
    Em base = index_op(r, INDEX_MUL, line, index_of(r, count));
    for (int lanes = vector_lanes(r, shape->dtype, count); lanes >= 1; lanes = lanes > 1 ? 1 : 0) {
        int64_t end = done + (count - done) / lanes * lanes;
        if (end == done) continue;
        EmLoop loop = o->loop_begin(r->e, index_of(r, done), index_of(r, end), lanes);
        bin->axis[last] = loop.index;
        bin->dense = index_op(r, INDEX_ADD, base, loop.index);
        bin->lanes = lanes;
        body(r, row, shape, bin);
        o->loop_end(r->e, &loop);
        done = end;
    }
}

static void for_bins(Rows *r, int row, BinBody *body) {
    const EmitterOps *o = r->e->ops;
    FftShape shape = rows_fft_shape(r, row);
    EmLoop loops[2];
    Bin bin;
    Em line = index_of(r, 0);
    for (int i = 0; i < shape.rank - 1; i++) {
        loops[i] = o->loop_begin(r->e, index_of(r, 0), index_of(r, shape.dims[i]), 1);
        bin.axis[i] = loops[i].index;
        line =
            index_op(r, INDEX_ADD, index_op(r, INDEX_MUL, line, index_of(r, shape.dims[i])), loops[i].index);
    }
    bins_of_line(r, row, &shape, &bin, line, body);
    for (int i = shape.rank - 2; i >= 0; i--) o->loop_end(r->e, &loops[i]);
}

static Em strided_place(Rows *r, Em at, const int64_t *stride, const FftShape *shape, const Bin *bin) {
    for (int i = 0; i < shape->rank; i++)
        at = index_op(r, INDEX_ADD, at, index_op(r, INDEX_MUL, bin->axis[i], index_of(r, stride[i])));
    return at;
}

static Em table_value(Rows *r, const Table *table, const FftShape *shape, const Bin *bin) {
    const EmitterOps *o = r->e->ops;
    EmType type = em_type_of(shape->dtype);
    if (table->is_constant) return o->constant(r->e, type, table->constant);
    Em at = strided_place(r, rows_affine(r, &table->at), table->stride, shape, bin);
    return o->load(r->e, rows_base(r, table->node), shape->dtype, at, table->stride[shape->rank - 1],
                   bin->lanes, (Em){0});
}

/* ---- Transforms ---- */

static Em plan_of(Rows *r, int row) {
    Em plans = r->e->ops->load_pointer(r->e, r->params[0], offsetof(KernelContext, plans));
    return r->e->ops->load_pointer(r->e, plans,
                                   program_fft(r->program, r->k->rows[row].node) * (int64_t)sizeof(void *));
}

/* Generated code where the generator covers the length or no library may be called, else the runtime's plan.
 */
static void call_transform(Rows *r, int row, bool inverse, int64_t real, int64_t spectrum) {
    FftShape shape = rows_fft_shape(r, row);
    Em x = scratch_at(r, real), s = scratch_at(r, spectrum);
    char name[80];
    if (fft_is_generated(&shape) || r->graph->self_contained) {
        (fft_is_generated(&shape) ? fft_function_name : general_fft_name)(&shape, inverse, name);
        r->e->ops->call(r->e, name, (Em[]){x, s, scratch_at(r, r->fft_work)}, 3);
    } else if (inverse) {
        r->e->ops->call(r->e, "frax_kernel_fft_inverse", (Em[]){plan_of(r, row), s, x}, 3);
    } else {
        r->e->ops->call(r->e, "frax_kernel_fft_forward", (Em[]){plan_of(r, row), x, s}, 3);
    }
}

/* The zeros after a row that are part of its transform, which leaves them as they are. */
static void zero_tail(Rows *r, int row, int input) {
    const EmitterOps *o = r->e->ops;
    FftShape shape = rows_fft_shape(r, row);
    Em zero = o->constant(r->e, em_type_of(shape.dtype), 0);
    EmLoop loop = o->loop_begin(r->e, index_of(r, kernel_inner_size(r->k)), index_of(r, points(&shape)), 1);
    o->store(r->e, scratch_at(r, r->row[row][input]), shape.dtype, loop.index, 1, zero, (Em){0});
    o->loop_end(r->e, &loop);
}

static void transform_input(Rows *r, int row, int input) {
    int owner = row, slot = input;
    rows_slot_owner(r, row, input, &owner, &slot);
    if (r->transformed[owner][slot]) return;
    r->transformed[owner][slot] = true;
    if (row_node(r, owner)->op == OP_spectral && filters_in_place(r, owner)) zero_tail(r, owner, slot);
    call_transform(r, row, false, r->row[row][input], r->spectrum[row][input]);
}

static double inverse_count(const FftShape *shape) {
    double n = 1;
    for (int i = 0; i < shape->rank; i++) n *= (double)shape->dims[i];
    return 1 / n;
}

/* K·X/n */
static void multiply_bin(Rows *r, int row, const FftShape *shape, const Bin *bin) {
    const EmitterOps *o = r->e->ops;
    const RowOp *op = &r->k->rows[row];
    Em xr, xi, scale[2];
    for (int t = 0; t < 2; t++)
        scale[t] = o->constant(r->e, em_type_of(shape->dtype),
                               op->tables[t].negated ? -inverse_count(shape) : inverse_count(shape));
    o->load_complex(r->e, scratch_at(r, r->spectrum[row][0]), shape->dtype, bin->dense, bin->lanes, &xr, &xi);
    Em kr = o->arith(r->e, OP_mul, table_value(r, &op->tables[0], shape, bin), scale[0]);
    Em ki = o->arith(r->e, OP_mul, table_value(r, &op->tables[1], shape, bin), scale[1]);
    Em re = o->arith(r->e, OP_mul, kr, xr), im = o->arith(r->e, OP_mul, kr, xi);
    if (!op->tables[1].is_constant || op->tables[1].constant != 0) {
        re = o->arith(r->e, OP_sub, re, o->arith(r->e, OP_mul, ki, xi));
        im = o->arith(r->e, OP_add, im, o->arith(r->e, OP_mul, ki, xr));
    }
    o->store_complex(r->e, scratch_at(r, r->product[row]), shape->dtype, bin->dense, re, im);
}

static void run_spectral(Rows *r, int row) {
    transform_input(r, row, 0);
    for_bins(r, row, multiply_bin);
    call_transform(r, row, true, r->result[row], r->product[row]);
}

/* ---- Spectra as results ---- */

const Store *rows_spectrum_store(const Rows *r, int row, Part part) {
    for (size_t i = 0; i < r->k->nstores; i++) {
        const Store *store = &r->k->stores[i];
        if (store->row == row && graph_node(r->graph, store->node)->attrs->part == part) return store;
    }
    return NULL;
}

static void store_bin(Rows *r, const Store *store, const FftShape *shape, const Bin *bin, Em value) {
    Em at = strided_place(r, rows_affine(r, &store->at), store->stride, shape, bin);
    value = r->e->ops->splat(r->e, value, bin->lanes);
    r->e->ops->store(r->e, rows_base(r, store->node), shape->dtype, at, store->stride[shape->rank - 1], value,
                     (Em){0});
}

static void rfft_bin(Rows *r, int row, const FftShape *shape, const Bin *bin) {
    Em part[2];
    r->e->ops->load_complex(r->e, scratch_at(r, r->spectrum[row][0]), shape->dtype, bin->dense, bin->lanes,
                            &part[0], &part[1]);
    for (int p = 0; p < 2; p++) {
        const Store *store = rows_spectrum_store(r, row, (Part)p);
        if (store) store_bin(r, store, shape, bin, part[p]);
    }
}

/* Bytes of one part of a partial spectrum, and where those of an operation start in a block's share of the
 * workspace. */
static int64_t part_bytes(const Rows *r, int row) {
    FftShape shape = rows_fft_shape(r, row);
    int64_t elements = r->pairs ? pairs_spectrum_elements(r) : bins(&shape);
    return (elements * (int64_t)frax_dtype_size(shape.dtype) + 63) / 64 * 64;
}

static int64_t partial_offset(const Rows *r, int row) {
    int64_t offset = 0;
    for (int i = 0; i < row; i++)
        if (row_node(r, i)->op == OP_cross_spectrum) offset += 2 * part_bytes(r, i);
    return offset;
}

Em rows_partial_spectrum(Rows *r, Em block, int row, Part part) {
    Em workspace = r->e->ops->load_pointer(r->e, r->params[0], offsetof(KernelContext, workspace));
    int64_t offset = partial_offset(r, row) + part * part_bytes(r, row);
    Em bytes = index_op(r, INDEX_MUL, block, index_of(r, partial_offset(r, (int)r->k->nrows)));
    return r->e->ops->pointer(r->e, workspace, index_op(r, INDEX_ADD, bytes, index_of(r, offset)));
}

/* 2/n in general, 1/n at the first bin of the last axis and at its last if n is even. */
static Em bin_weight(Rows *r, const FftShape *shape, const Bin *bin) {
    const EmitterOps *o = r->e->ops;
    EmType type = em_type_of(shape->dtype);
    int64_t n = shape->dims[shape->rank - 1];
    double w = inverse_count(shape);
    Em k = o->index_lanes(r->e, bin->axis[shape->rank - 1], 1, bin->lanes);
    Em edge = o->arith(r->e, OP_eq, k, index_of(r, 0));
    if (n % 2 == 0) edge = o->arith(r->e, OP_or, edge, o->arith(r->e, OP_eq, k, index_of(r, n / 2)));
    return o->select(r->e, edge, o->constant(r->e, type, w), o->constant(r->e, type, 2 * w));
}

static void cross_bin(Rows *r, int row, const FftShape *shape, const Bin *bin) {
    const EmitterOps *o = r->e->ops;
    Em x[2], y[2], part[2], w = bin_weight(r, shape, bin);
    o->load_complex(r->e, scratch_at(r, r->spectrum[row][0]), shape->dtype, bin->dense, bin->lanes, &x[0],
                    &x[1]);
    o->load_complex(r->e, scratch_at(r, r->spectrum[row][1]), shape->dtype, bin->dense, bin->lanes, &y[0],
                    &y[1]);
    part[0] = o->arith(r->e, OP_add, o->arith(r->e, OP_mul, x[0], y[0]), o->arith(r->e, OP_mul, x[1], y[1]));
    part[1] = o->arith(r->e, OP_sub, o->arith(r->e, OP_mul, x[0], y[1]), o->arith(r->e, OP_mul, x[1], y[0]));
    for (int p = 0; p < 2; p++) {
        const Store *store = rows_spectrum_store(r, row, (Part)p);
        Em value = o->arith(r->e, OP_mul, part[p], w);
        if (!store) continue;
        if (!r->k->nsummed) {
            store_bin(r, store, shape, bin, value);
            continue;
        }
        Em base = rows_partial_spectrum(r, r->block, row, (Part)p);
        Em sum = o->load(r->e, base, shape->dtype, bin->dense, 1, bin->lanes, (Em){0});
        o->store(r->e, base, shape->dtype, bin->dense, 1, o->arith(r->e, OP_add, sum, value), (Em){0});
    }
}

static void zero_bin(Rows *r, int row, const FftShape *shape, const Bin *bin) {
    const EmitterOps *o = r->e->ops;
    Em zero = o->splat(r->e, o->constant(r->e, em_type_of(shape->dtype), 0), bin->lanes);
    for (int p = 0; p < 2; p++)
        if (rows_spectrum_store(r, row, (Part)p))
            o->store(r->e, rows_partial_spectrum(r, r->block, row, (Part)p), shape->dtype, bin->dense, 1,
                     zero, (Em){0});
}

void rows_begin_block(Rows *r) {
    if (r->pairs) return;
    for (int i = 0; r->k->nsummed && i < (int)r->k->nrows; i++)
        if (row_node(r, i)->op == OP_cross_spectrum) for_bins(r, i, zero_bin);
}

/* r->block: the first block of the kept index; the sum runs over the blocks of that index in order. */
static void gather_bin(Rows *r, int row, const FftShape *shape, const Bin *bin) {
    const EmitterOps *o = r->e->ops;
    EmType type = em_type_of(shape->dtype);
    int64_t group = 1;
    for (int l = r->k->nouter - r->k->nsummed; l < r->k->nouter; l++) group *= r->k->size[l];
    int64_t blocks = (group + r->k->rows_per_block - 1) / r->k->rows_per_block;
    for (int p = 0; p < 2; p++) {
        const Store *store = rows_spectrum_store(r, row, (Part)p);
        if (!store) continue;
        Em sum = o->variable(r->e, type, bin->lanes);
        o->set(r->e, sum, o->splat(r->e, o->constant(r->e, type, 0), bin->lanes));
        EmLoop loop = o->loop_begin(r->e, r->block, index_op(r, INDEX_ADD, r->block, index_of(r, blocks)), 1);
        Em part = o->load(r->e, rows_partial_spectrum(r, loop.index, row, (Part)p), shape->dtype, bin->dense,
                          1, bin->lanes, (Em){0});
        o->set(r->e, sum, o->arith(r->e, OP_add, o->get(r->e, sum, type, bin->lanes), part));
        o->loop_end(r->e, &loop);
        store_bin(r, store, shape, bin, o->get(r->e, sum, type, bin->lanes));
    }
}

bool rows_finish_spectra(Rows *r) {
    const Kernel *k = r->k;
    int64_t group = 1;
    for (int l = k->nouter - k->nsummed; l < k->nouter; l++) group *= k->size[l];
    EmLoop loop = r->e->ops->loop_begin(r->e, r->params[2], r->params[3], 1);
    Em rest = loop.index;
    for (int l = k->nouter - 1; l >= 0; l--) {
        r->loops[l] = index_of(r, 0);
        if (l >= k->nouter - k->nsummed) continue;
        r->loops[l] = index_op(r, INDEX_REM, rest, index_of(r, k->size[l]));
        rest = index_op(r, INDEX_DIV, rest, index_of(r, k->size[l]));
    }
    r->block =
        index_op(r, INDEX_MUL, loop.index, index_of(r, (group + k->rows_per_block - 1) / k->rows_per_block));
    bool ok = !r->pairs || pairs_finish_spectra(r);
    for (int i = 0; i < (int)k->nrows && !r->pairs; i++)
        if (row_node(r, i)->op == OP_cross_spectrum) for_bins(r, i, gather_bin);
    r->e->ops->loop_end(r->e, &loop);
    return ok;
}

/* ---- Direct causal convolution ---- */

/* Zeros before the row stand for the history before its first sample; those after it fill the last vector. */
static void zero_margins(Rows *r, int row, int input) {
    const EmitterOps *o = r->e->ops;
    int64_t lead = r->lead[row], starts[] = {0, lead + kernel_inner_size(r->k)};
    Em zero = o->constant(r->e, em_type_of(row_dtype(r, row)), 0);
    for (size_t i = 0; i < COUNT(starts); i++) {
        EmLoop loop = o->loop_begin(r->e, index_of(r, starts[i]), index_of(r, starts[i] + lead), 1);
        o->store(r->e, scratch_at(r, r->row[row][input]), row_dtype(r, row), loop.index, 1, zero, (Em){0});
        o->loop_end(r->e, &loop);
    }
}

void rows_zero_margins(Rows *r) {
    if (r->pairs) return;
    for (int i = 0; i < (int)r->k->nrows; i++)
        for (int n = 0; n < r->k->rows[i].ninputs; n++) {
            Op op = row_node(r, i)->op;
            if (!owns_slot(r, i, n)) continue;
            if (is_direct(op)) zero_margins(r, i, n);
            if (is_spectral(op) && (op != OP_spectral || !filters_in_place(r, i))) zero_tail(r, i, n);
        }
}

static Em weight_at(Rows *r, const Table *w, FraxDType dtype, Em j) {
    const EmitterOps *o = r->e->ops;
    if (w->is_constant) return o->constant(r->e, em_type_of(dtype), w->constant);
    Em at =
        index_op(r, INDEX_ADD, rows_affine(r, &w->at), index_op(r, INDEX_MUL, j, index_of(r, w->stride[0])));
    return o->load(r->e, rows_base(r, w->node), dtype, at, 0, 1, (Em){0});
}

static int64_t conv_taps(const Rows *r, int row) {
    const Node *node = row_node(r, row);
    return graph_type(r->graph, node->args[0])->shape.dims[node->attrs->axis];
}

/* sums += Σ_j w[j] x[n−j] over lags first ≤ j < end, for the CONV_VECTORS vectors of n from `at` on. */
static void convolve_lags(Rows *r, int row, Em at, Em first, Em end, const Em *sums, int lanes) {
    const EmitterOps *o = r->e->ops;
    FraxDType dtype = row_dtype(r, row);
    EmType type = em_type_of(dtype);
    Em x = scratch_at(r, r->row[row][0]), lead = index_of(r, r->lead[row]);
    EmLoop loop = o->loop_begin(r->e, first, end, 1);
    Em w = o->splat(r->e, weight_at(r, &r->k->rows[row].tables[0], dtype, loop.index), lanes);
    Em start = index_op(r, INDEX_SUB, index_op(r, INDEX_ADD, at, lead), loop.index);
    for (int v = 0; v < CONV_VECTORS; v++) {
        Em part =
            o->load(r->e, x, dtype, index_op(r, INDEX_ADD, start, index_of(r, v * lanes)), 1, lanes, (Em){0});
        o->set(r->e, sums[v], o->fma(r->e, w, part, o->get(r->e, sums[v], type, lanes)));
    }
    o->loop_end(r->e, &loop);
}

static void clear_sums(Rows *r, const Em *sums, EmType type, int lanes) {
    const EmitterOps *o = r->e->ops;
    for (int v = 0; v < CONV_VECTORS; v++)
        o->set(r->e, sums[v], o->splat(r->e, o->constant(r->e, type, 0), lanes));
}

/* y[n] = Σ_{j≤n} w[j] x[n−j] for CONV_VECTORS vectors of n at a time; terms with j > n meet the zeros before
   the row. Sums of CONV_LAGS terms are added up, so that rounding grows with the root of their number alone.
 */
static void run_conv(Rows *r, int row) {
    const EmitterOps *o = r->e->ops;
    FraxDType dtype = row_dtype(r, row);
    EmType type = em_type_of(dtype);
    int64_t length = kernel_inner_size(r->k), taps = conv_taps(r, row);
    int lanes = vector_lanes(r, dtype, length);
    Em totals[CONV_VECTORS], sums[CONV_VECTORS], y = scratch_at(r, r->result[row]);
    for (int v = 0; v < CONV_VECTORS; v++) {
        totals[v] = o->variable(r->e, type, lanes);
        sums[v] = o->variable(r->e, type, lanes);
    }
    EmLoop outer = o->loop_begin(r->e, index_of(r, 0), index_of(r, length), CONV_VECTORS * lanes);
    Em end = index_op(r, INDEX_ADD, outer.index, index_of(r, CONV_VECTORS * lanes));
    Em limit = index_op(r, INDEX_MIN, end, index_of(r, taps));
    clear_sums(r, totals, type, lanes);
    if (MIN(taps, length) <= CONV_LAGS)
        convolve_lags(r, row, outer.index, index_of(r, 0), limit, totals, lanes);
    else {
        EmLoop block = o->loop_begin(r->e, index_of(r, 0), limit, CONV_LAGS);
        Em last = index_op(r, INDEX_ADD, block.index, index_of(r, CONV_LAGS));
        clear_sums(r, sums, type, lanes);
        convolve_lags(r, row, outer.index, block.index, index_op(r, INDEX_MIN, last, limit), sums, lanes);
        for (int v = 0; v < CONV_VECTORS; v++)
            o->set(r->e, totals[v],
                   o->arith(r->e, OP_add, o->get(r->e, totals[v], type, lanes),
                            o->get(r->e, sums[v], type, lanes)));
        o->loop_end(r->e, &block);
    }
    for (int v = 0; v < CONV_VECTORS; v++)
        o->store(r->e, y, dtype, index_op(r, INDEX_ADD, outer.index, index_of(r, v * lanes)), 1,
                 o->get(r->e, totals[v], type, lanes), (Em){0});
    o->loop_end(r->e, &outer);
}

/* ---- Direct correlation ---- */

static void store_lag(Rows *r, int row, const Store *store, Em lag, Em sum) {
    const EmitterOps *o = r->e->ops;
    Em at = index_op(r, INDEX_ADD, rows_affine(r, &store->at),
                     index_op(r, INDEX_MUL, lag, index_of(r, store->stride[0])));
    sum = o->reduce(r->e, OP_sum, sum);
    o->store(r->e, rows_base(r, store->node), row_dtype(r, row), at, 0, sum, (Em){0});
}

/* Lags first + k + s · lanes, k < near, s < far, which one loop over the row sums up. */
typedef struct LagTile {
    Em first;
    int near, far;
} LagTile;

/* q[j] = Σ_t y[t] x[t−j] at the lags of a tile. Vectors v = 0 … far−1 of y meet those of x at v − s, so that
   lags a whole vector apart share their loads. Zeros after the row fill the last vectors. */
static void correlate_lags(Rows *r, int row, const Store *store, const LagTile *tile) {
    const EmitterOps *o = r->e->ops;
    FraxDType dtype = row_dtype(r, row);
    EmType type = em_type_of(dtype);
    int64_t length = kernel_inner_size(r->k);
    int lanes = vector_lanes(r, dtype, length), near = tile->near, far = tile->far;
    Em sums[CORRELATION_LAGS], y[CORRELATION_LAGS], lead = index_of(r, r->lead[row]);
    Em from_x = scratch_at(r, r->row[row][0]), from_y = scratch_at(r, r->row[row][1]);
    for (int i = 0; i < near * far; i++) {
        sums[i] = o->variable(r->e, type, lanes);
        o->set(r->e, sums[i], o->splat(r->e, o->constant(r->e, type, 0), lanes));
    }
    EmLoop loop = o->loop_begin(r->e, tile->first, index_of(r, length), far * lanes);
    Em now = index_op(r, INDEX_ADD, loop.index, lead), past = index_op(r, INDEX_SUB, now, tile->first);
    for (int v = 0; v < far; v++)
        y[v] = o->load(r->e, from_y, dtype, index_op(r, INDEX_ADD, now, index_of(r, v * lanes)), 1, lanes,
                       (Em){0});
    for (int k = 0; k < near; k++)
        for (int apart = 1 - far; apart < far; apart++) {
            Em at = index_op(r, INDEX_ADD, past, index_of(r, apart * lanes - k));
            Em x = o->load(r->e, from_x, dtype, at, 1, lanes, (Em){0});
            for (int s = MAX(0, -apart); s < far && s + apart < far; s++) {
                Em sum = sums[k * far + s];
                o->set(r->e, sum, o->fma(r->e, y[s + apart], x, o->get(r->e, sum, type, lanes)));
            }
        }
    o->loop_end(r->e, &loop);
    for (int i = 0; i < near * far; i++) {
        Em lag = index_op(r, INDEX_ADD, tile->first, index_of(r, i / far + i % far * lanes));
        store_lag(r, row, store, lag, o->get(r->e, sums[i], type, lanes));
    }
}

/* The lags below `done` that fill tiles of whole vectors; the rest follow in tiles of neighbours. */
static void run_correlation(Rows *r, int row) {
    const EmitterOps *o = r->e->ops;
    const Store *store = NULL;
    for (size_t i = 0; i < r->k->nstores; i++)
        if (r->k->stores[i].row == row) store = &r->k->stores[i];
    int lanes = vector_lanes(r, row_dtype(r, row), kernel_inner_size(r->k));
    int far = r->e->vector_bytes >= 64 ? CONV_VECTORS : CONV_VECTORS / 2, near = MIN(2, lanes);
    int64_t lags = row_node(r, row)->attrs->n, across = (int64_t)far * lanes, done = lags / across * across;
    EmLoop outer = o->loop_begin(r->e, index_of(r, 0), index_of(r, done), across);
    EmLoop inner = o->loop_begin(r->e, index_of(r, 0), index_of(r, lanes), near);
    Em first = index_op(r, INDEX_ADD, outer.index, inner.index);
    correlate_lags(r, row, store, &(LagTile){first, near, far});
    o->loop_end(r->e, &inner);
    o->loop_end(r->e, &outer);
    int64_t whole = done + (lags - done) / CORRELATION_LAGS * CORRELATION_LAGS;
    EmLoop loop = o->loop_begin(r->e, index_of(r, done), index_of(r, whole), CORRELATION_LAGS);
    correlate_lags(r, row, store, &(LagTile){loop.index, CORRELATION_LAGS, 1});
    o->loop_end(r->e, &loop);
    if (lags > whole) correlate_lags(r, row, store, &(LagTile){index_of(r, whole), (int)(lags - whole), 1});
}

/* ---- Weights ---- */

/* w_0 = 1, w_j = w_{j−1}(j−1−α)/j (Podlubny 1999, eq. 7.23): a product recursion, accurate at any length. Its
   m-th derivative in α runs beside those below it: w^(m)_j = w^(m)_{j−1}(j−1−α)/j − m w^(m−1)_{j−1}/j. */
static void run_weights(Rows *r, int row) {
    const EmitterOps *o = r->e->ops;
    int order = (int)row_node(r, row)->attrs->m;
    Em alpha = rows_value(r, r->k->rows[row].inputs[0]), y = scratch_at(r, r->result[row]),
       one = o->constant(r->e, EM_F64, 1), w[MAX_WEIGHTS_ORDER + 1];
    for (int m = 0; m <= order; m++) {
        Em start = o->constant(r->e, EM_F64, m == 0);
        w[m] = o->variable(r->e, EM_F64, 1);
        o->set(r->e, w[m], start);
        if (m == order) o->store(r->e, y, FRAX_F64, index_of(r, 0), 1, start, (Em){0});
    }
    EmLoop loop = o->loop_begin(r->e, index_of(r, 1), index_of(r, kernel_inner_size(r->k)), 1);
    Em j = o->convert(r->e, loop.index, EM_F64);
    Em factor = o->arith(r->e, OP_sub, o->arith(r->e, OP_sub, j, one), alpha);
    factor = o->arith(r->e, OP_div, factor, j);
    Em share = o->arith(r->e, OP_div, o->constant(r->e, EM_F64, -1), j);
    for (int m = order; m >= 0; m--) {
        Em next = o->arith(r->e, OP_mul, o->get(r->e, w[m], EM_F64, 1), factor);
        if (m > 0) {
            Em below = o->arith(r->e, OP_mul, share, o->constant(r->e, EM_F64, m));
            next = o->fma(r->e, below, o->get(r->e, w[m - 1], EM_F64, 1), next);
        }
        o->set(r->e, w[m], next);
    }
    o->store(r->e, y, FRAX_F64, loop.index, 1, o->get(r->e, w[order], EM_F64, 1), (Em){0});
    o->loop_end(r->e, &loop);
}

void rows_run_row_ops(Rows *r, int stage) {
    if (stage == 0)
        for (int i = 0; i < MAX_ROW_OPS; i++) r->transformed[i][0] = r->transformed[i][1] = false;
    for (int i = 0; i < (int)r->k->nrows; i++) {
        if (r->k->rows[i].stage != stage) continue;
        switch (row_node(r, i)->op) {
        case OP_spectral: run_spectral(r, i); break;
        case OP_rfft:
            transform_input(r, i, 0);
            for_bins(r, i, rfft_bin);
            break;
        case OP_cross_spectrum:
            transform_input(r, i, 0);
            transform_input(r, i, 1);
            for_bins(r, i, cross_bin);
            break;
        case OP_causal_conv: run_conv(r, i); break;
        case OP_causal_correlation: run_correlation(r, i); break;
        case OP_exponential_conv:
        case OP_exponential_correlation: rows_run_recurrence(r, i); break;
        default: run_weights(r, i); break;
        }
    }
}
