/* step.c — a training step of the classifier with everything resident, what launching a captured run costs
 * the host, and compiling. See gpu_bench.h.
 */
#include "gpu_bench.h"
#include <stdlib.h>
#include <string.h>

#define CLASSIFIER "frontend/examples/classifier.frax:deep"

enum { CLASSES = 10 };

/* ---- Launching ---- */

/* The host's time for one launch of a captured run, and for a whole call with its copies and its waiting. */
FraxStatus run_launches(GpuBench *b) {
    enum { CALLS = 200 };
    static const char text[] = "model small(x: f32[B, N]) {\n    y = 0.5 * x + 1\n    return y\n}\n";
    Sizes sizes = SIZES(B, 1, N, 32);
    FraxOptions options = options_for(&sizes, 0, FRAX_FORWARD);
    Line line = {
        .name = "launch of a captured step, the host's time", .unit = "µs", .sense = AT_MOST, .limit = 10};
    FraxExecutable *exe;
    RunTimes times;
    float y[32];
    FraxStatus status = compile_on(FRAX_CUDA, text, &options, &exe, &b->err);
    if (!status) status = frax_run(exe, (const void *[]){b->noise}, NULL, (void *[]){y}, &b->err);
    if (!status) status = time_on_device(b, exe, &times, &b->err);
    double start = seconds();
    for (int i = 0; i < CALLS && !status; i++)
        status = frax_run(exe, (const void *[]){b->noise}, NULL, (void *[]){y}, &b->err);
    double call = (seconds() - start) / CALLS;
    frax_executable_destroy(exe);
    if (status) return status;
    line.value = 1e6 * times.launch;
    snprintf(line.note, sizeof line.note,
             "a model of 32 elements; on the device %.3g µs; a whole call %.3g µs", 1e6 * times.device,
             1e6 * call);
    return add_line(b, &line);
}

/* ---- Compiling ---- */

typedef struct Compilation {
    const char *name;
    bool cached;
    double limit; /* milliseconds */
} Compilation;

static FraxStatus measure_compiling(GpuBench *b, const Compilation *c) {
    enum { TIMES = 5, TIMES_QUICK = 1 };
    Sizes sizes = SIZES(B, 64, N, 1024);
    FraxOptions options = options_for(&sizes, 0, FRAX_FORWARD);
    Line line = {.unit = "ms", .sense = AT_MOST, .limit = c->limit};
    double times[TIMES];
    int count = b->settings.quick ? TIMES_QUICK : TIMES;
    size_t kernels = 0;
    FraxStatus status = FRAX_OK;
    options.no_cache = !c->cached;
    for (int i = c->cached ? -1 : 0; i < count && !status; i++) { /* the first one fills the cache */
        FraxExecutable *exe;
        double start = seconds();
        status = compile_on(FRAX_CUDA, "bench/models.frax:spectral_loss", &options, &exe, &b->err);
        if (status) break;
        FraxMemory made = frax_executable_memory(exe);
        if (i >= 0) times[i] = seconds() - start;
        kernels = made.kernels;
        frax_executable_destroy(exe);
        if (i >= 0 && (made.from_cache != 0) != c->cached)
            status = fail(&b->err, FRAX_INTERNAL, "code came %s the cache", c->cached ? "not from" : "from");
    }
    if (status) return status;
    line.value = 1e3 * median(times, (size_t)count);
    snprintf(line.name, sizeof line.name, "%s", c->name);
    snprintf(line.note, sizeof line.note,
             "frac of 64x1024 and its mean square, %zu kernels, in a process that has "
             "compiled before",
             kernels);
    return add_line(b, &line);
}

/* With a cache in a folder that is removed afterwards. */
FraxStatus run_gpu_compiling(GpuBench *b) {
    static const Compilation kinds[] = {{"compiling, cold", false, 1000},
                                        {"compiling, from the cache", true, 20}};
    const char *base = getenv("TMPDIR"), *own = getenv("XDG_CACHE_HOME");
    char folder[512], command[600], *before = own ? mem_strdup(own) : NULL;
    FraxStatus status = FRAX_OK;
    snprintf(folder, sizeof folder, "%s/frax-gpu-bench-XXXXXX", base && *base ? base : "/tmp");
    if (!mkdtemp(folder) || setenv("XDG_CACHE_HOME", folder, 1))
        return fail(&b->err, FRAX_FILE, "%s cannot be made", folder);
    for (size_t i = 0; i < COUNT(kinds) && !status; i++) status = measure_compiling(b, &kinds[i]);
    if (before)
        setenv("XDG_CACHE_HOME", before, 1);
    else
        unsetenv("XDG_CACHE_HOME");
    mem_free(before);
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    if (system(command)) status = status ? status : fail(&b->err, FRAX_FILE, "%s cannot be removed", folder);
    return status;
}

