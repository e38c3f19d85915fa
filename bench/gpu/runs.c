/* runs.c — compiling, timing and keeping data on the device, for the parts. See gpu_bench.h. */
#include "gpu_bench.h"
#include <string.h>

static const double SECONDS_PER_SAMPLE = 5e-3;
enum { FEWEST_RUNS = 3, MOST_RUNS = 1000, QUICK_SAMPLES = 3 };

FraxStatus compile_on(FraxTarget target, const char *spec, const FraxOptions *options, FraxExecutable **exe,
                      FraxError *err) {
    FraxOptions own = *options;
    FraxModel *model;
    own.target = target;
    *exe = NULL;
    FraxStatus status = strchr(spec, '\n') ? frax_model_parse(spec, "gpu_bench", NULL, &model, err)
                                           : frax_model_load(spec, &model, err);
    if (status) return status;
    status = frax_compile(model, &own, exe, err);
    frax_model_destroy(model);
    return status;
}

size_t samples_of(const GpuBench *b) {
    return b->settings.quick ? QUICK_SAMPLES : MOST_SAMPLES;
}

size_t runs_of(const GpuBench *b, double seconds) {
    if (b->settings.quick) return 1;
    return (size_t)fmin(fmax(SECONDS_PER_SAMPLE / fmax(seconds, 1e-9), FEWEST_RUNS), MOST_RUNS);
}

/* The first samples wake the device up, and tell how long a run takes. */
FraxStatus time_on_device(const GpuBench *b, const FraxExecutable *exe, RunTimes *times, FraxError *err) {
    double device[MOST_SAMPLES], launch[MOST_SAMPLES];
    size_t n = samples_of(b), runs = 1;
    FraxStatus status = FRAX_OK;
    for (int warm = 0; warm < 3 && !status; warm++) {
        status = executable_time(exe->exe, runs, times, err);
        if (!status) runs = runs_of(b, times->device);
    }
    for (size_t i = 0; i < n && !status; i++) {
        status = executable_time(exe->exe, runs, times, err);
        device[i] = times->device;
        launch[i] = times->launch;
    }
    if (!status) *times = (RunTimes){median(device, n), median(launch, n)};
    return status;
}

FraxStatus keep_signal(const FraxExecutable *exe, const float *x, FraxError *err) {
    const Graph *g = executable_graph(exe->exe);
    bool *kept = mem_calloc(g->ninputs + 1, sizeof *kept);
    if (!kept) return fail_memory(err, "the signal");
    for (size_t i = 0; i < exe->counts[FRAX_INPUT]; i++) kept[i] = true;
    FraxStatus status = executable_keep(exe->exe, kept, err);
    for (size_t i = 0; i < exe->counts[FRAX_INPUT] && !status; i++)
        status = executable_upload(exe->exe, i, x, err);
    mem_free(kept);
    return status;
}
