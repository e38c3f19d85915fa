/* long_fft.c — complex transforms of long rows, in natural order: see long_fft.h.
 *
 * n = R·C points are a matrix, j = j₁·C + j₂ and k = k₁ + R·k₂ (Bailey 1990):
 *
 *     X_k = Σ_{j₂} w_C^{j₂k₂} · w_n^{j₂k₁} · Σ_{j₁} w_R^{j₁k₁} x_j.
 *
 * Columns and rows are transformed by the transforms of pairs, which are short enough for the cache: columns
 * as many side by side as a line or two of the cache hold, so that memory is read and written in whole lines.
 * What lies between is kept in rows whose distance is no multiple of the cache's ways.
 *
 * Lengths with large prime factors are a convolution with a chirp (general_fft.c), whose filter has R·C ≥ 2n
 * − 1 points. There rows stay in the order that their transform leaves them in: forward, times the filter,
 * and back in one go. The filter's spectrum would be a table of 2·R·C numbers, so it is computed where it is
 * used, at the cost of one more transform beside the two; many transforms at one place share it.
 *
 * Nothing in the code grows with n; tables grow as √n.
 */
#include "long_fft.h"
#include "pair_fft.h"
#include <math.h>

/* LINE: bytes of columns taken side by side, two lines of the cache, which are fetched together. PAD:
   elements between planes, so that they lie at unequal offsets of a page. */
enum { LINE = 128, PAD = 272, WHOLE_TABLE = 2048, ROW_UNIT = 64, MOST_LANES = 16 };

static const long double pi = 3.14159265358979323846264338327950288L;

/* ---- Roots of unity ---- */

bool roots_make(Emitter *e, int64_t n, Roots *roots) {
    int64_t block = 64;
    while (block < n && (n <= WHOLE_TABLE || block * block < n)) block *= 2;
    int64_t blocks = (n + block - 1) / block;
    double *values = mem_alloc(sizeof *values * (size_t)(2 * MAX(block, blocks)));
    *roots = (Roots){.n = n, .block = block};
    if (!values) return false;
    for (int64_t i = 0; i < blocks; i++) {
        long double angle = -2 * pi * (long double)(i * block) / (long double)n;
        values[2 * i] = (double)cosl(angle);
        values[2 * i + 1] = (double)sinl(angle);
    }
    roots->high = e->ops->table(e, FRAX_F64, values, 2 * blocks);
    for (int64_t i = 0; i < block; i++) {
        long double angle = -2 * pi * (long double)(i % n) / (long double)n;
        values[i] = (double)cosl(angle);
        values[block + i] = (double)sinl(angle);
    }
    roots->low = e->ops->table(e, FRAX_F64, values, 2 * block);
    mem_free(values);
    return true;
}

static Em index_plus(Emitter *e, Em a, int64_t b) {
    return b ? e->ops->index_op(e, INDEX_ADD, a, e->ops->index(e, b)) : a;
}

static Em index_times(Emitter *e, Em a, int64_t b) {
    return b == 1 ? a : e->ops->index_op(e, INDEX_MUL, a, e->ops->index(e, b));
}

static Em load_f64(Emitter *e, Em table, Em at, int lanes) {
    return e->ops->load(e, table, FRAX_F64, at, 1, lanes, (Em){0});
}

static Root complex_product(Emitter *e, Root a, Root b) {
    const EmitterOps *o = e->ops;
    return (Root){o->arith(e, OP_sub, o->arith(e, OP_mul, a.re, b.re), o->arith(e, OP_mul, a.im, b.im)),
                  o->arith(e, OP_add, o->arith(e, OP_mul, a.re, b.im), o->arith(e, OP_mul, a.im, b.re))};
}

Root root_product(Emitter *e, Root a, Root b, EmType type) {
    Root w = complex_product(e, a, b);
    return (Root){e->ops->convert(e, w.re, type), e->ops->convert(e, w.im, type)};
}

