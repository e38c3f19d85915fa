/* derivative.c — a fractional derivative of rows of f32, a signal that fills the device: forward, as a share
 * of the copy bandwidth and beside the same on cuFFT; and with the gradients of mean(y²) in the signal and
 * the order.
 *
 * Before anything is timed, the first and the last rows are compared with the CPU's eager target.
 */
#include "gpu_bench.h"
#include <string.h>

enum { CHECKED = 4, CHECKED_BATCH = 33 };
static const double ORDER = 0.7, STEP = 0.1, CUFFT_BAR = 2.5;

/* Bytes moved (each sample read once and written once) over time, in per cent of the copy bandwidth. */
static const struct Goal {
    int64_t n;
    double share;
    bool beside_cufft, quick;
} goals[] = {{256, 75, true, true},   {512, 75, true, false},  {1024, 65, true, true},
             {2048, 65, true, false}, {4096, 55, true, false}, {8192, 45, false, false},
             {16384, 45, false, true}};

static const int64_t gradient_lengths[] = {256, 1024, 4096};

static const char forward[] = "model forward(x: f32[B, N]) {\n"
                              "    y = frac(x, 0.7, kind=weyl, step=0.1)\n"
                              "    return y\n"
                              "}\n";
static const char gradient[] = "model gradient(x: f32[B, N]) {\n"
                               "    param order: f32 = 0.7\n"
                               "    loss = mean(frac(x, order, kind=weyl, step=0.1)^2)\n"
                               "    return loss\n"
                               "}\n";

static int64_t rows_of(const GpuBench *b, int64_t n) {
    return (int64_t)(b->data_bytes / sizeof(float)) / n;
}

/* ---- Forward ---- */

/* y of some rows, by the CPU. */
static FraxStatus expected_rows(const float *x, int64_t rows, int64_t n, float *y, FraxError *err) {
    Sizes sizes = SIZES(B, rows, N, n);
    FraxOptions options = options_for(&sizes, 0, FRAX_FORWARD);
    FraxExecutable *exe;
    FraxStatus status = compile_on(FRAX_EAGER, forward, &options, &exe, err);
    if (!status) status = frax_run(exe, (const void *[]){x}, NULL, (void *[]){y}, err);
    frax_executable_destroy(exe);
    return status;
}

/* The first rows, then the last; `expected` is left with the first ones. */
static FraxStatus check_rows(GpuBench *b, int64_t rows, int64_t n, float *expected) {
    int64_t count = rows < CHECKED ? rows : CHECKED;
    FraxTensor type = {FRAX_F32, 2, {count, n}, NULL};
    FraxStatus status = FRAX_OK;
    for (int last = 1; last >= 0 && !status; last--) {
        size_t at = last ? (size_t)((rows - count) * n) : 0;
        status = expected_rows(b->noise + at, count, n, expected, &b->err);
        if (!status) status = compare_arrays("y", &type, expected, b->results + at, "CUDA", &b->err);
    }
    return status;
}

static FraxStatus measure_forward(GpuBench *b, int64_t n, float *expected, double *taken) {
    Sizes sizes = SIZES(B, rows_of(b, n), N, n);
    FraxOptions options = options_for(&sizes, 0, FRAX_FORWARD);
    FraxExecutable *exe;
    RunTimes times = {0};
    FraxStatus status = compile_on(FRAX_CUDA, forward, &options, &exe, &b->err);
    if (!status) status = keep_signal(exe, b->noise, &b->err);
    memset(b->results, 0xff, b->data_bytes);
    if (!status) status = frax_run(exe, (const void *[]){b->noise}, NULL, (void *[]){b->results}, &b->err);
    if (!status) status = check_rows(b, rows_of(b, n), n, expected);
    if (!status) status = time_on_device(b, exe, &times, &b->err);
    frax_executable_destroy(exe);
    *taken = times.device;
    return status;
}

static FraxStatus add_share(GpuBench *b, const struct Goal *goal, double taken) {
    double bytes = 2.0 * (double)b->data_bytes;
    Line line = {
        .value = 100 * bytes / taken / b->bandwidth, .unit = "%", .sense = AT_LEAST, .limit = goal->share};
    snprintf(line.name, sizeof line.name, "derivative, forward, %lldx%lld f32, of the copy bandwidth",
             (long long)rows_of(b, goal->n), (long long)goal->n);
    snprintf(line.note, sizeof line.note, "%.4g ms, %.4g GB/s", 1e3 * taken, 1e-9 * bytes / taken);
    return add_line(b, &line);
}

