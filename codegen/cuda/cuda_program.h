/* cuda_program.h — a fused and planned graph as CUDA C: one source text with all kernels, and the list of
 * what to launch: these kernels, and products that are left to cuBLASLt. The text compiles with NVRTC; it
 * includes nothing.
 *
 * The kernels are those of the CPU's templates: a warp is the vector (cuda_emitter.c), a block of a kernel's
 * schedule is the work of one warp. Each warp has scratch of its own, in shared memory where it fits and in
 * the run's memory otherwise.
 */
#ifndef FRAX_CUDA_PROGRAM_H
#define FRAX_CUDA_PROGRAM_H

#include "program.h"

/* When a launch has its turn. */
typedef enum CudaMoment {
    CUDA_STATIC, /* once, when the executable is made: tables that depend on no input, then filters from them
                  */
    CUDA_RUN     /* in every run */
} CudaMoment;

/* Who does its work. */
typedef enum CudaLaunchKind {
    CUDA_KERNEL,   /* a kernel of the text */
    CUDA_PRODUCT,  /* cuBLASLt: the product that is `kernel`, KERNEL_GEMM; the text has nothing of it */
    CUDA_TRANSFORM /* cuFFT: a step of `kernel`, KERNEL_TRANSFORM */
} CudaLaunchKind;

/* Real transforms of rows that lie one after the other, to spectra that do, or back; unnormalised. */
typedef struct CudaTransform {
    FraxDType dtype; /* f32 or f64 */
    int rank;
    int64_t dims[3]; /* the last one is halved in the spectrum */
    int64_t rows;
    bool inverse;
    Value signal;   /* the stored value that the rows are of, */
    size_t offset;  /* from this byte on */
    size_t spectra; /* their place in the workspace */
} CudaTransform;

/* extern "C" __global__ void name(KernelContext context, char *scratch): context holds device addresses;
   scratch: CudaProgram.scratch_bytes, 256-byte aligned. Launches of one moment go in the order of the list.
 */
typedef struct CudaLaunch {
    CudaLaunchKind kind;
    char name[48];
    int kernel; /* of Program.kernels */
    CudaMoment moment;
    /* Of a kernel of the text: */
    unsigned grid, threads; /* blocks in x; threads of a block in x */
    size_t shared;          /* bytes of dynamic shared memory; above 48 KiB the kernel must opt in */
    size_t scratch;         /* bytes that it uses of the run's scratch */
    int64_t first;          /* what the text finds as context.first: the row that a piece begins with */
    CudaTransform transform;
} CudaLaunch;

typedef struct CudaProgram {
    Program program; /* of a graph whose target is a GPU (Graph.gpu) */
    Text source;
    CudaLaunch *launches;
    size_t nlaunches, launches_capacity;
    size_t scratch_bytes; /* the most that a launch uses */
} CudaProgram;

/* From a graph after all passes, which must outlive the program; passes must have known that it is for a GPU
   (Graph.gpu). watch may be NULL. */
FraxStatus cuda_program_create(const Graph *graph, const Watch *watch, CudaProgram *out, FraxError *err);
void cuda_program_destroy(CudaProgram *program);

/* For the parts of a program: another launch, of one warp until it is told otherwise, named kN`suffix`. NULL
   when out of memory. */
CudaLaunch *cuda_add_launch(CudaProgram *program, int kernel, const char *suffix, CudaMoment moment);

#endif
