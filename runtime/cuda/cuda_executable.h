/* cuda_executable.h — a program of CUDA kernels made runnable on a GPU.
 *
 * All memory of a run is one allocation on the device, made with the executable: tables, temporary values,
 * scratch, inputs and outputs at places that never change; cuBLASLt's workspace is another. So the launches
 * of a run are captured once, with the copies of inputs and outputs, and a run is one launch of the captured
 * graph. Runs from several threads take turns.
 */
#ifndef FRAX_CUDA_EXECUTABLE_H
#define FRAX_CUDA_EXECUTABLE_H

#include "cuda_program.h"
#include "executable.h"

typedef struct CudaExecutable CudaExecutable;

/* Of a graph after all passes (Graph.gpu), which must outlive it. Fills *stats but for compile_seconds; after
   a failure stats->refused names the libraries without which it would not have come to it. */
FraxStatus cuda_executable_create(const Graph *graph, const ExecutableOptions *options, CudaExecutable **out,
                                  ExecutableStats *stats, FraxError *err);
/* The same of a program that is there already, which it takes over, on failure too. */
FraxStatus cuda_executable_from(CudaProgram *program, const ExecutableOptions *options, CudaExecutable **out,
                                ExecutableStats *stats, FraxError *err);
void cuda_executable_destroy(CudaExecutable *exe);

/* As executable_run and what follows it in executable.h. */
FraxStatus cuda_executable_run(CudaExecutable *exe, const void *const *inputs, void *const *outputs,
                               FraxError *err);
FraxStatus cuda_executable_keep(CudaExecutable *exe, const bool *inputs, FraxError *err);
FraxStatus cuda_executable_upload(CudaExecutable *exe, size_t input, const void *data, FraxError *err);
FraxStatus cuda_executable_download(CudaExecutable *exe, size_t input, void *data, FraxError *err);
FraxStatus cuda_executable_save(CudaExecutable *exe, int slot, FraxError *err);
FraxStatus cuda_executable_restore(CudaExecutable *exe, int slot, FraxError *err);
FraxStatus cuda_executable_time(CudaExecutable *exe, size_t runs, RunTimes *times, FraxError *err);

#endif