Root root_of_block(Emitter *e, const Roots *roots, Em block) {
    Em at = index_times(e, block, 2);
    return (Root){load_f64(e, roots->high, at, 1), load_f64(e, roots->high, index_plus(e, at, 1), 1)};
}

Root root_within(Emitter *e, const Roots *roots, Em first, int lanes) {
    return (Root){load_f64(e, roots->low, first, lanes),
                  load_f64(e, roots->low, index_plus(e, first, roots->block), lanes)};
}

Root root_at(Emitter *e, const Roots *roots, Em exponent) {
    if (roots->block >= roots->n) return root_within(e, roots, exponent, 1);
    Em block = e->ops->index(e, roots->block);
    Root high = root_of_block(e, roots, e->ops->index_op(e, INDEX_DIV, exponent, block));
    Root low = root_within(e, roots, e->ops->index_op(e, INDEX_REM, exponent, block), 1);
    return complex_product(e, high, low);
}

/* ---- Plans ---- */

bool is_smooth(int64_t n) {
    static const int primes[] = {2, 3, 5, 7};
    for (size_t i = 0; i < COUNT(primes); i++)
        while (n > 0 && n % primes[i] == 0) n /= primes[i];
    return n == 1;
}

static int64_t square_root(int64_t n) {
    int64_t root = (int64_t)sqrtl((long double)n);
    while (root * root > n) root--;
    return root;
}

/* Rows of whole vectors, which the transform of a single row wants; the fewest points that will do. */
static void choose_filter(LongPlan *p) {
    int64_t least = 2 * p->n - 1, first = ROW_UNIT, best = INT64_MAX;
    while (4 * first * first <= least) first *= 2;
    for (int64_t columns = first; columns <= 2 * first; columns *= 2) {
        int64_t rows = MAX((least + columns - 1) / columns, ROW_UNIT);
        while (!is_smooth(rows)) rows++;
        if (rows * columns >= best) continue;
        best = rows * columns;
        p->rows = rows;
        p->columns = columns;
    }
}

static int64_t line_elements(const LongPlan *p) {
    return LINE / (int64_t)frax_dtype_size(p->dtype);
}

LongPlan long_fft_plan(FraxDType dtype, int64_t n) {
    LongPlan p = {.dtype = dtype, .n = n, .chirped = !is_smooth(n)};
    if (p.chirped) {
        choose_filter(&p);
    } else {
        p.rows = square_root(n);
        while (n % p.rows) p.rows--;
        p.columns = n / p.rows;
    }
    int64_t lines = (p.columns + line_elements(&p) - 1) / line_elements(&p);
    p.pitch = (lines | 1) * line_elements(&p);
    p.signal = (n + p.columns - 1) / p.columns;
    return p;
}

int64_t long_fft_elements(const LongPlan *p) {
    return p->signal * p->columns;
}

static int64_t matrix_plane(const LongPlan *p) {
    return p->rows * p->pitch + PAD;
}

static int64_t buffer_plane(const LongPlan *p) {
    return MAX(p->rows, p->columns) * line_elements(p) + PAD;
}

static int64_t chirp_plane(const LongPlan *p) {
    return long_fft_elements(p) + PAD;
}

int64_t long_fft_work(const LongPlan *p) {
    int64_t chirp = p->chirped ? matrix_plane(p) + chirp_plane(p) : 0;
    return 2 * (matrix_plane(p) + buffer_plane(p) + chirp);
}

/* ---- Emission ---- */

typedef struct Planes {
    Em part[2];
} Planes;

typedef struct Long {
    Emitter *e;
    const LongPlan *plan;
    PairPlan across; /* of several columns side by side */
    int lanes, groups;
    Planes signal, matrix, buffer, filter, chirp;
    Roots roots;
    Em bins;                    /* bin at each position of `across` */
    Em lane_factors;            /* w^{k·lane} at each position, k its bin */
    Em column;                  /* the first of a group */
    bool in_order, times_chirp; /* rows by their bins; the signal */
} Long;

