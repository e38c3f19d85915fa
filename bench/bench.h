/* bench.h — the benchmark suite: suite.c holds the cases, measure.c times them, report.c tells the results.
 *
 * All runs of a case happen in one process, on the same seeded noise, in turn, so that a change of the
 * machine's speed hits all of them; medians count. Before anything is timed the results of the targets are
 * compared.
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

/* What a bar limits: enumerator, how it reads, whether the value must be at least the limit. */
#define BARS(X)                                                                                              \
    X(BAR_NONE, "", false)                                                                                   \
    X(BAR_COPY, "<= %g x copy", false)                                                                       \
    X(BAR_EAGER, ">= %g x eager", true)                                                                      \
    X(BAR_MICROSECONDS, "<= %g us", false)                                                                   \
    X(BAR_MILLISECONDS, "<= %g ms", false)                                                                   \
    X(BAR_RATIO, "<= %g x live", false)                                                                      \
    X(BAR_OPERATOR, "<= %g x operator", false)

typedef enum BarKind {
#define X(name, text, at_least) name,
    BARS(X)
#undef X
} BarKind;

typedef struct Bar {
    BarKind kind;
    double limit;
} Bar;

typedef struct Row {
    char name[64];
    int threads;               /* 0: does not matter */
    double fused, eager, copy; /* seconds; 0: not measured */
    Bar bar;
    double value; /* what the bar limits */
    size_t repeat;
} Row;

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

/* ---- report.c ---- */

void print_machine(void);
void print_heading(void);
void print_row(const Row *row);
void print_summary(const Row *rows, size_t n);
/* 1 met, 0 missed, −1 no bar. */
int bar_met(const Row *row);
FraxStatus write_json(const char *path, const Settings *settings, const Row *rows, size_t n, FraxError *err);
FraxStatus write_plot(const char *path, const Row *rows, size_t n, FraxError *err);

#endif
