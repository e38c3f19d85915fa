/* cuda_header.h — the C header of a program that was compiled for GPUs ahead of time. */
#ifndef FRAX_CUDA_HEADER_H
#define FRAX_CUDA_HEADER_H

#include "cuda_program.h"
#include "object_header.h"

/* header->code is not looked at. program: of the model's graph. */
void cuda_header_text(const ObjectHeader *header, const CudaProgram *program, Text *out);

#endif