static Em index_of(Long *t, int64_t value) {
    return t->e->ops->index(t->e, value);
}

static Em plus(Long *t, Em a, Em b) {
    return t->e->ops->index_op(t->e, INDEX_ADD, a, b);
}

static Em element(Long *t, Em row, int64_t pitch, Em column) {
    return plus(t, index_times(t->e, row, pitch), column);
}

static EmLoop loop_to(Long *t, int64_t end, int64_t step) {
    return t->e->ops->loop_begin(t->e, index_of(t, 0), index_of(t, end), step);
}

static void loop_end(Long *t, EmLoop *loop) {
    t->e->ops->loop_end(t->e, loop);
}

static Root load(Long *t, Planes p, Em at) {
    Em z[2];
    for (int i = 0; i < 2; i++)
        z[i] = t->e->ops->load(t->e, p.part[i], t->plan->dtype, at, 1, t->lanes, (Em){0});
    return (Root){z[0], z[1]};
}

static void store(Long *t, Planes p, Em at, Root z) {
    t->e->ops->store(t->e, p.part[0], t->plan->dtype, at, 1, z.re, (Em){0});
    t->e->ops->store(t->e, p.part[1], t->plan->dtype, at, 1, z.im, (Em){0});
}

static Em offset(Long *t, Em base, Em elements) {
    return t->e->ops->pointer(t->e, base,
                              index_times(t->e, elements, (int64_t)frax_dtype_size(t->plan->dtype)));
}

static Root conjugate(Long *t, Root z) {
    Em zero = t->e->ops->constant(t->e, z.im.type, -0.0);
    return (Root){z.re, t->e->ops->arith(t->e, OP_sub, zero, z.im)};
}

static void split_work(Long *t, Em work) {
    const LongPlan *p = t->plan;
    Planes *planes[] = {&t->matrix, &t->buffer, &t->filter, &t->chirp};
    int64_t sizes[] = {matrix_plane(p), buffer_plane(p), matrix_plane(p), chirp_plane(p)}, at = 0;
    for (size_t i = 0; i < COUNT(planes) && (i < 2 || p->chirped); i++)
        for (int part = 0; part < 2; part++, at += sizes[i])
            planes[i]->part[part] = offset(t, work, index_of(t, at));
}

/* The bins at the positions of a plan, as a table. */
static bool bins_table(Long *t, const PairPlan *plan, Em *table, int64_t *bins) {
    double *values = mem_alloc(sizeof *values * (size_t)plan->positions);
    if (!values) return false;
    pair_fft_order(plan, bins);
    for (int64_t i = 0; i < plan->positions; i++) values[i] = (double)bins[i];
    *table = t->e->ops->table(t->e, FRAX_I32, values, plan->positions);
    mem_free(values);
    return true;
}

static bool lanes_table(Long *t, const int64_t *bins) {
    int64_t rows = t->plan->rows, points = rows * t->plan->columns;
    double *values = mem_alloc(sizeof *values * (size_t)(2 * rows * t->lanes));
    if (!values) return false;
    for (int64_t p = 0; p < rows; p++)
        for (int lane = 0; lane < t->lanes; lane++) {
            long double angle = -2 * pi * (long double)(bins[p] * lane) / (long double)points;
            values[2 * p * t->lanes + lane] = (double)cosl(angle);
            values[(2 * p + 1) * t->lanes + lane] = (double)sinl(angle);
        }
    t->lane_factors = t->e->ops->table(t->e, t->plan->dtype, values, 2 * rows * t->lanes);
    mem_free(values);
    return true;
}

static bool begin(Long *t, Em work) {
    const LongPlan *p = t->plan;
    t->across = pair_fft_plan_wide(p->dtype, p->rows, t->e->vector_bytes);
    t->lanes = pair_fft_width(&t->across);
    t->groups = (int)line_elements(p) / t->lanes;
    split_work(t, work);
    int64_t *bins = mem_alloc(sizeof *bins * (size_t)t->across.positions);
    bool ok = bins && bins_table(t, &t->across, &t->bins, bins) && lanes_table(t, bins) &&
              roots_make(t->e, p->rows * p->columns, &t->roots);
    mem_free(bins);
    return ok;
}

