/* compile.c — how long models take to compile, in a first process and from the cache, and the memory of a
 * run.
 *
 * Compiling is timed in processes of its own, so that it includes what a first compilation includes: starting
 * LLVM and planning the FFTs.
 */
#include "bench.h"
#include <stdlib.h>

enum { COMPILES = 7, COMPILES_QUICK = 3 };

static const struct Compiled {
    const char *name, *model;
    Sizes sizes;
    double cold;        /* milliseconds that a first process may take */
    const char *wrt[2]; /* none: all params */
} compiled[] = {
    {"nile 100", EXAMPLES "/nile.frax", SIZES(T, 100, , 0), 300},
    {"classifier 32x128", EXAMPLES "/classifier.frax:classifier", SIZES(B, 32, N, 128), 300},
    {"deep 32x128", EXAMPLES "/classifier.frax:deep", SIZES(B, 32, N, 128), 300},
    {"deep 64x1024", EXAMPLES "/classifier.frax:deep", SIZES(B, 64, N, 1024), 300},
    {"spectral 64x4096", MODELS ":spectral_loss", SIZES(B, 64, N, 4096), 500, {"order", "x"}},
};

static FraxOptions options_of(const struct Compiled *c) {
    FraxOptions options = options_for(&c->sizes, 0, FRAX_REVERSE);
    if (c->wrt[0]) options.wrt = c->wrt;
    while (options.nwrt < COUNT(c->wrt) && c->wrt[options.nwrt]) options.nwrt++;
    return options;
}

int compile_one(const char *number, bool cached) {
    const struct Compiled *c = &compiled[(size_t)atoi(number) % COUNT(compiled)];
    FraxOptions options = options_of(c);
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
    row->bars[0].value = 1e3 * row->fused;
    return status;
}

static FraxStatus compiling(Suite *s, size_t which) {
    const struct {
        const char *name;
        bool cached;
        double limit;
    } kinds[] = {{"compile, first process", false, compiled[which].cold},
                 {"compile, from the cache", true, 10}};
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < COUNT(kinds) && !status; i++) {
        Row row = {.bars = {{BAR_MILLISECONDS, kinds[i].limit}}};
        snprintf(row.name, sizeof row.name, "%s: %s", kinds[i].name, compiled[which].name);
        if (!wanted(s, row.name)) continue;
        status = time_compiles(s, which, kinds[i].cached, &row);
        if (!status) status = add_row(s, &row);
    }
    return status;
}

static FraxStatus memory(Suite *s, size_t which) {
    FraxOptions options = options_of(&compiled[which]);
    FraxFitOptions fit = frax_default_fit_options(FRAX_ADAM);
    Row row = {.bars = {{BAR_RATIO, 1.1}}};
    FraxTrainer *trainer = NULL;
    FraxModel *model;
    if (compiled[which].wrt[0]) return FRAX_OK; /* gradients in inputs, too: nothing to train */
    snprintf(row.name, sizeof row.name, "memory of a training step: %s", compiled[which].name);
    if (!wanted(s, row.name)) return FRAX_OK;
    FraxStatus status = frax_model_load(compiled[which].model, &model, &s->err);
    if (status) return status;
    status = frax_trainer_create(model, &options, &fit, &trainer, &s->err);
    if (!status) {
        FraxMemory m = frax_executable_memory(frax_trainer_executable(trainer));
        row.bars[0].value = (double)m.temporary_bytes / (double)m.live_bytes;
        status = add_row(s, &row);
    }
    frax_trainer_destroy(trainer);
    frax_model_destroy(model);
    return status;
}

/* In processes of their own, which do not have LLVM yet; the first one fills the cache. */
static FraxStatus starting(Suite *s) {
    Row row = {.name = "libfrax: opened, compiled from the cache, called", .bars = {{BAR_MILLISECONDS, 30}}};
    double times[COMPILES + 1];
    if (!wanted(s, row.name)) return FRAX_OK;
    row.repeat = COMPILES;
    for (size_t i = 0; i <= row.repeat; i++) {
        FILE *child = popen("exec '" FRAX_BUILD_DIR "/frax_start' '" FRAX_BUILD_DIR "/libfrax.so'", "r");
        int read = child ? fscanf(child, "%lf", &times[i]) : 0;
        if (!child || pclose(child) != 0 || read != 1)
            return fail(&s->err, FRAX_INTERNAL, "starting libfrax in another process failed");
    }
    row.fused = median(times + 1, row.repeat);
    row.bars[0].value = 1e3 * row.fused;
    return add_row(s, &row);
}

/* Compilations keep their cache in a folder that is removed afterwards. */
FraxStatus run_compiling(Suite *s) {
    char folder[] = "/tmp/frax-bench-XXXXXX", command[64];
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < COUNT(compiled) && !status; i++) status = memory(s, i);
    if (status) return status;
    if (!mkdtemp(folder) || setenv("XDG_CACHE_HOME", folder, 1))
        return fail(&s->err, FRAX_FILE, "%s cannot be made", folder);
    for (size_t i = 0; i < COUNT(compiled) && !status; i++) status = compiling(s, i);
    if (!status) status = starting(s);
    snprintf(command, sizeof command, "rm -rf %s", folder);
    if (system(command)) status = status ? status : fail(&s->err, FRAX_FILE, "%s cannot be removed", folder);
    return status;
}