/* ---- Training ---- */

typedef struct Training {
    int64_t rows, length;
    int32_t *label;
    FraxTrainer *trainer;
    double loss;
} Training;

enum { CHECKED_ROWS = 8, CHECKED_LENGTH = 64, CHECKED_STEPS = 3 };

/* By way of the cache where the check and the measurement are of one size. */
static FraxStatus open_training(Training *t, FraxTarget target, int64_t steps, FraxError *err) {
    Sizes sizes = SIZES(B, t->rows, N, t->length);
    FraxOptions options = options_for(&sizes, 0, FRAX_FORWARD);
    FraxFitOptions fit = frax_default_fit_options(FRAX_ADAM);
    FraxModel *model;
    options.target = target;
    options.no_cache = t->rows != CHECKED_ROWS;
    fit.lr = 1e-5;
    fit.steps = steps;
    t->trainer = NULL;
    FraxStatus status = frax_model_load(CLASSIFIER, &model, err);
    if (status) return status;
    status = frax_trainer_create(model, &options, &fit, &t->trainer, err);
    frax_model_destroy(model);
    t->label = mem_alloc((size_t)t->rows * sizeof *t->label);
    if (!status && !t->label) status = fail_memory(err, "the labels");
    for (int64_t i = 0; i < t->rows && !status; i++) t->label[i] = (int32_t)(i * 7 % CLASSES);
    return status;
}

static void close_training(Training *t) {
    frax_trainer_destroy(t->trainer);
    mem_free(t->label);
}

static FraxStatus train(GpuBench *b, Training *t) {
    return frax_trainer_run(t->trainer, (const void *[]){b->noise, t->label}, &t->loss, &b->err);
}

/* The losses of a few steps, on a small batch, are those of the CPU. */
static FraxStatus check_training(GpuBench *b) {
    double losses[2] = {0};
    FraxStatus status = FRAX_OK;
    for (int i = 0; i < 2 && !status; i++) {
        Training t = {.rows = CHECKED_ROWS, .length = CHECKED_LENGTH};
        status = open_training(&t, i ? FRAX_CUDA : FRAX_CPU, CHECKED_STEPS, &b->err);
        if (!status) status = train(b, &t);
        losses[i] = t.loss;
        close_training(&t);
    }
    if (!status && !(fabs(losses[0] - losses[1]) <= 1e-4 * fabs(losses[0])))
        status = fail(&b->err, FRAX_INTERNAL, "the loss after %d steps is %.9g, on the CPU %.9g",
                      CHECKED_STEPS, losses[1], losses[0]);
    return status;
}

/* The first steps bring the data to the device; the host's clock then counts whole steps, each with its loss.
 */
static FraxStatus measure_training(GpuBench *b, Training *t, int64_t steps) {
    Line line = {.unit = "ms", .peer = "training", .rows = t->rows, .length = t->length};
    RunTimes times;
    FraxStatus status = train(b, t);
    double start = seconds();
    if (!status) status = train(b, t);
    double step = (seconds() - start) / (double)steps;
    if (!status) status = time_on_device(b, frax_trainer_executable(t->trainer), &times, &b->err);
    if (status) return status;
    line.seconds = times.device;
    line.value = 1e3 * times.device;
    snprintf(line.name, sizeof line.name, "training step, deep classifier, %lldx%lld f32, captured",
             (long long)t->rows, (long long)t->length);
    snprintf(line.note, sizeof line.note,
             "%zu kernels; a step of the host with its loss, data uploaded once: %.4g ms",
             frax_executable_memory(frax_trainer_executable(t->trainer)).kernels, 1e3 * step);
    return add_line(b, &line);
}

FraxStatus run_training(GpuBench *b) {
    int64_t steps = b->settings.quick ? 2 : 30;
    Training t = {.rows = b->settings.quick ? CHECKED_ROWS : 4096,
                  .length = b->settings.quick ? CHECKED_LENGTH : 1024};
    FraxStatus status = check_training(b);
    if (!status) status = open_training(&t, FRAX_CUDA, steps, &b->err);
    if (!status) status = measure_training(b, &t, steps);
    close_training(&t);
    return status;
}
