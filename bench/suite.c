/* suite.c — the benchmark suite: fused kernels against eager execution and against a plain copy of memory.
 *
 *     frax_bench [--quick] [--only TEXT] [--json FILE] [--plot FILE.svg]
 *
 * Each case states its bar, if there is one; a missed bar is told, and is no failure. Different results are.
 * The copy is memcpy of the case's input, split over the threads. Compiling is timed in processes of its own,
 * so that it includes what a first compilation includes: starting LLVM and planning the FFTs.
 */
#include "bench.h"
#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MODELS   FRAX_SOURCE_DIR "/bench/models.frax"
#define EXAMPLES FRAX_SOURCE_DIR "/frontend/examples"

enum { MAX_ROWS = 128, COMPILES = 7, COMPILES_QUICK = 3 };

typedef struct Suite {
    Settings settings;
    Row rows[MAX_ROWS];
    size_t nrows;
    FraxError err;
} Suite;

typedef struct Sizes {
    FraxSize list[2];
} Sizes;

#define SIZES(a, x, b, y)                                                                                    \
    {                                                                                                        \
        {                                                                                                    \
            {#a, x}, {                                                                                       \
#b, y                                                                                        \
            }                                                                                                \
        }                                                                                                    \
    }

static FraxOptions options_for(const Sizes *sizes, int threads, FraxMode mode) {
    FraxOptions options = frax_default_options();
    options.sizes = sizes->list;
    options.nsizes = sizes->list[1].name[0] ? 2 : 1;
    options.threads = threads;
    options.mode = mode;
    options.no_cache = 1;
    return options;
}

static bool wanted(const Suite *s, const char *name) {
    return !s->settings.only || strstr(name, s->settings.only);
}

static void add(Suite *s, const Row *row) {
    if (s->nrows == MAX_ROWS) return;
    s->rows[s->nrows++] = *row;
    print_row(row);
}

/* ---- What is run ---- */

static FraxStatus run_fused(void *context, FraxError *err) {
    return pair_run(context, FUSED, err);
}

static FraxStatus run_eager(void *context, FraxError *err) {
    return pair_run(context, EAGER, err);
}

typedef struct Copy {
    char *to;
    const char *from;
    size_t bytes;
    int threads;
} Copy;

static FraxStatus run_copy(void *context, FraxError *err) {
    const Copy *c = context;
    (void)err;
    if (c->threads == 1) {
        memcpy(c->to, c->from, c->bytes);
        return FRAX_OK;
    }
#pragma omp parallel num_threads(c->threads)
    {
        size_t id = (size_t)omp_get_thread_num(), n = (size_t)omp_get_num_threads();
        size_t begin = c->bytes * id / n, end = c->bytes * (id + 1) / n;
        memcpy(c->to + begin, c->from + begin, end - begin);
    }
    return FRAX_OK;
}

/* ---- Models against eager and a copy of their first input ---- */

typedef struct Case {
    const char *name, *model;
    Sizes sizes;
    FraxMode mode;
    const char *wrt[2]; /* none: all params */
    Bar bar;
    bool copies, one_thread, not_quick;
} Case;

#define SPECTRAL(n)                                                                                          \
    {.name = "spectral forward " #n,                                                                         \
     .model = MODELS ":spectral",                                                                            \
     .sizes = SIZES(B, (1 << 20) / n, N, n),                                                                 \
     .copies = true,                                                                                         \
     .one_thread = true,                                                                                     \
     .not_quick = n != 128 && n != 1024 && n != 8192},                                                       \
    {                                                                                                        \
        .name = "spectral forward+gradient " #n, .model = MODELS ":spectral_loss",                           \
        .sizes = SIZES(B, (1 << 20) / n, N, n), .mode = FRAX_REVERSE, .wrt = {"order", "x"}, .copies = true, \
        .one_thread = true, .not_quick = n != 128 && n != 1024 && n != 8192                                  \
    }

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
    SPECTRAL(128),
    SPECTRAL(256),
    SPECTRAL(512),
    SPECTRAL(1024),
    SPECTRAL(2048),
    SPECTRAL(4096),
    SPECTRAL(8192),
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
    row->value = row->bar.kind == BAR_COPY ? row->fused / row->copy : row->eager / row->fused;
    return status;
}

