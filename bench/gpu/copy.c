/* copy.c — the bandwidth that everything else is held against: copies on the device of half a gigabyte, in
 * two arrays of noise, by the driver and by a kernel of frax. Read and written bytes count.
 */
#include "gpu_bench.h"

static const char copied[] = "model copied(x: f32[N], z: f32[N]) {\n    return x, z\n}\n";
static const char mapped[] =
    "model mapped(x: f32[N], z: f32[N]) {\n    y = -x\n    w = -z\n    return y, w\n}\n";

static FraxStatus measure(GpuBench *b, const char *model, const char *name) {
    Sizes sizes = SIZES(N, (int64_t)(b->data_bytes / sizeof(float)), , 0);
    FraxOptions options = options_for(&sizes, 0, FRAX_FORWARD);
    Line line = {.unit = "GB/s"};
    FraxExecutable *exe;
    RunTimes times;
    FraxStatus status = compile_on(FRAX_CUDA, model, &options, &exe, &b->err);
    if (!status) status = keep_signal(exe, b->noise, &b->err);
    if (!status) status = time_on_device(b, exe, &times, &b->err);
    frax_executable_destroy(exe);
    if (status) return status;
    double bytes = 4.0 * (double)b->data_bytes, rate = bytes / times.device;
    b->bandwidth = fmax(b->bandwidth, rate);
    line.value = 1e-9 * rate;
    snprintf(line.name, sizeof line.name, "%s", name);
    snprintf(line.note, sizeof line.note, "%.4g MB moved in %.4g ms", 1e-6 * bytes, 1e3 * times.device);
    return add_line(b, &line);
}

/* Either will do: the faster one counts. */
FraxStatus run_copy_bandwidth(GpuBench *b) {
    Line line = {.name = "copy on the device, cuMemcpyDtoD"};
    if (measure(b, copied, line.name)) add_failure(b, line);
    return measure(b, mapped, "y = −x, a kernel of frax");
}
