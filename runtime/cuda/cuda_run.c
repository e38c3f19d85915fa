/* cuda_run.c — running a CudaExecutable: launches, their capture, and values that stay on the device.
 *
 * A run is: arrays of the host into the staging memory; one launch of the captured graph (copies to the
 * device, kernels, copies back); waiting; checks; staging memory into arrays of the host.
 */
#include "cuda_blas.h"
#include "cuda_fft.h"
#include <string.h>
#include <time.h>

/* ---- Launches ---- */

static FraxStatus launch_kernel(CudaExecutable *exe, size_t i, FraxError *err) {
    const CudaLaunch *l = &exe->program.launches[i];
    KernelContext context = exe->context;
    context.plans = cuda_pointer((CudaAddress)l->first); /* a number there: see the text's prelude */
    void *parameters[] = {&context, &exe->scratch};
    int result = exe->device.cu->launch(exe->functions[i], l->grid, 1, 1, l->threads, 1, 1,
                                        (unsigned)l->shared, exe->stream, parameters, NULL);
    return result ? cuda_fail(exe->device.cu, result, err, "CUDA: launching kernel %s of %s", l->name,
                              exe->graph->name)
                  : FRAX_OK;
}

static FraxStatus launch(CudaExecutable *exe, size_t i, FraxError *err) {
    switch (exe->program.launches[i].kind) {
    case CUDA_PRODUCT: return cuda_blas_launch(exe, i, err);
    case CUDA_TRANSFORM: return cuda_fft_launch(exe, i, err);
    default: return launch_kernel(exe, i, err);
    }
}

FraxStatus cuda_wait(const CudaExecutable *exe, const char *what, FraxError *err) {
    int result = exe->device.cu->stream_wait(exe->stream);
    return result ? cuda_fail(exe->device.cu, result, err, "CUDA: %s of %s", what, exe->graph->name)
                  : FRAX_OK;
}

FraxStatus cuda_launch_all(CudaExecutable *exe, CudaMoment moment, bool wait, FraxError *err) {
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < exe->program.nlaunches && !status; i++) {
        const CudaLaunch *l = &exe->program.launches[i];
        char what[64];
        if (l->moment != moment) continue;
        snprintf(what, sizeof what, "kernel %s", l->name);
        status = launch(exe, i, err);
        if (!status && wait) status = cuda_wait(exe, what, err);
    }
    return status;
}

FraxStatus cuda_try_launches(CudaExecutable *exe, CudaLaunchKind kind, FraxError *err) {
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < exe->program.nlaunches && !status; i++) {
        const CudaLaunch *l = &exe->program.launches[i];
        char what[64];
        if (l->moment != CUDA_RUN || l->kind != kind) continue;
        snprintf(what, sizeof what, "trying kernel %s", l->name);
        status = launch(exe, i, err);
        if (!status) status = cuda_wait(exe, what, err);
    }
    return status;
}

/* Outputs that no kernel writes in place: inputs returned as they are, a value returned twice, an arena
 * value. */
static FraxStatus copy_outputs(CudaExecutable *exe, FraxError *err) {
    const Graph *g = exe->graph;
    int result = 0;
    for (size_t o = 0; o < g->noutputs && !result; o++) {
        const Node *node = graph_node(g, g->outputs[o].value);
        if (node->region == REGION_OUTPUT && node->offset == (int64_t)o) continue;
        CudaAddress from = cuda_value_address(exe, g->outputs[o].value), to = exe->outputs[o].device;
        if (exe->outputs[o].bytes && from != to)
            result = exe->device.cu->copy_on_device(to, from, exe->outputs[o].bytes, exe->stream);
    }
    return result ? cuda_fail(exe->device.cu, result, err, "CUDA: copying outputs of %s", g->name) : FRAX_OK;
}

typedef FraxStatus Enqueue(CudaExecutable *exe, FraxError *err);

/* All that a run does on the device. */
static FraxStatus enqueue(CudaExecutable *exe, FraxError *err) {
    FraxStatus status = cuda_copy_transfers(exe, &exe->to_device, true, err);
    if (!status) status = cuda_copy_transfers(exe, &exe->to_check_before, false, err);
    if (!status) status = cuda_launch_all(exe, CUDA_RUN, exe->one_by_one, err);
    if (!status) status = cuda_copy_transfers(exe, &exe->to_check_after, false, err);
    if (!status) status = copy_outputs(exe, err);
    if (!status) status = cuda_copy_transfers(exe, &exe->to_host, false, err);
    return status;
}

static FraxStatus capture(CudaExecutable *exe, Enqueue *work, CudaGraphExec *run, FraxError *err) {
    const CudaDriver *cu = exe->device.cu;
    CudaGraph graph = NULL;
    int result = cu->capture_begin(exe->stream, CUDA_CAPTURE_THREAD_LOCAL);
    if (result) return cuda_fail(cu, result, err, "CUDA: capturing a run of %s", exe->graph->name);
    FraxStatus status = work(exe, err);
    result = cu->capture_end(exe->stream, &graph); /* after a failure, too */
    if (!status && !result) result = cu->graph_instantiate(run, graph, 0);
    if (graph) cu->graph_destroy(graph);
    if (status || !result) return status;
    *run = NULL;
    return cuda_fail(cu, result, err, "CUDA: capturing a run of %s", exe->graph->name);
}

