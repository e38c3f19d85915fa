/* spectral.c — the sweep: a fractional derivative of rows, over lengths, batches, dtypes, threads, forward
 * and with the gradients of mean(y^2) in x and in a learnt order.
 *
 * In turn run frax fused, frax eager, the same by hand on FFTW in two ways (fftw.c), and a copy of the rows,
 * which is the floor: x read once, y written once. Before, the results of all are compared. A batch is one
 * row, 32 of them, or as many as fill 4 MB. Two further parts: causal convolution by padded
 * transforms, and what pointwise operations around the spectral kernel cost.
 */
#include "bench.h"
#include <omp.h>
#include <string.h>

enum { ARRAY_BYTES = 4 << 20, ROWS_MULTIPLE = 16, SOME_ROWS = 32 };
static const double ORDER = 0.7, STEP = 0.1;

static const int64_t lengths[] = {32,   64,   96,   128,  256,  360,   512,   1000, 1024,
                                  1536, 2048, 4096, 5000, 8192, 16384, 32768, 65536};

/* What the fused forward pass is to reach, one thread, f32, full batches; limits of 0 set no bar. */
static const struct Goal {
    int64_t length;
    double guru, naive, copy;
} goals[] = {
    {32, 0, 3.5, 2.4},     {64, 0, 3.5, 2.4},    {128, 0, 3.5, 2.4},
    {256, 1.5, 3.5, 2.4},  {512, 1.5, 3.5, 2.4}, {1024, 1.8, 3.5, 2.4},
    {2048, 1.8, 3.5, 3.0}, {4096, 2, 3.5, 3.0},  {8192, 2.5, 3.5, 3.0},
};

/* Where forward and gradient are to take a quarter of the eager target's time. */
static const struct { int64_t batch, length; } gradient_goals[] = {{32, 128}, {32, 1024}, {64, 4096}};

/* %s is the dtype. The order of the forward passes is fixed, as is K. */
static const char models[] = "model forward(x: %1$s[B, N]) {\n"
                             "    y = frac(x, 0.7, kind=weyl, step=0.1)\n"
                             "    return y\n"
                             "}\n"
                             "model gradient(x: %1$s[B, N]) {\n"
                             "    param order: %1$s = 0.7\n"
                             "    y    = frac(x, order, kind=weyl, step=0.1)\n"
                             "    loss = mean(y^2)\n"
                             "    return loss, y\n"
                             "}\n"
                             "model causal(x: %1$s[B, N]) {\n"
                             "    y = frac(x, 0.7, kind=grunwald, engine=fft)\n"
                             "    return y\n"
                             "}\n"
                             "model chain(x: %1$s[B, N]) {\n"
                             "    a = max(0.5 * x + 0.1, -2)\n"
                             "    b = frac(a * abs(a), 0.7, kind=weyl, step=0.1)\n"
                             "    y = min(2 * b - 1, 8) * b\n"
                             "    return y\n"
                             "}\n";

/* ---- One point of the sweep ---- */

static FraxStatus open_model(Suite *s, const Point *p, const char *name, int threads, Pair *pair) {
    static const char *const wrt[] = {"order", "x"};
    char text[sizeof models + 64];
    Sizes sizes = SIZES(B, p->batch, N, p->length);
    FraxOptions options = options_for(&sizes, threads, p->gradient ? FRAX_REVERSE : FRAX_FORWARD);
    FraxModel *model;
    snprintf(text, sizeof text, models, frax_dtype_name(p->dtype));
    FraxStatus status = frax_model_parse(text, "spectral.c", name, &model, &s->err);
    if (status) return status;
    options.wrt = wrt;
    options.nwrt = p->gradient ? COUNT(wrt) : 0;
    status = pair_open(pair, model, &options, &s->err);
    if (!status) status = pair_compare(pair, &s->err);
    frax_model_destroy(model);
    return status;
}

static FraxStatus open_baselines(Suite *s, const Point *p, const Pair *pair, int threads,
                                 Baseline *baselines[BASELINES]) {
    BaselineSpec spec = {.dtype = p->dtype,
                         .rows = p->batch,
                         .n = p->length,
                         .causal = p->causal,
                         .gradient = p->gradient,
                         .threads = threads,
                         .order = ORDER,
                         .step = p->causal ? 1 : STEP};
    FraxStatus status = FRAX_OK;
    for (int k = 0; k < BASELINES && !status; k++) {
        status = baseline_create(&spec, (BaselineKind)k, pair->inputs[0], &baselines[k], &s->err);
        if (status || !baselines[k]) continue;
        status = baseline_run(baselines[k], &s->err);
        if (!status) status = baseline_compare(baselines[k], pair, &s->err);
    }
    return status;
}

