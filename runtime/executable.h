/* executable.h — a graph made runnable on a target, and its parts: eager walk, compiled program, cache.
 *
 * An executable is immutable after creation, but for values that it is told to keep; any number of threads
 * may run it at once.
 */
#ifndef FRAX_EXECUTABLE_H
#define FRAX_EXECUTABLE_H

#include "ir.h"

typedef struct ExecutableOptions {
    FraxTarget target;
    int device;          /* FRAX_CUDA: which GPU, from 0 */
    int threads;         /* 0: as many as OpenMP would use */
    bool no_cache;       /* neither read nor write the kernel cache on disk */
    bool debug;          /* register JIT code with gdb and write a perf map */
    Watch watch;         /* whoever waits */
    bool self_contained; /* code that calls no library but libm; not cached */
    /* What code is generated for, something that this machine can run; NULL: this machine. Not cached. */
    const struct HostTarget *host;
} ExecutableOptions;

typedef struct Executable Executable;

/* Compiles `graph` (differentiated as wanted, not yet passed through the passes) and takes it over, on
 * failure too. */
FraxStatus executable_create(Graph *graph, const ExecutableOptions *options, Executable **out,
                             FraxError *err);
void executable_destroy(Executable *exe);

/* inputs in the order of graph->inputs, outputs in the order of graph->outputs: of the types and strides of
   executable_graph(). An output donated from an input may be given that input's buffer. FRAX_VALUE
   where a guarded value is out of its range; what the outputs hold is not defined then. */
FraxStatus executable_run(const Executable *exe, const void *const *inputs, void *const *outputs,
                          FraxError *err);

/* The graph after all passes (CPU target) or as given (all others): signature and types. Owned by exe.
 */
const Graph *executable_graph(const Executable *exe);

/* ---- Values that stay in a device's memory between runs (FRAX_CUDA), for one thread at a time ---- */

/* Does the target have memory of its own? What follows is only for one that has. */
bool executable_has_memory(const Executable *exe);
/* Says of each input whether it is kept: runs do not read the caller's array, nor write that of an output
   donated from it; the output is the input of the next run. A guarded value that is kept is judged after the
   kernels: where it is out of its range, all outputs of the run are undefined, kept ones too. */
FraxStatus executable_keep(Executable *exe, const bool *inputs, FraxError *err);
FraxStatus executable_upload(Executable *exe, size_t input, const void *data, FraxError *err);
FraxStatus executable_download(const Executable *exe, size_t input, void *data, FraxError *err);
/* Copies of all kept inputs that outputs are donated from, in slot 0 or 1 on the device. */
FraxStatus executable_save(Executable *exe, int slot, FraxError *err);
FraxStatus executable_restore(Executable *exe, int slot, FraxError *err);

/* Of one run's work on the device, without copies from and to the host. */
typedef struct RunTimes {
    double device; /* seconds, by the device's clock */
    double launch; /* seconds of the host, to hand the captured run over */
} RunTimes;

/* Means over `runs` in a row, on what the device holds since the last run or upload. Kept values go on as by
   so many runs; no output is fetched, and nothing guarded is looked at. */
FraxStatus executable_time(const Executable *exe, size_t runs, RunTimes *times, FraxError *err);

typedef struct ExecutableStats {
    size_t arena_bytes;  /* temporary memory of one run */
    size_t live_bytes;   /* the largest set of temporary values alive at once: the floor of arena_bytes */
    size_t static_bytes; /* tables computed once, at creation */
    size_t moved_bytes;  /* bytes that one run's kernels read and write, each operand once */
    size_t kernels;
    double compile_seconds; /* passes, code generation and linking, or loading from the cache */
    bool from_cache;
    unsigned
        refused; /* FRAX_CUDA, after a failure: libraries that cannot do their part (Graph.gpu_libraries) */
} ExecutableStats;

ExecutableStats executable_stats(const Executable *exe);

/* ---- Eager target (eager.c): node by node, FFTW and CBLAS; prepared once, run often ---- */

typedef struct Eager Eager;
FraxStatus eager_create(const Graph *graph, int threads, Eager **out,
                        FraxError *err); /* graph must outlive it */
void eager_destroy(Eager *eager);
FraxStatus eager_run(const Eager *eager, const void *const *inputs, void *const *outputs, FraxError *err);
size_t eager_moved_bytes(const Eager *eager);

#endif