static FraxStatus start(CudaExecutable *exe, FraxError *err) {
    if (exe->one_by_one) return enqueue(exe, err);
    FraxStatus status = exe->run ? FRAX_OK : capture(exe, enqueue, &exe->run, err);
    if (status) return status;
    int result = exe->device.cu->graph_launch(exe->run, exe->stream);
    return result ? cuda_fail(exe->device.cu, result, err, "CUDA: launching %s", exe->graph->name) : FRAX_OK;
}

/* ---- Checks ---- */

typedef struct RunValues {
    const CudaExecutable *exe;
    const void *const *inputs;
} RunValues;

static const void *checked_data(const void *context, const Check *check) {
    const RunValues *values = context;
    const CudaExecutable *exe = values->exe;
    if (check->moment == AFTER || cuda_is_kept_check(exe, check))
        return exe->staging + exe->checked[check - exe->checks.items];
    return values->inputs[graph_node(exe->graph, check->value)->offset];
}

/* Those that are looked at before the kernels: on the host where it has all of them. */
static bool has_kept_checks(const CudaExecutable *exe) {
    return exe->to_check_before.count > 0;
}

static FraxStatus run_checks(const CudaExecutable *exe, Moment moment, double passed,
                             const void *const *inputs, FraxError *err) {
    return checks_run(exe->graph, &exe->checks, moment, passed, checked_data, &(RunValues){exe, inputs}, err);
}

/* ---- Runs ---- */

/* A captured run is one launch to the driver. */
static void name_remedy(const CudaExecutable *exe, FraxError *err) {
    if (exe->one_by_one || !err) return;
    size_t n = strlen(err->message);
    snprintf(err->message + n, sizeof err->message - n,
             "; with --debug-jit (in programs options.debug) it names the kernel");
}

static FraxStatus run(CudaExecutable *exe, const void *const *inputs, void *const *outputs, FraxError *err) {
    bool early = exe->checks.before && !has_kept_checks(exe), late = exe->checks.before && !early;
    /* Read first: the output may be written over it. */
    double passed =
        exe->checks.offset < exe->graph->ninputs ? *(const double *)inputs[exe->checks.offset] : 0;
    FraxStatus status = early ? run_checks(exe, BEFORE, passed, inputs, err) : FRAX_OK;
    if (!status) status = cuda_stage_inputs(exe, inputs, err);
    if (!status) status = start(exe, err);
    if (!status) status = cuda_fetch_direct(exe, outputs, err);
    FraxStatus waited = cuda_wait(exe, "a run", status ? NULL : err); /* copies may be under way */
    if (!status && waited) name_remedy(exe, err);
    if (!status) status = waited;
    if (!status && late) status = run_checks(exe, BEFORE, passed, inputs, err);
    if (!status && exe->checks.after) status = run_checks(exe, AFTER, passed, inputs, err);
    if (!status) cuda_unstage_outputs(exe, outputs);
    return status;
}

static FraxStatus enter(CudaExecutable *exe, FraxError *err) {
    pthread_mutex_lock(&exe->lock);
    FraxStatus status = cuda_device_enter(&exe->device, err);
    if (status) pthread_mutex_unlock(&exe->lock);
    return status;
}

static FraxStatus leave(CudaExecutable *exe, FraxStatus status) {
    cuda_device_leave(&exe->device);
    pthread_mutex_unlock(&exe->lock);
    return status;
}

FraxStatus cuda_executable_run(CudaExecutable *exe, const void *const *inputs, void *const *outputs,
                               FraxError *err) {
    FraxStatus status = enter(exe, err);
    return status ? status : leave(exe, run(exe, inputs, outputs, err));
}

/* ---- Values that stay on the device ---- */

/* Outputs that are written over a kept input stay as well. */
FraxStatus cuda_executable_keep(CudaExecutable *exe, const bool *inputs, FraxError *err) {
    const Graph *g = exe->graph;
    FraxStatus status = enter(exe, err);
    if (status) return status;
    for (size_t i = 0; i < g->ninputs; i++) exe->inputs[i].is_kept = inputs[i];
    for (size_t o = 0; o < g->noutputs; o++) {
        exe->outputs[o].is_kept = false;
        for (size_t i = 0; i < g->ninputs; i++)
            if (g->outputs[o].donated == g->inputs[i]) exe->outputs[o].is_kept = inputs[i];
    }
    for (int i = 0; i < SAVED_SLOTS; i++) {
        if (exe->saved[i]) exe->device.cu->memory_free(exe->saved[i]);
        exe->saved[i] = 0;
    }
    return leave(exe, cuda_plan_transfers(exe, err));
}