/* ---- Columns ---- */

/* w^{column·k}, k being the bin at `at`; its lanes are columns. */
static Root column_factor(Long *t, Em at, Em bin) {
    EmType type = em_type_of(t->plan->dtype);
    Root one = root_at(t->e, &t->roots, t->e->ops->index_op(t->e, INDEX_MUL, bin, t->column));
    one = (Root){t->e->ops->convert(t->e, one.re, type), t->e->ops->convert(t->e, one.im, type)};
    Em place = index_times(t->e, at, 2 * t->lanes);
    Planes table = {{t->lane_factors, offset(t, t->lane_factors, index_of(t, t->lanes))}};
    return complex_product(t->e, one, load(t, table, place));
}

static Em bin_at(Long *t, Em table, Em at) {
    Em bin = t->e->ops->load(t->e, table, FRAX_I32, at, 1, 1, (Em){0});
    return t->e->ops->convert(t->e, bin, EM_INDEX);
}

static void turn_and_store(void *context, Em at, Em *re, Em *im) {
    Long *t = context;
    Em bin = bin_at(t, t->bins, at);
    Root z = complex_product(t->e, (Root){*re, *im}, column_factor(t, at, bin));
    store(t, t->matrix, element(t, t->in_order ? bin : at, t->plan->pitch, t->column), z);
}

static void load_and_turn_back(void *context, Em at, Em *re, Em *im) {
    Long *t = context;
    Root w = conjugate(t, column_factor(t, at, bin_at(t, t->bins, at)));
    Root z = complex_product(t->e, load(t, t->matrix, element(t, at, t->plan->pitch, t->column)), w);
    *re = z.re;
    *im = z.im;
}

/* The first column of the block at c: the last block overlaps the one before, which it does again. */
static Em block_start(Long *t, Em c, int64_t count) {
    return t->e->ops->index_op(t->e, INDEX_MIN, c, index_of(t, count - line_elements(t->plan)));
}

/* Element `row` of group `group` in the buffer, whose groups hold `count` vectors. */
static Em in_buffer(Long *t, Em row, int group, int64_t count) {
    return index_plus(t->e, index_times(t->e, row, t->lanes), group * count * t->lanes);
}

/* Rows of the signal, times the chirp if there is one, between its planes and the buffer. */
static void copy_columns(Long *t, Em first, int64_t rows, bool to_buffer) {
    EmLoop loop = loop_to(t, rows, 1);
    for (int g = 0; g < t->groups; g++) {
        Em there = index_plus(t->e, element(t, loop.index, t->plan->columns, first), g * t->lanes);
        Em here = in_buffer(t, loop.index, g, t->plan->rows);
        Root z = to_buffer ? load(t, t->signal, there) : load(t, t->buffer, here);
        if (t->times_chirp) z = complex_product(t->e, z, load(t, t->chirp, there));
        store(t, to_buffer ? t->buffer : t->signal, to_buffer ? here : there, z);
    }
    loop_end(t, &loop);
}

static bool transform_group(Long *t, const PairPlan *plan, PairKind kind, Em group, PairIo io) {
    Em at = index_times(t->e, group, plan->n * t->lanes);
    io.re = offset(t, t->buffer.part[0], at);
    io.im = offset(t, t->buffer.part[1], at);
    io.context = t;
    return emit_pair_transform(t->e, plan, kind, &io);
}

