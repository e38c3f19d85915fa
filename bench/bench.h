/* bench.h — the benchmark suite. main.c runs the parts: suite.c (models, operators, training), spectral.c
 * (the sweep over lengths and batches, beside fftw.c, the same by hand on FFTW), object.c (a
 * call of an object), compile.c (compiling, memory, the start of the library). measure.c times the cases,
 * report.c tells the results, chart.c draws them.
 *
 * All runs of a case happen in one process, on the same seeded noise, in turn, so that a change of the
 * machine's speed hits all of them; medians count, of samples that no other program interrupted. Before
 * anything is timed the results of the targets are compared.
 */
#ifndef FRAX_BENCH_H
#define FRAX_BENCH_H

#include "base.h"
#include <math.h>

typedef struct Settings {
    bool quick;
    const char *only; /* cases whose names contain it; NULL: all */
    const char *program;
} Settings;

/* ---- Results ---- */

enum { MAX_BARS = 3 };

/* What a bar limits: enumerator, how it reads, whether the value must be at least the limit. */
#define BARS(X)                                                                                              \
    X(BAR_NONE, "", false)                                                                                   \
    X(BAR_COPY, "<= %g x copy", false)                                                                       \
    X(BAR_EAGER, ">= %g x eager", true)                                                                      \
    X(BAR_MICROSECONDS, "<= %g us", false)                                                                   \
    X(BAR_MILLISECONDS, "<= %g ms", false)                                                                   \
    X(BAR_RATIO, "<= %g x live", false)                                                                      \
    X(BAR_GURU, ">= %g x guru", true)                                                                        \
    X(BAR_NAIVE, ">= %g x naive", true)                                                                      \
    X(BAR_BARE, "<= %g x bare", false)                                                                       \
    X(BAR_OPERATOR, "<= %g x operator", false)

typedef enum BarKind {
#define X(name, text, at_least) name,
    BARS(X)
#undef X
} BarKind;

typedef struct Bar {
    BarKind kind;
    double limit, value; /* value: what was measured */
} Bar;

/* Where a row stands in the sweep; length 0: it is none of it. */
typedef struct Point {
    FraxDType dtype;
    int64_t length, batch;
    bool gradient, causal;
    bool full; /* as many rows as a batch has at most */
} Point;

typedef struct Row {
    char name[64];
    int threads;               /* 0: does not matter */
    double fused, eager, copy; /* seconds of a run; 0: not measured */
    double guru, naive;        /* by hand on FFTW, see fftw.c */
    Bar bars[MAX_BARS];        /* those without a kind last */
    Point point;
    size_t repeat;
} Row;

typedef struct Suite {
    Settings settings;
    Row *rows;
    size_t nrows, cap;
    FraxError err;
} Suite;

/* ---- The parts; each fails with a message in s->err ---- */

FraxStatus run_suite(Suite *s);
FraxStatus run_spectral(Suite *s);
FraxStatus run_object(Suite *s);
FraxStatus run_compiling(Suite *s);
/* In a process of its own, for run_compiling: loads and compiles one model, prints the seconds; exit status.
 */
int compile_one(const char *number, bool cached);

bool wanted(const Suite *s, const char *name);
/* Keeps a copy of the row and prints it. */
FraxStatus add_row(Suite *s, const Row *row);

/* ---- measure.c ---- */

double seconds(void);
double median(double *values, size_t n);

typedef struct Contestant {
    FraxStatus (*run)(void *context, FraxError *err);
    void *context;
    double seconds; /* the result */
} Contestant;

/* Times the contestants in turn; *repeat: how often each. */
FraxStatus time_in_turn(Contestant *all, size_t n, const Settings *settings, size_t *repeat, FraxError *err);

/* A model compiled for both targets, with the data they share. */
enum { FUSED, EAGER, TARGETS };

typedef struct Pair {
    FraxExecutable *exe[TARGETS];
    size_t count[3]; /* by FraxRole */
    void **inputs, **params, **outputs[TARGETS];
} Pair;

/* `options` without its target. The inputs are noise; i32 ones are labels below 10. */
FraxStatus pair_open(Pair *pair, const FraxModel *model, const FraxOptions *options, FraxError *err);
void pair_close(Pair *pair);
FraxStatus pair_run(const Pair *pair, int target, FraxError *err);
/* FRAX_INTERNAL where the targets' results differ by more than rounding. */
FraxStatus pair_compare(const Pair *pair, FraxError *err);
size_t type_bytes_of(const FraxTensor *type);
/* The output of that name (or the gradient); NULL if there is none. */
void *pair_output(const Pair *pair, int target, const char *name, FraxTensor *type);
/* FRAX_INTERNAL where two arrays of this type differ by more than rounding; b is called `who`. */
FraxStatus compare_arrays(const char *name, const FraxTensor *type, const void *a, const void *b,
                          const char *who, FraxError *err);

/* Contestants with a Pair as their context, and a copy split over threads with a Copy. */
FraxStatus run_fused(void *pair, FraxError *err);
FraxStatus run_eager(void *pair, FraxError *err);

typedef struct Copy {
    char *to;
    const char *from;
    size_t bytes;
    int threads;
} Copy;

FraxStatus run_copy(void *copy, FraxError *err);

#define MODELS   FRAX_SOURCE_DIR "/bench/models.frax"
#define EXAMPLES FRAX_SOURCE_DIR "/frontend/examples"

/* The values of one or two size symbols: SIZES(B, 32, N, 128), SIZES(N, 100, , 0). */
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

/* Without the kernel cache. */
FraxOptions options_for(const Sizes *sizes, int threads, FraxMode mode);

/* ---- fftw.c ---- */

typedef struct BaselineSpec {
    FraxDType dtype;
    int64_t rows, n;
    bool causal;   /* convolution with Gruenwald weights, else the Weyl derivative */
    bool gradient; /* and the loss mean(y^2), with its gradients in x and in the order */
    int threads;
    double order, step;
} BaselineSpec;

typedef enum BaselineKind { GURU, NAIVE, BASELINES } BaselineKind;

typedef struct Baseline Baseline;

/* Before any other use of FFTW: recalls the plans of earlier runs. False in a build without FFTW. */
bool baseline_start(void);
/* Plans. *out is NULL, without an error, where there is nothing to compare with: no FFTW, or no two rows for
   guru. x has the rows, 64-byte aligned. */
FraxStatus baseline_create(const BaselineSpec *spec, BaselineKind kind, const void *x, Baseline **out,
                           FraxError *err);
FraxStatus baseline_run(void *baseline, FraxError *err);
/* Fails where what it computed is not what the pair's eager target did. */
FraxStatus baseline_compare(const Baseline *baseline, const Pair *pair, FraxError *err);
void baseline_destroy(Baseline *baseline); /* NULL is fine */

/* ---- report.c ---- */

void print_machine(void);
/* A heading for the row where the last one printed was of another kind, then the row. */
void print_row(const Row *row, const Row *last);
void print_summary(const Row *rows, size_t n);
FraxStatus write_json(const char *path, const Suite *s, FraxError *err);
void processor_name(char *name, size_t size);

/* ---- chart.c ---- */

FraxStatus write_ratios(const char *path, const Suite *s, FraxError *err);
/* Time per row against the length. */
FraxStatus write_sweep(const char *path, const Suite *s, FraxError *err);

#endif