FraxStatus cuda_executable_upload(CudaExecutable *exe, size_t input, const void *data, FraxError *err) {
    const CudaValuePlace *p = &exe->inputs[input];
    FraxStatus status = enter(exe, err);
    if (status) return status;
    int result = p->bytes ? exe->device.cu->copy_to_device(p->device, data, p->bytes, exe->stream) : 0;
    status = result ? cuda_fail(exe->device.cu, result, err, "CUDA: copying to the device")
                    : cuda_wait(exe, "copying to the device", err);
    return leave(exe, status);
}

FraxStatus cuda_executable_download(CudaExecutable *exe, size_t input, void *data, FraxError *err) {
    const CudaValuePlace *p = &exe->inputs[input];
    FraxStatus status = enter(exe, err);
    if (status) return status;
    int result = p->bytes ? exe->device.cu->copy_to_host(data, p->device, p->bytes, exe->stream) : 0;
    status = result ? cuda_fail(exe->device.cu, result, err, "CUDA: copying from the device")
                    : cuda_wait(exe, "copying from the device", err);
    return leave(exe, status);
}

/* Copies the kept outputs to the slot or back, one after the other; returns the bytes of all. */
static size_t copy_kept(CudaExecutable *exe, CudaAddress slot, bool save, int *result) {
    size_t at = 0;
    for (size_t o = 0; o < exe->graph->noutputs; o++) {
        const CudaValuePlace *p = &exe->outputs[o];
        if (!p->is_kept || !p->bytes) continue;
        CudaAddress copy = slot + at;
        if (slot && !*result)
            *result = save ? exe->device.cu->copy_on_device(copy, p->device, p->bytes, exe->stream)
                           : exe->device.cu->copy_on_device(p->device, copy, p->bytes, exe->stream);
        at += p->bytes;
    }
    return at;
}

/* Copies on the device follow the runs in the order of the calls: there is nothing to wait for. */
static FraxStatus copy_slot(CudaExecutable *exe, int slot, bool save, FraxError *err) {
    int result = 0;
    FraxStatus status = enter(exe, err);
    if (status) return status;
    size_t bytes = copy_kept(exe, 0, save, &result);
    if (bytes && !exe->saved[slot])
        status =
            cuda_device_allocate(&exe->device, bytes, "a copy of the parameters", &exe->saved[slot], err);
    if (bytes && !status) copy_kept(exe, exe->saved[slot], save, &result);
    if (result) status = cuda_fail(exe->device.cu, result, err, "CUDA: copying parameters");
    return leave(exe, status);
}

FraxStatus cuda_executable_save(CudaExecutable *exe, int slot, FraxError *err) {
    return copy_slot(exe, slot, true, err);
}

FraxStatus cuda_executable_restore(CudaExecutable *exe, int slot, FraxError *err) {
    return copy_slot(exe, slot, false, err);
}

/* ---- Time ---- */

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* What a run does between its copies from and to the host. */
static FraxStatus enqueue_kernels(CudaExecutable *exe, FraxError *err) {
    FraxStatus status = cuda_launch_all(exe, CUDA_RUN, false, err);
    return status ? status : copy_outputs(exe, err);
}

/* Launches between two events; the result of the driver. */
static int time_launches(const CudaExecutable *exe, CudaGraphExec run, size_t runs, const CudaEvent *events,
                         RunTimes *times) {
    const CudaDriver *cu = exe->device.cu;
    float milliseconds = 0;
    int result = cu->event_record(events[0], exe->stream);
    double start = seconds();
    for (size_t i = 0; i < runs && !result; i++) result = cu->graph_launch(run, exe->stream);
    times->launch = (seconds() - start) / (double)runs;
    if (!result) result = cu->event_record(events[1], exe->stream);
    if (!result) result = cu->stream_wait(exe->stream);
    if (!result) result = cu->event_elapsed(&milliseconds, events[0], events[1]);
    times->device = 1e-3 * (double)milliseconds / (double)runs;
    return result;
}

static FraxStatus time_runs(CudaExecutable *exe, size_t runs, RunTimes *times, FraxError *err) {
    const CudaDriver *cu = exe->device.cu;
    CudaEvent events[2] = {NULL, NULL};
    CudaGraphExec run = NULL;
    FraxStatus status = capture(exe, enqueue_kernels, &run, err);
    if (status) return status;
    int result = cu->event_create(&events[0], 0);
    if (!result) result = cu->event_create(&events[1], 0);
    if (!result) result = time_launches(exe, run, runs, events, times);
    for (int i = 0; i < 2; i++)
        if (events[i]) cu->event_destroy(events[i]);
    cu->graph_exec_destroy(run);
    return result ? cuda_fail(cu, result, err, "CUDA: timing %s", exe->graph->name) : FRAX_OK;
}

FraxStatus cuda_executable_time(CudaExecutable *exe, size_t runs, RunTimes *times, FraxError *err) {
    FraxStatus status = enter(exe, err);
    return status ? status : leave(exe, time_runs(exe, runs, times, err));
}
