/* suite.c — models, operators, training steps and calls: fused kernels against eager execution and against a
 * plain copy of memory.
 *
 * Each case states its bar, if there is one. The copy is memcpy of the case's input, split over the threads.
 */
#include "bench.h"
#include <omp.h>

/* ---- Models against eager and a copy of their first input ---- */

typedef struct Case {
    const char *name, *model;
    Sizes sizes;
    Bar bar;
    bool copies;
} Case;

static const Case cases[] = {
    {.name = "chain of ten, 16 M f32",
     .model = MODELS ":chain",
     .sizes = SIZES(N, 1 << 24, , 0),
     .bar = {BAR_COPY, 1.3},
     .copies = true},
    {.name = "chain of ten, 3 transcendental",
     .model = MODELS ":transcendental",
     .sizes = SIZES(N, 1 << 24, , 0),
     .copies = true},
    {.name = "softmax 16384x1024 f32",
     .model = MODELS ":rows_softmax",
     .sizes = SIZES(R, 1 << 14, C, 1024),
     .bar = {BAR_COPY, 1.5},
     .copies = true},
    {.name = "layer_norm 16384x1024 f32",
     .model = MODELS ":rows_layer_norm",
     .sizes = SIZES(R, 1 << 14, C, 1024),
     .bar = {BAR_COPY, 1.5},
     .copies = true},
    {.name = "classifier 1x32 forward",
     .model = EXAMPLES "/classifier.frax:classifier",
     .sizes = SIZES(B, 1, N, 32)},
};

static FraxStatus time_pair(Suite *s, const Case *c, Pair *pair, Row *row) {
    Copy copy = {.from = pair->inputs[0], .threads = row->threads};
    FraxTensor input = frax_executable_type(pair->exe[FUSED], FRAX_INPUT, 0);
    Contestant all[] = {{run_fused, pair}, {run_eager, pair}, {run_copy, &copy}};
    copy.bytes = type_bytes_of(&input);
    copy.to = c->copies ? mem_aligned(copy.bytes) : NULL;
    if (c->copies && !copy.to) return fail_memory(&s->err, "the copy");
    FraxStatus status = time_in_turn(all, c->copies ? 3 : 2, &s->settings, &row->repeat, &s->err);
    mem_free(copy.to);
    row->fused = all[0].seconds;
    row->eager = all[1].seconds;
    row->copy = all[2].seconds;
    row->bars[0].value = row->fused / row->copy;
    return status;
}

static FraxStatus run_case(Suite *s, const Case *c, int threads) {
    Row row = {.threads = threads, .bars = {c->bar}};
    FraxOptions options = options_for(&c->sizes, threads, FRAX_FORWARD);
    FraxModel *model;
    Pair pair;
    if (!wanted(s, c->name)) return FRAX_OK;
    snprintf(row.name, sizeof row.name, "%s", c->name);
    FraxStatus status = frax_model_load(c->model, &model, &s->err);
    if (status) return status;
    status = pair_open(&pair, model, &options, &s->err);
    if (!status) status = pair_compare(&pair, &s->err);
    if (!status) status = time_pair(s, c, &pair, &row);
    if (!status) status = add_row(s, &row);
    pair_close(&pair);
    frax_model_destroy(model);
    return status;
}

/* ---- Operators on one series: their time, and with the gradients of the result's energy against it ---- */

typedef struct Operator {
    const char *name, *model, *loss;
    Sizes sizes;
    const char *wrt[2];
    Bar bar; /* of the operator alone */
    bool not_quick;
} Operator;

/* A causal convolution of n samples with as many weights: the fft rows grow as n log n, but for the cache. */
#define CONVOLUTION(engine, which, n, slow)                                                                  \
    {                                                                                                        \
        .name = "convolution by " engine ", " #n " f64", .model = MODELS ":" which,                          \
        .loss = MODELS ":" which "_loss", .sizes = SIZES(N, (int64_t)n, , 0), .wrt = {"x", "order"},         \
        .not_quick = slow                                                                                    \
    }

