/* gpu_bench.h — the benchmark of the CUDA target: what it reaches of the device's own copy bandwidth, and of
 * other libraries on the same device. main.c runs the parts: copy.c (the bandwidth), derivative.c (fractional
 * derivatives over lengths, beside cufft.c, the same on cuFFT), step.c (a training step of the classifier,
 * launches, compiling). runs.c has what they share, table.c writes what they found. peers_gpu.py adds
 * PyTorch, by the shapes and times of the JSON.
 *
 * Times are the device's, between two events around captured runs on resident data; medians count. Results
 * are compared with the CPU's before anything is timed. A part that fails is a line of the table, and the
 * others go on.
 */
#ifndef FRAX_GPU_BENCH_H
#define FRAX_GPU_BENCH_H

#include "api.h"
#include "bench.h"
#include "cuda_device.h"

/* Which side of its limit a figure is to be on. */
typedef enum Sense { NO_BAR, AT_LEAST, AT_MOST } Sense;

/* A line of the table. */
typedef struct Line {
    char name[96];
    double value; /* not finite: there is none, and the note says why */
    const char *unit;
    Sense sense;
    double limit;
    char note[200];
    const char *peer; /* what peers_gpu.py is to time: gradient, training; NULL: nothing */
    int64_t rows, length;
    double seconds; /* for it: of a run on the device */
} Line;

typedef struct GpuBench {
    Settings settings;
    const char *table_path, *json_path; /* written after each line; NULL: not */
    CudaDevice device;
    double bandwidth;       /* bytes a second, read and written */
    float *noise, *results; /* data_bytes each */
    size_t data_bytes;
    Line *lines;
    size_t nlines, capacity;
    size_t failures; /* what went wrong, each told in a line */
    FraxError err;
} GpuBench;

/* ---- The parts; each fails with a message in b->err ---- */

FraxStatus run_copy_bandwidth(GpuBench *b);
FraxStatus run_forward(GpuBench *b);
FraxStatus run_gradients(GpuBench *b);
FraxStatus run_launches(GpuBench *b);
FraxStatus run_gpu_compiling(GpuBench *b);
FraxStatus run_training(GpuBench *b);

/* ---- runs.c ---- */

/* A model of the text, or FILE:NAME, on a target; `options` without its target. */
FraxStatus compile_on(FraxTarget target, const char *model, const FraxOptions *options, FraxExecutable **exe,
                      FraxError *err);
/* The inputs, all of x's size, go to the device and stay there. */
FraxStatus keep_signal(const FraxExecutable *exe, const float *x, FraxError *err);
/* Medians of a run's times on what the device holds since the last run. */
FraxStatus time_on_device(const GpuBench *b, const FraxExecutable *exe, RunTimes *times, FraxError *err);

/* Samples of a median, and runs in a row of a sample, where one takes about so long. */
enum { MOST_SAMPLES = 15 };
size_t samples_of(const GpuBench *b);
size_t runs_of(const GpuBench *b, double seconds);

/* ---- cufft.c ---- */

/* y = irfft(K · rfft(x)) of the first rows of the noise, K = (iω)^order. */
typedef struct CufftCase {
    int64_t rows, n;
    double order, step;
    const float *expected; /* of the first rows of y */
    int64_t expected_rows;
} CufftCase;

/* By cuFFT and a kernel that multiplies, median seconds of a run. FRAX_UNSUPPORTED where there is no cuFFT.
 */
FraxStatus time_cufft(GpuBench *b, const CufftCase *c, double *result);

/* ---- table.c ---- */

FraxStatus add_line(GpuBench *b, const Line *line);
/* The line without a figure, saying what b->err does. */
FraxStatus add_failure(GpuBench *b, Line line);
/* How many have a bar, and how many of them meet it. */
void count_bars(const GpuBench *b, size_t *all, size_t *met);

#endif