static FraxStatus time_point(Suite *s, Pair *pair, Baseline *baselines[BASELINES], Row *row) {
    FraxTensor input = frax_executable_type(pair->exe[FUSED], FRAX_INPUT, 0);
    Copy copy = {.from = pair->inputs[0], .bytes = type_bytes_of(&input), .threads = row->threads};
    Contestant all[3 + BASELINES] = {{run_fused, pair}, {run_eager, pair}, {run_copy, &copy}};
    double *results[3 + BASELINES] = {&row->fused, &row->eager, &row->copy};
    double *by_hand[BASELINES] = {[GURU] = &row->guru, [NAIVE] = &row->naive};
    size_t n = 3;
    for (int k = 0; k < BASELINES; k++) {
        if (!baselines[k]) continue;
        all[n] = (Contestant){baseline_run, baselines[k]};
        results[n++] = by_hand[k];
    }
    copy.to = mem_aligned(copy.bytes);
    if (!copy.to) return fail_memory(&s->err, "the copy");
    FraxStatus status = time_in_turn(all, n, &s->settings, &row->repeat, &s->err);
    mem_free(copy.to);
    for (size_t i = 0; i < n; i++) *results[i] = all[i].seconds;
    return status;
}

static int64_t full_batch(FraxDType dtype, int64_t length) {
    int64_t rows = ARRAY_BYTES / (length * (int64_t)frax_dtype_size(dtype));
    return rows > ROWS_MULTIPLE ? rows - rows % ROWS_MULTIPLE : rows;
}

static void add_bar(Row *row, BarKind kind, double limit, double value) {
    size_t i = 0;
    while (row->bars[i].kind != BAR_NONE) i++;
    if (limit > 0 && isfinite(value) && value > 0) row->bars[i] = (Bar){kind, limit, value};
}

static void set_bars(Row *row) {
    const Point *p = &row->point;
    if (p->dtype != FRAX_F32 || row->threads != 1) return;
    if (p->causal)
        add_bar(row, BAR_GURU, p->length >= 256 && p->length <= 8192 ? 2 : 0, row->guru / row->fused);
    for (size_t i = 0; p->gradient && i < COUNT(gradient_goals); i++)
        if (gradient_goals[i].batch == p->batch && gradient_goals[i].length == p->length)
            add_bar(row, BAR_EAGER, 4, row->eager / row->fused);
    if (p->causal || p->gradient || !p->full) return;
    for (size_t i = 0; i < COUNT(goals); i++) {
        if (goals[i].length != p->length) continue;
        add_bar(row, BAR_GURU, goals[i].guru, row->guru / row->fused);
        add_bar(row, BAR_NAIVE, goals[i].naive, row->naive / row->fused);
        add_bar(row, BAR_COPY, goals[i].copy, row->fused / row->copy);
    }
}

static FraxStatus run_point(Suite *s, const Point *p, int threads) {
    static const char *const names[] = {"forward", "gradient", "causal"};
    Row row = {.threads = threads, .point = *p};
    Baseline *baselines[BASELINES] = {NULL};
    Pair pair = {0};
    snprintf(row.name, sizeof row.name, "spectral %s %lldx%lld %s", frax_dtype_name(p->dtype),
             (long long)p->batch, (long long)p->length,
             p->gradient ? "forward+gradient"
             : p->causal ? "causal"
                         : "forward");
    if (!wanted(s, row.name)) return FRAX_OK;
    FraxStatus status = open_model(s, p, names[p->gradient ? 1 : p->causal ? 2 : 0], threads, &pair);
    if (!status) status = open_baselines(s, p, &pair, threads, baselines);
    if (!status) status = time_point(s, &pair, baselines, &row);
    set_bars(&row);
    if (!status) status = add_row(s, &row);
    for (int k = 0; k < BASELINES; k++) baseline_destroy(baselines[k]);
    pair_close(&pair);
    return status;
}

/* ---- Which points ---- */

static bool power_of_two(int64_t n) {
    return (n & (n - 1)) == 0;
}

