/* cli_bench.c — the verb bench: what fusion buys over eager execution, on the user's own model.
 *
 * One process, the same data and threads for both. Results are compared first; then eager and fused runs
 * alternate, so that a change of the machine's speed hits both, and medians count. Compiling is timed apart:
 * cold, and from the kernel cache. On a GPU the kernels alone are timed as well, by the device's clock.
 */
#include "api.h"
#include "bandwidth.h"
#include "cli.h"
#include "files.h"
#include "half.h"
#include "svg.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MIN_REPEAT = 5, MAX_REPEAT = 2000 };
static const double SECONDS_PER_ROW = 0.5, SECONDS_PER_SAMPLE = 50e-6;

typedef struct Row {
    const char *what;
    double eager, fused;                     /* seconds, medians */
    double compile_cold, compile_cached;     /* seconds; cached NaN where the cache is off or was missed */
    size_t eager_bytes, fused_bytes, repeat; /* moved in one run */
    double roofline; /* share of the machine's copy bandwidth that the fused run reaches */
    RunTimes gpu;    /* of the fused run on a GPU, without copies; NaN elsewhere */
} Row;

/* Both executables of a row, and the data they share. */
typedef struct Pairing {
    Session session; /* its exe is the fused one */
    FraxExecutable *eager;
    void **eager_outputs;
} Pairing;

static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

/* ---- The same results ---- */

/* Largest difference allowed, relative to the largest entry of the array: sums are taken in different orders.
 */
static const double tolerances[] = {[FRAX_F64] = 1e-10, [FRAX_F32] = 2e-4, [FRAX_BF16] = 5e-2,
                                    [FRAX_F16] = 1e-2,  [FRAX_I32] = 0,    [FRAX_BOOL] = 0};

static FraxStatus compare(const char *name, const FraxTensor *fused, const void *eager, FraxError *err) {
    int64_t n = tensor_count(fused);
    double scale = 0;
    for (int64_t i = 0; i < n; i++) {
        double value = fabs(element_get(eager, fused->dtype, i));
        if (isfinite(value)) scale = fmax(scale, value);
    }
    for (int64_t i = 0; i < n; i++) {
        double a = element_get(eager, fused->dtype, i), b = element_get(fused->data, fused->dtype, i);
        bool same = a == b || (isnan(a) && isnan(b)) || fabs(a - b) <= tolerances[fused->dtype] * scale;
        if (!same)
            return fail(err, FRAX_INTERNAL, "%s differs at element %lld: eager %.9g, fused %.9g", name,
                        (long long)i, a, b);
    }
    return FRAX_OK;
}

static FraxStatus run_eager(const Pairing *p, FraxError *err) {
    const Session *s = &p->session;
    return frax_run(p->eager, (const void *const *)s->input_data, (const void *const *)s->param_data,
                    p->eager_outputs, err);
}

static FraxStatus compare_all(Pairing *p, FraxError *err) {
    FraxStatus status = run_eager(p, err);
    if (!status) status = session_run(&p->session, err);
    for (size_t i = 0; !status && i < frax_executable_count(p->eager, FRAX_OUTPUT); i++) {
        FraxTensor fused = session_output(&p->session, i);
        status = compare(frax_executable_name(p->eager, FRAX_OUTPUT, i), &fused, p->eager_outputs[i], err);
    }
    return status;
}

/* ---- Timing ---- */

/* Seconds of one run, over `inner` runs in a row. */
static FraxStatus sample(Pairing *p, bool eager, int64_t inner, double *result, FraxError *err) {
    FraxStatus status = FRAX_OK;
    double start = seconds();
    for (int64_t i = 0; i < inner && !status; i++)
        status = eager ? run_eager(p, err) : session_run(&p->session, err);
    *result = (seconds() - start) / (double)inner;
    return status;
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, size_t n) {
    qsort(values, n, sizeof *values, by_value);
    return n % 2 ? values[n / 2] : (values[n / 2 - 1] + values[n / 2]) / 2;
}