static FraxStatus add_cufft(GpuBench *b, const struct Goal *goal, const float *expected, double taken) {
    int64_t rows = rows_of(b, goal->n);
    CufftCase c = {rows, goal->n, ORDER, STEP, expected, rows < CHECKED ? rows : CHECKED};
    Line line = {.value = NAN, .unit = "x", .sense = AT_LEAST, .limit = CUFFT_BAR};
    double other;
    snprintf(line.name, sizeof line.name, "derivative, forward, %lldx%lld f32, against cuFFT",
             (long long)rows, (long long)goal->n);
    FraxStatus status = time_cufft(b, &c, &other);
    if (status) return add_failure(b, line);
    line.value = other / taken;
    snprintf(line.note, sizeof line.note, "cuFFT r2c, multiply, c2r: %.4g ms", 1e3 * other);
    return add_line(b, &line);
}

FraxStatus run_forward(GpuBench *b) {
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < COUNT(goals) && !status; i++) {
        const struct Goal *goal = &goals[i];
        double taken = 0;
        if (b->settings.quick && !goal->quick) continue;
        float *expected = mem_aligned((size_t)(CHECKED * goal->n) * sizeof *expected);
        status =
            expected ? measure_forward(b, goal->n, expected, &taken) : fail_memory(&b->err, "the results");
        if (!status) status = add_share(b, goal, taken);
        if (!status && goal->beside_cufft) status = add_cufft(b, goal, expected, taken);
        mem_free(expected);
    }
    return status;
}

/* ---- With gradients ---- */

static FraxStatus compile_gradient(FraxTarget target, int64_t rows, int64_t n, FraxExecutable **exe,
                                   FraxError *err) {
    static const char *const wrt[] = {"order", "x"};
    Sizes sizes = SIZES(B, rows, N, n);
    FraxOptions options = options_for(&sizes, 0, FRAX_REVERSE);
    options.wrt = wrt;
    options.nwrt = COUNT(wrt);
    return compile_on(target, gradient, &options, exe, err);
}

/* A small batch of the same length on both. */
static FraxStatus check_gradient(GpuBench *b, int64_t n, FraxTarget target, float *results[3]) {
    const float order = (float)ORDER;
    FraxExecutable *exe;
    FraxStatus status = compile_gradient(target, CHECKED_BATCH, n, &exe, &b->err);
    if (!status)
        status = frax_run(exe, (const void *[]){b->noise}, (const void *[]){&order}, (void *const *)results,
                          &b->err);
    frax_executable_destroy(exe);
    return status;
}

static FraxStatus compare_gradients(GpuBench *b, int64_t n) {
    size_t bytes = (size_t)(CHECKED_BATCH * n) * sizeof(float);
    float scalars[2][2], *x[2] = {mem_aligned(bytes), mem_aligned(bytes)};
    FraxTensor scalar = {FRAX_F32, 0, {0}, NULL}, signal = {FRAX_F32, 2, {CHECKED_BATCH, n}, NULL};
    FraxStatus status = x[0] && x[1] ? FRAX_OK : fail_memory(&b->err, "the gradients");
    for (int i = 0; i < 2 && !status; i++)
        status = check_gradient(b, n, i ? FRAX_CUDA : FRAX_EAGER,
                                (float *[]){&scalars[i][0], &scalars[i][1], x[i]});
    if (!status) status = compare_arrays("loss", &scalar, &scalars[0][0], &scalars[1][0], "CUDA", &b->err);
    if (!status)
        status = compare_arrays("grad.order", &scalar, &scalars[0][1], &scalars[1][1], "CUDA", &b->err);
    if (!status) status = compare_arrays("grad.x", &signal, x[0], x[1], "CUDA", &b->err);
    mem_free(x[0]);
    mem_free(x[1]);
    return status;
}

static FraxStatus measure_gradient(GpuBench *b, int64_t n) {
    const float order = (float)ORDER;
    float scalars[2];
    FraxExecutable *exe;
    RunTimes times;
    Line line = {.unit = "ms", .peer = "gradient", .rows = rows_of(b, n), .length = n};
    FraxStatus status = compile_gradient(FRAX_CUDA, line.rows, n, &exe, &b->err);
    if (!status) status = keep_signal(exe, b->noise, &b->err);
    if (!status)
        status = frax_run(exe, (const void *[]){b->noise}, (const void *[]){&order},
                          (void *[]){&scalars[0], &scalars[1], b->results}, &b->err);
    if (!status) status = time_on_device(b, exe, &times, &b->err);
    frax_executable_destroy(exe);
    if (status) return status;
    line.seconds = times.device;
    line.value = 1e3 * times.device;
    snprintf(line.name, sizeof line.name, "derivative with gradients in signal and order, %lldx%lld f32",
             (long long)line.rows, (long long)n);
    snprintf(line.note, sizeof line.note, "%.3g times a copy of the signal",
             times.device * b->bandwidth / (2.0 * (double)b->data_bytes));
    return add_line(b, &line);
}

FraxStatus run_gradients(GpuBench *b) {
    FraxStatus status = FRAX_OK;
    for (size_t i = 0; i < COUNT(gradient_lengths) && !status; i++) {
        if (b->settings.quick && i) break;
        status = compare_gradients(b, gradient_lengths[i]);
        if (!status) status = measure_gradient(b, gradient_lengths[i]);
    }
    return status;
}