static const Operator operators[] = {
    {.name = "sum of 70 exponentials, 1e6 f64",
     .model = MODELS ":recurrence",
     .loss = MODELS ":recurrence_loss",
     .sizes = SIZES(N, 1000000, M, 70),
     .wrt = {"x", "c"},
     .bar = {BAR_MILLISECONDS, 150}},
    CONVOLUTION("soe", "remembered", 1e5, false),
    {.name = "convolution by soe, 1e6 f64",
     .model = MODELS ":remembered",
     .loss = MODELS ":remembered_loss",
     .sizes = SIZES(N, 1000000, , 0),
     .wrt = {"x", "order"},
     .bar = {BAR_MILLISECONDS, 150}},
    CONVOLUTION("soe", "remembered", 1e7, true),
    CONVOLUTION("direct", "summed", 1e3, false),
    CONVOLUTION("direct", "summed", 1e4, true),
    CONVOLUTION("fft", "convolved", 1e3, false),
    CONVOLUTION("fft", "convolved", 1e4, false),
    CONVOLUTION("fft", "convolved", 1e5, false),
    CONVOLUTION("fft", "convolved", 1e6, true),
    CONVOLUTION("fft", "convolved", 1e7, true),
};

static FraxStatus open_operator(Suite *s, const Operator *op, bool gradient, Pair *pair) {
    FraxOptions options = options_for(&op->sizes, 1, gradient ? FRAX_REVERSE : FRAX_FORWARD);
    FraxModel *model;
    FraxStatus status = frax_model_load(gradient ? op->loss : op->model, &model, &s->err);
    if (status) return status;
    options.wrt = op->wrt;
    options.nwrt = gradient ? COUNT(op->wrt) : 0;
    status = pair_open(pair, model, &options, &s->err);
    if (!status) status = pair_compare(pair, &s->err);
    frax_model_destroy(model);
    return status;
}

static FraxStatus time_operator(Suite *s, const Operator *op, Pair pairs[2]) {
    Contestant all[] = {
        {run_fused, &pairs[0]}, {run_eager, &pairs[0]}, {run_fused, &pairs[1]}, {run_eager, &pairs[1]}};
    Row rows[2] = {{.threads = 1, .bars = {op->bar}}, {.threads = 1, .bars = {{BAR_OPERATOR, 3}}}};
    FraxStatus status = time_in_turn(all, COUNT(all), &s->settings, &rows[0].repeat, &s->err);
    if (status) return status;
    rows[1].repeat = rows[0].repeat;
    for (int i = 0; i < 2 && !status; i++) {
        snprintf(rows[i].name, sizeof rows[i].name, "%s%s", op->name, i ? ", +gradient" : "");
        rows[i].fused = all[2 * i].seconds;
        rows[i].eager = all[2 * i + 1].seconds;
        rows[i].bars[0].value = i ? rows[1].fused / rows[0].fused : 1e3 * rows[0].fused;
        status = add_row(s, &rows[i]);
    }
    return status;
}

static FraxStatus run_operator(Suite *s, const Operator *op) {
    Pair pairs[2] = {0};
    FraxStatus status = FRAX_OK;
    if (!wanted(s, op->name) || (op->not_quick && s->settings.quick)) return FRAX_OK;
    for (int i = 0; i < 2 && !status; i++) status = open_operator(s, op, i, &pairs[i]);
    if (!status) status = time_operator(s, op, pairs);
    for (int i = 0; i < 2; i++) pair_close(&pairs[i]);
    return status;
}

/* ---- A whole training step ---- */

#define DEEP EXAMPLES "/classifier.frax:deep"

enum { CHECKED_STEPS = 5 };

typedef struct Training {
    FraxTrainer *trainer;
    const Pair *data; /* its inputs, and gradients to compare */
} Training;

static FraxStatus run_step(void *context, FraxError *err) {
    const Training *t = context;
    return frax_trainer_step(t->trainer, (const void *const *)t->data->inputs, NULL, err);
}

static FraxStatus create_trainers(Training t[TARGETS], const FraxModel *model, FraxOptions options,
                                  FraxError *err) {
    FraxFitOptions fit = frax_default_fit_options(FRAX_ADAM);
    FraxStatus status = FRAX_OK;
    fit.lr = 1e-5; /* thousands of timed steps should see about the same numbers */
    for (int i = 0; i < TARGETS && !status; i++) {
        options.target = i == FUSED ? FRAX_CPU : FRAX_EAGER;
        status = frax_trainer_create(model, &options, &fit, &t[i].trainer, err);
    }
    return status;
}