static FraxStatus time_both(Pairing *p, Row *row, int64_t repeat, FraxError *err) {
    double eager, fused;
    FraxStatus status = sample(p, true, 1, &eager, err);
    if (!status) status = sample(p, false, 1, &fused, err);
    if (status) return status;
    int64_t inner_eager = 1 + (int64_t)(SECONDS_PER_SAMPLE / eager);
    int64_t inner_fused = 1 + (int64_t)(SECONDS_PER_SAMPLE / fused);
    double round = eager * (double)inner_eager + fused * (double)inner_fused;
    if (!repeat) repeat = (int64_t)fmin(fmax(SECONDS_PER_ROW / round, MIN_REPEAT), MAX_REPEAT);
    double *times = mem_calloc((size_t)repeat, 2 * sizeof *times);
    if (!times) return fail_memory(err, "the timings");
    for (int64_t i = 0; i < repeat && !status; i++) {
        status = sample(p, true, inner_eager, &times[i], err);
        if (!status) status = sample(p, false, inner_fused, &times[repeat + i], err);
    }
    row->repeat = (size_t)repeat;
    row->eager = median(times, (size_t)repeat);
    row->fused = median(times + repeat, (size_t)repeat);
    mem_free(times);
    return status;
}

/* On the data of the last run. */
static FraxStatus time_on_device(const Pairing *p, Row *row, FraxError *err) {
    enum { SAMPLES = 9 };
    const Executable *exe = p->session.exe->exe;
    double device[SAMPLES], launch[SAMPLES];
    RunTimes times = {0};
    FraxStatus status = executable_time(exe, 1, &times, err);
    size_t runs = 1 + (size_t)fmin(1e-3 / fmax(times.device, 1e-6), 1000);
    for (int i = 0; i < SAMPLES && !status; i++) {
        status = executable_time(exe, runs, &times, err);
        device[i] = times.device;
        launch[i] = times.launch;
    }
    if (!status) row->gpu = (RunTimes){median(device, SAMPLES), median(launch, SAMPLES)};
    return status;
}

/* ---- Compiling ---- */

static FraxStatus compile_seconds(const Session *s, bool no_cache, FraxMemory *memory, FraxError *err) {
    FraxOptions options = s->options;
    FraxExecutable *exe;
    options.no_cache = no_cache;
    FraxStatus status = frax_compile(s->model, &options, &exe, err);
    if (status) return status;
    *memory = frax_executable_memory(exe);
    frax_executable_destroy(exe);
    return FRAX_OK;
}

/* The session's own compilation has left its code in the cache. */
static FraxStatus time_compiling(const Session *s, Row *row, FraxError *err) {
    FraxMemory cold = {0}, cached = {0};
    FraxStatus status = compile_seconds(s, true, &cold, err);
    if (!status && !s->options.no_cache) status = compile_seconds(s, false, &cached, err);
    row->compile_cold = cold.compile_seconds;
    row->compile_cached = cached.from_cache ? cached.compile_seconds : NAN;
    return status;
}

static FraxStatus compile_eager(Pairing *p, FraxError *err) {
    FraxOptions options = p->session.options;
    options.target = FRAX_EAGER;
    FraxStatus status = frax_compile(p->session.model, &options, &p->eager, err);
    if (status) return status;
    size_t n = frax_executable_count(p->eager, FRAX_OUTPUT);
    p->eager_outputs = mem_calloc(MAX(n, 1), sizeof *p->eager_outputs);
    if (!p->eager_outputs) return fail_memory(err, "the results");
    for (size_t i = 0; i < n; i++) {
        FraxTensor type = frax_executable_type(p->eager, FRAX_OUTPUT, i);
        p->eager_outputs[i] = mem_aligned(MAX(tensor_bytes(&type), 1));
        if (!p->eager_outputs[i]) return fail_memory(err, "the results");
    }
    return FRAX_OK;
}

