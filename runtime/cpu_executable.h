/* cpu_executable.h — a program of kernels made runnable on this machine. */
#ifndef FRAX_CPU_EXECUTABLE_H
#define FRAX_CPU_EXECUTABLE_H

#include "executable.h"

typedef struct CpuExecutable CpuExecutable;

/* Of a graph after all passes, which must outlive it. Fills *stats (may be NULL) but for compile_seconds. */
FraxStatus cpu_executable_create(const Graph *graph, const ExecutableOptions *options, CpuExecutable **out,
                                 ExecutableStats *stats, FraxError *err);
void cpu_executable_destroy(CpuExecutable *exe);

/* As executable_run, from any number of threads at once. */
FraxStatus cpu_executable_run(const CpuExecutable *exe, const void *const *inputs, void *const *outputs,
                              FraxError *err);
/* The values that depend on no input, where the plan has put them. */
const char *cpu_executable_tables(const CpuExecutable *exe);

#endif