static FraxStatus run_case(Suite *s, const Case *c, int threads) {
    Row row = {.threads = threads, .bar = c->bar};
    FraxOptions options = options_for(&c->sizes, threads, c->mode);
    FraxModel *model;
    Pair pair;
    if (!wanted(s, c->name) || (c->not_quick && s->settings.quick) || (c->one_thread && threads > 1))
        return FRAX_OK;
    snprintf(row.name, sizeof row.name, "%s", c->name);
    options.wrt = c->wrt;
    while (options.nwrt < COUNT(c->wrt) && c->wrt[options.nwrt]) options.nwrt++;
    FraxStatus status = frax_model_load(c->model, &model, &s->err);
    if (status) return status;
    status = pair_open(&pair, model, &options, &s->err);
    if (!status) status = pair_compare(&pair, &s->err);
    if (!status) status = time_pair(s, c, &pair, &row);
    if (!status) add(s, &row);
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
    Row rows[2] = {{.threads = 1, .bar = op->bar}, {.threads = 1, .bar = {BAR_OPERATOR, 3}}};
    FraxStatus status = time_in_turn(all, COUNT(all), &s->settings, &rows[0].repeat, &s->err);
    if (status) return status;
    rows[1].repeat = rows[0].repeat;
    for (int i = 0; i < 2; i++) {
        snprintf(rows[i].name, sizeof rows[i].name, "%s%s", op->name, i ? ", +gradient" : "");
        rows[i].fused = all[2 * i].seconds;
        rows[i].eager = all[2 * i + 1].seconds;
        rows[i].value = i ? rows[1].fused / rows[0].fused : 1e3 * rows[0].fused;
        add(s, &rows[i]);
    }
    return FRAX_OK;
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
    row->value = row->eager / row->fused;
    return status;
}

static FraxStatus training_step(Suite *s, int64_t rows, int64_t length, int threads) {
    Sizes sizes = SIZES(B, rows, N, length);
    FraxOptions options = options_for(&sizes, threads, FRAX_REVERSE);
    Row row = {.threads = threads, .bar = {BAR_EAGER, 2.5}};
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
    if (!status) add(s, &row);
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
    row->value = 1e6 * row->fused;
    return status;
}

static FraxStatus calling(Suite *s, int threads) {
    Sizes sizes = SIZES(B, 1, N, 32);
    FraxOptions options = options_for(&sizes, threads, FRAX_FORWARD);
    Row row = {
        .name = "call of a 1x32 model, kernel included", .threads = threads, .bar = {BAR_MICROSECONDS, 2}};
    FraxModel *model;
    Pair pair;
    if (!wanted(s, row.name)) return FRAX_OK;
    FraxStatus status = frax_model_load(MODELS ":small", &model, &s->err);
    if (status) return status;
    status = pair_open(&pair, model, &options, &s->err);
    if (!status) status = pair_compare(&pair, &s->err);
    if (!status) status = time_call(s, &pair, &row);
    if (!status) add(s, &row);
    pair_close(&pair);
    frax_model_destroy(model);
    return status;
}

/* ---- Compiling, and memory ---- */

static const struct Compiled {
    const char *name, *model;
    Sizes sizes;
} compiled[] = {
    {"nile 100", EXAMPLES "/nile.frax", SIZES(T, 100, , 0)},
    {"classifier 32x128", EXAMPLES "/classifier.frax:classifier", SIZES(B, 32, N, 128)},
    {"deep 32x128", EXAMPLES "/classifier.frax:deep", SIZES(B, 32, N, 128)},
    {"deep 64x1024", EXAMPLES "/classifier.frax:deep", SIZES(B, 64, N, 1024)},
};

/* The child's part: loads and compiles one model with its gradients, prints the seconds. */
static int compile_one(const char *number, bool cached) {
    const struct Compiled *c = &compiled[(size_t)atoi(number) % COUNT(compiled)];
    FraxOptions options = options_for(&c->sizes, 0, FRAX_REVERSE);
    FraxModel *model;
    FraxExecutable *exe = NULL;
    FraxError err;
    options.no_cache = !cached;
    double start = seconds();
    FraxStatus status = frax_model_load(c->model, &model, &err);
    if (!status) status = frax_compile(model, &options, &exe, &err);
    double taken = seconds() - start;
    if (status) fprintf(stderr, "%s\n", err.message);
    printf("%.9g %d\n", taken, !status && frax_executable_memory(exe).from_cache);
    frax_executable_destroy(exe);
    frax_model_destroy(model);
    return status ? 1 : 0;
}

static FraxStatus spawn_compile(Suite *s, size_t which, bool cached, double *taken, bool *from_cache) {
    char command[4300];
    int from = 0;
    snprintf(command, sizeof command, "exec '%s' %s %zu", s->settings.program,
             cached ? "--compile-cached" : "--compile-cold", which);
    FILE *child = popen(command, "r");
    int read = child ? fscanf(child, "%lf %d", taken, &from) : 0;
    *from_cache = from;
    if (!child || pclose(child) != 0 || read != 2)
        return fail(&s->err, FRAX_INTERNAL, "compiling %s in another process failed", compiled[which].name);
    return FRAX_OK;
}