static void pairing_close(Pairing *p) {
    for (size_t i = 0; p->eager_outputs && i < frax_executable_count(p->eager, FRAX_OUTPUT); i++)
        mem_free(p->eager_outputs[i]);
    mem_free(p->eager_outputs);
    frax_executable_destroy(p->eager);
    session_close(&p->session);
}

static FraxStatus measure(const Cli *cli, FraxMode mode, double bandwidth, Row *row, FraxError *err) {
    Pairing p = {0};
    FraxStatus status = session_open(&p.session, cli, err);
    FraxTarget target = p.session.options.target;
    p.session.options.mode = mode;
    if (!status && target != FRAX_CPU && target != FRAX_CUDA)
        status =
            fail(err, FRAX_USAGE, "bench compares cpu or cuda with eager; it got --target %s", cli->target);
    if (!status) status = session_compile(&p.session, true, err);
    if (!status) status = compile_eager(&p, err);
    if (!status) status = compare_all(&p, err);
    if (!status) status = time_both(&p, row, cli->repeat, err);
    row->gpu = (RunTimes){NAN, NAN};
    if (!status && target == FRAX_CUDA) status = time_on_device(&p, row, err);
    if (!status) status = time_compiling(&p.session, row, err);
    if (!status) {
        row->eager_bytes = frax_executable_memory(p.eager).moved_bytes;
        row->fused_bytes = frax_executable_memory(p.session.exe).moved_bytes;
        /* The bandwidth is that of this machine's memory, not of a GPU's. */
        row->roofline = target == FRAX_CPU ? (double)row->fused_bytes / row->fused / bandwidth : NAN;
    }
    pairing_close(&p);
    return status;
}

/* ---- Report ---- */

static const char *time_text(double s, char buffer[24]) {
    static const struct {
        double least, factor;
        const char *unit;
    } units[] = {{1, 1, "s"}, {1e-3, 1e3, "ms"}, {0, 1e6, "us"}};
    if (isnan(s)) return "-";
    size_t i = 0;
    while (s < units[i].least) i++;
    snprintf(buffer, 24, "%.3g %s", s * units[i].factor, units[i].unit);
    return buffer;
}

static const char *bytes_text(double bytes, char buffer[24]) {
    static const char *const units[] = {"B", "kB", "MB", "GB", "TB"};
    size_t i = 0;
    for (; bytes >= 1000 && i + 1 < COUNT(units); i++) bytes /= 1000;
    snprintf(buffer, 24, "%.3g %s", bytes, units[i]);
    return buffer;
}

static const char *share_text(double share, char buffer[24]) {
    if (isnan(share)) return "-";
    snprintf(buffer, 24, "%.1f%%", 100 * share);
    return buffer;
}

static void print_table(const Row *rows, size_t n, double bandwidth, Text *out) {
    char a[24], b[24], c[24], d[24];
    text_printf(out, "%-22s %10s %10s %7s %12s %11s\n", "what", "eager", "fused", "ratio", "bytes moved",
                "% of memory");
    for (size_t i = 0; i < n; i++)
        text_printf(out, "%-22s %10s %10s %6.2fx %12s %11s\n", rows[i].what, time_text(rows[i].eager, a),
                    time_text(rows[i].fused, b), rows[i].eager / rows[i].fused,
                    bytes_text((double)rows[i].fused_bytes, c), share_text(rows[i].roofline, d));
    text_printf(out, "\n%-22s %10s %10s %12s\n", "compiling", "cold", "cached", "eager bytes");
    for (size_t i = 0; i < n; i++)
        text_printf(out, "%-22s %10s %10s %12s\n", rows[i].what, time_text(rows[i].compile_cold, a),
                    time_text(rows[i].compile_cached, b), bytes_text((double)rows[i].eager_bytes, c));
    if (isnan(rows[0].roofline)) {
        text_printf(out, "\n%-22s %10s %10s %12s\n", "on the GPU alone", "kernels", "launch", "bytes/second");
        for (size_t i = 0; i < n; i++)
            text_printf(out, "%-22s %10s %10s %12s\n", rows[i].what, time_text(rows[i].gpu.device, a),
                        time_text(rows[i].gpu.launch, b),
                        bytes_text((double)rows[i].fused_bytes / rows[i].gpu.device, c));
        text_printf(out,
                    "\nfused: on the GPU, with the copies of inputs and outputs between host and device;\n"
                    "kernels: by the device's clock, without them; launch: the host's time for it.\n");
        return;
    }
    text_printf(out,
                "\n%% of memory: bytes moved over time, of the %s/s at which this machine copies;\n"
                "more than 100%% where the data stay in the caches.\n",
                bytes_text(bandwidth, a));
}