/* A quick run keeps to what has bars or stands on the chart up to 8192 samples, and to one length that is no
   power of two, one of f64 and one of several threads. */
static bool in_quick_run(const Point *p, int threads) {
    for (size_t i = 0; p->gradient && !p->full && i < COUNT(gradient_goals); i++)
        if (gradient_goals[i].batch == p->batch && gradient_goals[i].length == p->length)
            return p->dtype == FRAX_F32;
    if (!p->full) return p->gradient && p->dtype == FRAX_F32 && p->length == 32 && p->batch == 1;
    if (threads > 1 || p->dtype != FRAX_F32) return p->length == 1024;
    return power_of_two(p->length) ? p->length <= 8192 : p->length == 1000 && !p->gradient;
}

static FraxStatus run_batches(Suite *s, Point p, int threads) {
    const int64_t full = full_batch(p.dtype, p.length), batches[] = {1, SOME_ROWS, 2 * SOME_ROWS, full};
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < COUNT(batches) && !status; i++) {
        bool last = i + 1 == COUNT(batches);
        p.batch = batches[i];
        p.full = last;
        if (!last && p.batch >= full) continue;
        if (p.batch == 2 * SOME_ROWS && p.length != 4096) continue; /* for its bar alone */
        if (!last && threads > 1) continue;
        if (s->settings.quick && !in_quick_run(&p, threads)) continue;
        status = run_point(s, &p, threads);
    }
    return status;
}

static FraxStatus sweep(Suite *s, int threads) {
    static const FraxDType dtypes[] = {FRAX_F32, FRAX_F64};
    FraxStatus status = FRAX_OK;
    for (size_t d = 0; d < COUNT(dtypes); d++)
        for (int gradient = 0; gradient < 2; gradient++)
            for (size_t i = 0; i < COUNT(lengths) && !status; i++)
                status = run_batches(
                    s, (Point){.dtype = dtypes[d], .length = lengths[i], .gradient = gradient}, threads);
    return status;
}

static FraxStatus causal(Suite *s) {
    FraxStatus status = FRAX_OK;
    for (int64_t n = 256; n <= 8192 && !status; n *= 2) {
        Point p = {
            .dtype = FRAX_F32, .length = n, .batch = full_batch(FRAX_F32, n), .causal = true, .full = true};
        if (s->settings.quick && n != 256 && n != 1024 && n != 8192) continue;
        status = run_point(s, &p, 1);
    }
    return status;
}

/* ---- Pointwise operations before and after ---- */

static FraxStatus time_chain(Suite *s, Pair *chain, Pair *bare, Row *row) {
    Contestant all[] = {{run_fused, chain}, {run_eager, chain}, {run_fused, bare}};
    FraxStatus status = time_in_turn(all, COUNT(all), &s->settings, &row->repeat, &s->err);
    row->fused = all[0].seconds;
    row->eager = all[1].seconds;
    row->bars[0] = (Bar){BAR_BARE, 1.1, all[0].seconds / all[2].seconds};
    return status;
}

static FraxStatus chained(Suite *s) {
    static const int64_t chosen[] = {256, 1024, 4096};
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < COUNT(chosen) && !status; i++) {
        Point p = {.dtype = FRAX_F32, .length = chosen[i], .batch = full_batch(FRAX_F32, chosen[i])};
        Row row = {.threads = 1};
        Pair chain = {0}, bare = {0};
        snprintf(row.name, sizeof row.name, "spectral, ten pointwise ops around, %lldx%lld",
                 (long long)p.batch, (long long)p.length);
        if (!wanted(s, row.name)) continue;
        status = open_model(s, &p, "chain", 1, &chain);
        if (!status) status = open_model(s, &p, "forward", 1, &bare);
        if (!status) status = time_chain(s, &chain, &bare, &row);
        if (!status) status = add_row(s, &row);
        pair_close(&chain);
        pair_close(&bare);
    }
    return status;
}

FraxStatus run_spectral(Suite *s) {
    int processors = omp_get_num_procs();
    if (!baseline_start()) printf("This build has no FFTW: nothing stands under guru and naive.\n\n");
    omp_set_num_threads(1);
    FraxStatus status = sweep(s, 1);
    if (!status) status = causal(s);
    if (!status) status = chained(s);
    omp_set_num_threads(processors);
    return !status && processors > 1 ? sweep(s, processors) : status;
}