static FraxStatus time_compiles(Suite *s, size_t which, bool cached, Row *row) {
    double times[COMPILES] = {0};
    bool from_cache = cached;
    FraxStatus status = FRAX_OK;
    row->repeat = s->settings.quick ? COMPILES_QUICK : COMPILES;
    if (cached) status = spawn_compile(s, which, true, &times[0], &from_cache);
    for (size_t i = 0; i < row->repeat && !status; i++) {
        status = spawn_compile(s, which, cached, &times[i], &from_cache);
        if (!status && from_cache != cached)
            return fail(&s->err, FRAX_INTERNAL, "%s: code came %s the cache", row->name,
                        cached ? "not from" : "from");
    }
    row->fused = median(times, row->repeat);
    row->value = 1e3 * row->fused;
    return status;
}

static FraxStatus compiling(Suite *s, size_t which) {
    static const struct {
        const char *name;
        bool cached;
        double limit;
    } kinds[] = {{"compile, first process", false, 300}, {"compile, from the cache", true, 10}};
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < COUNT(kinds) && !status; i++) {
        Row row = {.bar = {BAR_MILLISECONDS, kinds[i].limit}};
        snprintf(row.name, sizeof row.name, "%s: %s", kinds[i].name, compiled[which].name);
        if (!wanted(s, row.name)) continue;
        status = time_compiles(s, which, kinds[i].cached, &row);
        if (!status) add(s, &row);
    }
    return status;
}

static FraxStatus memory(Suite *s, size_t which) {
    FraxOptions options = options_for(&compiled[which].sizes, 0, FRAX_REVERSE);
    FraxFitOptions fit = frax_default_fit_options(FRAX_ADAM);
    Row row = {.bar = {BAR_RATIO, 1.1}};
    FraxTrainer *trainer = NULL;
    FraxModel *model;
    snprintf(row.name, sizeof row.name, "memory of a training step: %s", compiled[which].name);
    if (!wanted(s, row.name)) return FRAX_OK;
    FraxStatus status = frax_model_load(compiled[which].model, &model, &s->err);
    if (status) return status;
    status = frax_trainer_create(model, &options, &fit, &trainer, &s->err);
    if (!status) {
        FraxMemory m = frax_executable_memory(frax_trainer_executable(trainer));
        row.value = (double)m.temporary_bytes / (double)m.live_bytes;
        add(s, &row);
    }
    frax_trainer_destroy(trainer);
    frax_model_destroy(model);
    return status;
}

/* Compilations keep their cache in a folder that is removed afterwards. */
static FraxStatus compile_all(Suite *s) {
    char folder[] = "/tmp/frax-bench-XXXXXX", command[64];
    FraxStatus status = FRAX_OK;
    if (!mkdtemp(folder) || setenv("XDG_CACHE_HOME", folder, 1))
        return fail(&s->err, FRAX_FILE, "%s cannot be made", folder);
    for (size_t i = 0; i < COUNT(compiled) && !status; i++) status = compiling(s, i);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command)) status = status ? status : fail(&s->err, FRAX_FILE, "%s cannot be removed", folder);
    return status;
}

/* ---- All ---- */

static FraxStatus run_suite(Suite *s) {
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
    for (size_t i = 0; i < COUNT(compiled) && !status; i++) status = memory(s, i);
    return status ? status : compile_all(s);
}

static int usage(void) {
    fprintf(stderr, "usage: frax_bench [--quick] [--only TEXT] [--json FILE] [--plot FILE.svg]\n");
    return 2;
}

int main(int argc, char **argv) {
    static Suite s;
    static char program[4096];
    const char *json = NULL, *plot = NULL;
    if (readlink("/proc/self/exe", program, sizeof program - 1) < 0)
        snprintf(program, sizeof program, "%s", argv[0]);
    s.settings.program = program;
    for (int i = 1; i < argc; i++) {
        bool more = i + 1 < argc;
        if (!strcmp(argv[i], "--quick"))
            s.settings.quick = true;
        else if (!strcmp(argv[i], "--only") && more)
            s.settings.only = argv[++i];
        else if (!strcmp(argv[i], "--json") && more)
            json = argv[++i];
        else if (!strcmp(argv[i], "--plot") && more)
            plot = argv[++i];
        else if (!strncmp(argv[i], "--compile-c", 11) && more) /* the suite calls itself */
            return compile_one(argv[i + 1], !strcmp(argv[i], "--compile-cached"));
        else
            return usage();
    }
    print_machine();
    print_heading();
    FraxStatus status = run_suite(&s);
    if (!status && json) status = write_json(json, &s.settings, s.rows, s.nrows, &s.err);
    if (!status && plot) status = write_plot(plot, s.rows, s.nrows, &s.err);
    if (status) {
        fprintf(stderr, "frax_bench: %s\n", s.err.message);
        return 1;
    }
    print_summary(s.rows, s.nrows);
    return 0;
}