static void print_json(const Row *rows, size_t n, double bandwidth, Text *out) {
    text_printf(out, "{\"rows\": [");
    for (size_t i = 0; i < n; i++) {
        text_printf(out, "%s{\"what\": ", i ? ", " : "");
        json_string(out, rows[i].what);
        const struct {
            const char *key;
            double value;
        } fields[] = {{"eager_seconds", rows[i].eager},
                      {"fused_seconds", rows[i].fused},
                      {"ratio", rows[i].eager / rows[i].fused},
                      {"bytes_moved", (double)rows[i].fused_bytes},
                      {"eager_bytes_moved", (double)rows[i].eager_bytes},
                      {"roofline", rows[i].roofline},
                      {"device_seconds", rows[i].gpu.device},
                      {"launch_seconds", rows[i].gpu.launch},
                      {"compile_seconds", rows[i].compile_cold},
                      {"cached_compile_seconds", rows[i].compile_cached},
                      {"repeat", (double)rows[i].repeat}};
        for (size_t f = 0; f < COUNT(fields); f++) {
            text_printf(out, ", \"%s\": ", fields[f].key);
            json_number(out, fields[f].value);
        }
        text_printf(out, "}");
    }
    text_printf(out, "], \"copy_bytes_per_second\": ");
    json_number(out, bandwidth);
    text_printf(out, "}\n");
}

static FraxStatus plot_bars(const char *path, const char *title, const Row *rows, size_t n, FraxError *err) {
    const char *groups[2], *const series[] = {"eager", "fused"};
    double values[2 * COUNT(groups)];
    for (size_t i = 0; i < n; i++) {
        groups[i] = rows[i].what;
        values[2 * i] = 1e3 * rows[i].eager;
        values[2 * i + 1] = 1e3 * rows[i].fused;
    }
    SvgBars bars = {title, "milliseconds", groups, n, series, COUNT(series), values};
    Text svg = {0};
    FraxStatus status = svg_bars(&bars, &svg);
    if (!status) status = file_replace(path, svg.data, svg.len, err);
    text_free(&svg);
    return status;
}

FraxStatus cli_bench(Cli *cli, FraxError *err) {
    Row rows[2] = {{.what = "forward"}, {.what = "forward + gradients"}};
    const FraxMode modes[] = {FRAX_FORWARD, FRAX_REVERSE};
    size_t n = cli->grad ? 2 : 1;
    if (!cli->grad && (cli->of || cli->wrt)) return fail(err, FRAX_USAGE, "--of and --wrt need --grad");
    FraxStatus status = FRAX_OK;
    double bandwidth = copy_bandwidth((int)cli->threads);
    if (!(bandwidth > 0)) return fail_memory(err, "measuring the copy bandwidth");
    for (size_t i = 0; i < n && !status; i++) status = measure(cli, modes[i], bandwidth, &rows[i], err);
    if (!status && cli->plot) status = plot_bars(cli->plot, cli->operand, rows, n, err);
    if (status) return status;
    if (cli->json)
        print_json(rows, n, bandwidth, &cli->text);
    else
        print_table(rows, n, bandwidth, &cli->text);
    return FRAX_OK;
}
