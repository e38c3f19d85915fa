/* cuda_launcher.h — C that runs a CUDA program by the driver alone, for programs compiled ahead of time. */
#ifndef FRAX_CUDA_LAUNCHER_H
#define FRAX_CUDA_LAUNCHER_H

#include "cuda_program.h"

/* PREFIX.c, which includes PREFIX.h (frontend/object/cuda_header.c) and defines PREFIX_load, PREFIX_run and
   PREFIX_destroy. args[order[i]] is the graph's i-th input. */
void cuda_launcher_text(const CudaProgram *program, const char *prefix, const size_t *order, Text *out);
/* What PREFIX_load allocates on the device. */
size_t cuda_launcher_bytes(const CudaProgram *program);

#endif
