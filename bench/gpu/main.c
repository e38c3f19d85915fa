/* main.c — the benchmark of the CUDA target: its options, and its parts one after the other. See gpu_bench.h.
 *
 *     frax_gpu_bench [--quick] [--only PART] [--table FILE.md] [--json FILE.json]
 *
 * Run it in the root of the tree (bench/gpu.sh does); CUDA_VISIBLE_DEVICES chooses the device. A missed bar
 * is told, and is no failure; a part that fails, as by a wrong result, is.
 */
#include "gpu_bench.h"
#include <string.h>

enum { DATA_BYTES = 256 << 20, DATA_BYTES_QUICK = 128 << 10 };

static const struct BenchPart {
    const char *name, *what;
    FraxStatus (*run)(GpuBench *b);
} parts[] = {
    {"copy", "copy bandwidth", run_copy_bandwidth},
    {"forward", "fractional derivative, forward", run_forward},
    {"gradients", "fractional derivative with gradients", run_gradients},
    {"launches", "launching", run_launches},
    {"compiling", "compiling", run_gpu_compiling},
    {"training", "training step", run_training},
};

static int usage(void) {
    fprintf(stderr, "usage: frax_gpu_bench [--quick] [--only PART] [--table FILE] [--json FILE]\nparts:");
    for (size_t i = 0; i < COUNT(parts); i++) fprintf(stderr, " %s", parts[i].name);
    fprintf(stderr, "\n");
    return 2;
}

/* Cheap noise in [−1, 1): all the data together are half a gigabyte. */
static void fill(float *x, size_t n) {
    uint64_t state = 20240229;
    for (size_t i = 0; i < n; i++) {
        state = state * 6364136223846793005u + 1442695040888963407u;
        x[i] = (float)(int32_t)(state >> 32) * 0x1p-31f;
    }
}

static FraxStatus make_data(GpuBench *b) {
    b->data_bytes = b->settings.quick ? DATA_BYTES_QUICK : DATA_BYTES;
    b->noise = mem_aligned(b->data_bytes);
    b->results = mem_aligned(b->data_bytes);
    if (!b->noise || !b->results) return fail_memory(&b->err, "the data");
    fill(b->noise, b->data_bytes / sizeof *b->noise);
    return FRAX_OK;
}

/* A failed part is a line without a figure. */
static void run_part(GpuBench *b, const struct BenchPart *part) {
    double start = seconds();
    Line line = {.value = NAN};
    snprintf(line.name, sizeof line.name, "%s", part->what);
    b->err = (FraxError){0};
    if (part->run(b)) add_failure(b, line);
    fprintf(stderr, "frax_gpu_bench: %s took %.1f s\n", part->name, seconds() - start);
}

static bool take_option(GpuBench *b, const char *option, const char *value) {
    if (!strcmp(option, "--only"))
        b->settings.only = value;
    else if (!strcmp(option, "--table"))
        b->table_path = value;
    else if (!strcmp(option, "--json"))
        b->json_path = value;
    else
        return false;
    return true;
}

static bool is_wanted(const GpuBench *b, const struct BenchPart *part) {
    return !b->settings.only || !strcmp(b->settings.only, part->name) ||
           part == parts; /* all need the bandwidth */
}

static int run_all(GpuBench *b) {
    size_t all, met;
    for (size_t i = 0; i < COUNT(parts); i++)
        if (is_wanted(b, &parts[i])) run_part(b, &parts[i]);
    count_bars(b, &all, &met);
    printf("\n%zu of %zu bars met", met, all);
    if (b->failures) printf("; %zu failures", b->failures);
    printf("\n");
    return b->failures ? 1 : 0;
}

int main(int argc, char **argv) {
    static GpuBench b;
    for (int i = 1; i < argc; i++) {
        if (!strcmp(argv[i], "--quick"))
            b.settings.quick = true;
        else if (i + 1 == argc || !take_option(&b, argv[i], argv[i + 1]))
            return usage();
        else
            i++;
    }
    FraxStatus status = cuda_device_open(0, &b.device, &b.err);
    if (!status) status = make_data(&b);
    int result = 1;
    if (status)
        fprintf(stderr, "frax_gpu_bench: %s\n", b.err.message);
    else
        result = run_all(&b);
    mem_free(b.noise);
    mem_free(b.results);
    mem_free(b.lines);
    return result;
}