/* The first `rows` rows of the signal hold all of it. */
static bool columns(Long *t, int64_t rows, bool inverse) {
    PairIo io = {.length = rows, .discard = !inverse, .bins = inverse ? load_and_turn_back : turn_and_store};
    EmLoop blocks = loop_to(t, t->plan->columns, line_elements(t->plan));
    Em first = block_start(t, blocks.index, t->plan->columns);
    if (!inverse) copy_columns(t, first, rows, true);
    EmLoop groups = loop_to(t, t->groups, 1);
    t->column = plus(t, first, index_times(t->e, groups.index, t->lanes));
    bool ok = transform_group(t, &t->across, inverse ? PAIR_INVERSE : PAIR_FORWARD, groups.index, io);
    loop_end(t, &groups);
    if (inverse) copy_columns(t, first, rows, false);
    loop_end(t, &blocks);
    return ok;
}

/* ---- Rows, to bins in order ---- */

/* Of lanes × lanes elements: by units of four lanes or more, then within them. */
static void transpose(Long *t, Em *v) {
    const EmitterOps *o = t->e->ops;
    int fours = t->lanes / 4;
    for (int i = 0; i < 4 && fours > 1; i++) {
        Em part[4];
        for (int q = 0; q < fours; q++) part[q] = v[i + 4 * q];
        o->transpose(t->e, part, fours, 4);
        for (int q = 0; q < fours; q++) v[i + 4 * q] = part[q];
    }
    for (int i = 0; i < fours; i++) o->transpose(t->e, v + 4 * i, 4, 1);
    if (t->lanes == 2) o->transpose(t->e, v, 2, 1);
}

/* Rows from `first` on, side by side in the buffer; the last columns overlap those before. */
static void copy_rows(Long *t, Em first) {
    const LongPlan *p = t->plan;
    EmLoop loop = loop_to(t, p->columns, t->lanes);
    Em column = t->e->ops->index_op(t->e, INDEX_MIN, loop.index, index_of(t, p->columns - t->lanes));
    for (int g = 0; g < t->groups; g++)
        for (int part = 0; part < 2; part++) {
            Em v[MOST_LANES];
            for (int i = 0; i < t->lanes; i++) {
                Em at = element(t, index_plus(t->e, first, g * t->lanes + i), p->pitch, column);
                v[i] = t->e->ops->load(t->e, t->matrix.part[part], p->dtype, at, 1, t->lanes, (Em){0});
            }
            transpose(t, v);
            for (int i = 0; i < t->lanes; i++) {
                Em at = in_buffer(t, index_plus(t->e, column, i), g, p->columns);
                t->e->ops->store(t->e, t->buffer.part[part], p->dtype, at, 1, v[i], (Em){0});
            }
        }
    loop_end(t, &loop);
}

static bool ordered_rows(Long *t) {
    const LongPlan *p = t->plan;
    PairPlan along = pair_fft_plan_wide(p->dtype, p->columns, t->e->vector_bytes);
    int64_t *bins = mem_alloc(sizeof *bins * (size_t)along.positions);
    Em table;
    bool ok = bins && bins_table(t, &along, &table, bins);
    mem_free(bins);
    if (!ok) return false;
    EmLoop blocks = loop_to(t, p->rows, line_elements(p));
    Em first = block_start(t, blocks.index, p->rows);
    copy_rows(t, first);
    EmLoop groups = loop_to(t, t->groups, 1);
    ok = transform_group(t, &along, PAIR_FORWARD, groups.index, (PairIo){0});
    loop_end(t, &groups);
    EmLoop loop = loop_to(t, p->columns, 1);
    Em at = element(t, bin_at(t, table, loop.index), p->rows, first);
    for (int g = 0; g < t->groups; g++)
        store(t, t->signal, index_plus(t->e, at, g * t->lanes),
              load(t, t->buffer, in_buffer(t, loop.index, g, p->columns)));
    loop_end(t, &loop);
    loop_end(t, &blocks);
    return ok;
}

/* ---- Chirps: w_j = e^{−πi j²/n} ---- */