/* Both trainers take the same steps: equal losses on the way. The gradients were compared before. */
static FraxStatus compare_steps(Training t[TARGETS], FraxError *err) {
    double loss[TARGETS];
    for (int step = 0; step < CHECKED_STEPS; step++) {
        for (int i = 0; i < TARGETS; i++) {
            FraxStatus status =
                frax_trainer_step(t[i].trainer, (const void *const *)t[i].data->inputs, &loss[i], err);
            if (status) return status;
        }
        if (!(fabs(loss[FUSED] - loss[EAGER]) <= 1e-5 * fabs(loss[EAGER])))
            return fail(err, FRAX_INTERNAL, "training step %d: loss eager %.9g, fused %.9g", step + 1,
                        loss[EAGER], loss[FUSED]);
    }
    return FRAX_OK;
}

static FraxStatus time_training(Suite *s, Training t[TARGETS], Row *row) {
    Contestant all[] = {{run_step, &t[FUSED]}, {run_step, &t[EAGER]}};
    FraxStatus status = compare_steps(t, &s->err);
    if (!status) status = time_in_turn(all, TARGETS, &s->settings, &row->repeat, &s->err);
    row->fused = all[FUSED].seconds;
    row->eager = all[EAGER].seconds;
    row->bars[0].value = row->eager / row->fused;
    return status;
}

static FraxStatus training_step(Suite *s, int64_t rows, int64_t length, int threads) {
    Sizes sizes = SIZES(B, rows, N, length);
    FraxOptions options = options_for(&sizes, threads, FRAX_REVERSE);
    Row row = {.threads = threads, .bars = {{BAR_EAGER, 2.5}}};
    Pair pair = {0};
    Training t[TARGETS] = {{NULL, &pair}, {NULL, &pair}};
    FraxModel *model;
    snprintf(row.name, sizeof row.name, "training step, deep %lldx%lld", (long long)rows, (long long)length);
    if (!wanted(s, row.name)) return FRAX_OK;
    FraxStatus status = frax_model_load(DEEP, &model, &s->err);
    if (status) return status;
    status = pair_open(&pair, model, &options, &s->err);
    if (!status) status = pair_compare(&pair, &s->err);
    if (!status) status = create_trainers(t, model, options, &s->err);
    if (!status) status = time_training(s, t, &row);
    if (!status) status = add_row(s, &row);
    for (int i = 0; i < TARGETS; i++) frax_trainer_destroy(t[i].trainer);
    pair_close(&pair);
    frax_model_destroy(model);
    return status;
}

/* ---- Calling: frax_run of one kernel over 32 elements, whose own nanoseconds count too ---- */

static FraxStatus time_call(Suite *s, Pair *pair, Row *row) {
    Contestant all[] = {{run_fused, pair}, {run_eager, pair}};
    FraxStatus status = time_in_turn(all, COUNT(all), &s->settings, &row->repeat, &s->err);
    row->fused = all[0].seconds;
    row->eager = all[1].seconds;
    row->bars[0].value = 1e6 * row->fused;
    return status;
}

static FraxStatus calling(Suite *s, int threads) {
    Sizes sizes = SIZES(B, 1, N, 32);
    FraxOptions options = options_for(&sizes, threads, FRAX_FORWARD);
    Row row = {
        .name = "call of a 1x32 model, kernel included", .threads = threads, .bars = {{BAR_MICROSECONDS, 2}}};
    FraxModel *model;
    Pair pair;
    if (!wanted(s, row.name)) return FRAX_OK;
    FraxStatus status = frax_model_load(MODELS ":small", &model, &s->err);
    if (status) return status;
    status = pair_open(&pair, model, &options, &s->err);
    if (!status) status = pair_compare(&pair, &s->err);
    if (!status) status = time_call(s, &pair, &row);
    if (!status) status = add_row(s, &row);
    pair_close(&pair);
    frax_model_destroy(model);
    return status;
}

/* ---- All ---- */

FraxStatus run_suite(Suite *s) {
    static const int64_t steps[][2] = {{32, 128}, {64, 1024}};
    int counts[] = {1, omp_get_num_procs()};
    FraxStatus status = FRAX_OK;
    for (size_t t = 0; t < COUNT(counts) && !status; t++) {
        if (t && counts[t] == 1) break;
        omp_set_num_threads(counts[t]);
        for (size_t i = 0; i < COUNT(cases) && !status; i++) status = run_case(s, &cases[i], counts[t]);
        for (size_t i = 0; t == 0 && i < COUNT(operators) && !status; i++)
            status = run_operator(s, &operators[i]);
        for (size_t i = 0; i < COUNT(steps) && !status; i++)
            status = training_step(s, steps[i][0], steps[i][1], counts[t]);
        if (!status) status = calling(s, counts[t]);
    }
    return status;
}
