/* cuda_transform.h — the launches of a kernel whose transforms a GPU's library does (library_transform.h),
 * and the text of what lies between them. */
#ifndef FRAX_CUDA_TRANSFORM_H
#define FRAX_CUDA_TRANSFORM_H

#include "cuda_program.h"

/* Appends both to the program. False when out of memory. */
bool cuda_transform(CudaProgram *program, int kernel);

#endif