/* Rows in place, in an order of their own. */
static bool filter_rows(Long *t, PairKind kind) {
    const LongPlan *p = t->plan;
    PairPlan along = pair_fft_plan(p->dtype, p->columns, t->e->vector_bytes);
    EmLoop loop = loop_to(t, p->rows, 1);
    Em at = index_times(t->e, loop.index, p->pitch);
    PairIo io = {.re = offset(t, t->matrix.part[0], at), .im = offset(t, t->matrix.part[1], at)};
    if (kind == PAIR_FILTER) {
        io.k_re = offset(t, t->filter.part[0], at);
        io.k_im = offset(t, t->filter.part[1], at);
    }
    bool ok = emit_pair_transform(t->e, &along, kind, &io);
    loop_end(t, &loop);
    return ok;
}

static void store_one(Long *t, Planes p, Em at, Root z, double scale) {
    EmType type = em_type_of(t->plan->dtype);
    Em factor = t->e->ops->constant(t->e, EM_F64, scale);
    z.re = t->e->ops->arith(t->e, OP_mul, z.re, factor);
    z.im = t->e->ops->arith(t->e, OP_mul, z.im, factor);
    store(t, p, at, (Root){t->e->ops->convert(t->e, z.re, type), t->e->ops->convert(t->e, z.im, type)});
}

static void store_zeros(Long *t, Planes p, int64_t first, int64_t end) {
    Em zero = t->e->ops->constant(t->e, em_type_of(t->plan->dtype), 0);
    if (first >= end) return;
    EmLoop loop = t->e->ops->loop_begin(t->e, index_of(t, first), index_of(t, end), 1);
    store(t, p, loop.index, (Root){zero, zero});
    loop_end(t, &loop);
}

/* The chirp, and conj w_j / m around j = 0, in natural order: the filter, which is even. j² stays below 2n as
   (j + 1)² = j² + 2j + 1. */
static bool store_chirp(Long *t, Planes filter) {
    const LongPlan *p = t->plan;
    const EmitterOps *o = t->e->ops;
    int64_t points = p->rows * p->columns;
    double scale = 1 / (double)points;
    Roots roots;
    if (!roots_make(t->e, 2 * p->n, &roots)) return false;
    Em square = o->variable(t->e, EM_INDEX, 1);
    o->set(t->e, square, index_of(t, 0));
    EmLoop loop = loop_to(t, p->n, 1);
    Em now = o->get(t->e, square, EM_INDEX, 1), odd = index_plus(t->e, index_times(t->e, loop.index, 2), 1);
    Root w = root_at(t->e, &roots, now);
    Em last = o->index_op(t->e, INDEX_SUB, index_of(t, points), loop.index);
    store_one(t, t->chirp, loop.index, w, 1);
    store_one(t, filter, last, conjugate(t, w), scale); /* that of j = 0 lies behind the others, in the pad */
    store_one(t, filter, loop.index, conjugate(t, w), scale);
    o->set(t->e, square, o->index_op(t->e, INDEX_REM, plus(t, now, odd), index_of(t, 2 * p->n)));
    loop_end(t, &loop);
    store_zeros(t, t->chirp, p->n, long_fft_elements(p));
    store_zeros(t, filter, p->n, points - p->n + 1);
    return true;
}

bool emit_long_prepare(Emitter *e, const LongPlan *plan, Em work) {
    Long t = {.e = e, .plan = plan};
    if (!begin(&t, work)) return false;
    t.signal = t.matrix; /* not in use yet */
    t.matrix = t.filter;
    return store_chirp(&t, t.signal) && columns(&t, plan->rows, false) && filter_rows(&t, PAIR_FORWARD);
}

/* ---- The whole ---- */

bool emit_long_dft(Emitter *e, const LongPlan *plan, Em re, Em im, Em work) {
    Long t = {.e = e, .plan = plan, .signal = {{re, im}}};
    t.times_chirp = plan->chirped;
    t.in_order = !plan->chirped;
    if (!begin(&t, work)) return false;
    if (!plan->chirped) return columns(&t, plan->rows, false) && ordered_rows(&t);
    store_zeros(&t, t.signal, plan->n, long_fft_elements(plan));
    return columns(&t, plan->signal, false) && filter_rows(&t, PAIR_FILTER) &&
           columns(&t, plan->signal, true);
}
