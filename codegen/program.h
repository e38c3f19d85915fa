/* program.h — a fused and planned graph as a program of kernels, and the interface of generated code to the
 * runtime. */
#ifndef FRAX_PROGRAM_H
#define FRAX_PROGRAM_H

#include "fft_generator.h"
#include "kernel.h"
#include "llvm_emitter.h"

/* What a kernel function is given, besides its own scratch and the range of blocks. Generated code reads it
 * by offset. */
typedef struct KernelContext {
    char *arena, *statics, *workspace;
    const void *const *inputs;
    void *const *outputs;
    const void *const *plans; /* FftPlan, in the order of Program.ffts; on a GPU CudaLaunch.first */
} KernelContext;

/* Blocks [begin, end); scratch is the calling thread's own. `finish` (kernels with a workspace)
 * gathers the partial results, for each of kernel_finish_blocks. */
typedef void KernelFunction(const KernelContext *context, char *scratch, int64_t begin, int64_t end);

typedef struct ProgramKernel {
    Kernel kernel;
    size_t scratch;     /* bytes for each thread */
    size_t prepared;    /* bytes of filters that frax_kN_prepare writes once, at prepared_at in the static
                           memory; */
    size_t prepared_at; /* 0: there is no such function */
    int64_t prepared_blocks; /* GPU, instead: of frax_kN_prepare before the kernel in every run, to
                                prepared_at in the workspace; 0: none */
    int team;                /* GPU: threads that work on a block of rows together, */
    int resident;            /* how many a multiprocessor should have room for, 0: any, */
    size_t exchange;         /* and bytes of shared memory through which they exchange */
    int64_t sums[2]; /* blocks of frax_kN_sum0 and _sum1, which sum partial spectra; 0: there is none */
    double work;     /* element visits, to judge whether threads pay */
} ProgramKernel;

typedef struct Program {
    const Graph *graph; /* fused and planned; must outlive the program */
    ProgramKernel *kernels;
    int nkernels;
    FftShape *ffts;
    size_t nffts, ffts_capacity;
    size_t arena_bytes, static_bytes, workspace_bytes; /* the last: the maximum over the kernels */
    size_t live_bytes, moved_bytes;
    const Watch *watch; /* while it is emitted; NULL: nobody waits */
} Program;

/* Kernels in their order, sizes of memory, the transforms needed. */
FraxStatus program_create(const Graph *graph, Program *program, FraxError *err);
void program_destroy(Program *program);

/* Gives a kernel static memory beside the tables' for its filters. */
void program_prepare(Program *program, int kernel, size_t bytes);
/* GPU: gives it part of the workspace for filters that every run prepares anew, in so many blocks. */
void program_prepare_in_run(Program *program, int kernel, size_t bytes, int64_t blocks);

/* Emits all kernels but those of libraries: functions frax_k0, frax_k0_finish, frax_k0_prepare, … */
FraxStatus program_emit_kernels(Program *program, Emitter *emitter, FraxError *err);
/* The same as a module for the CPU. */
FraxStatus program_emit(Program *program, const HostTarget *target, LLVMContextRef *context,
                        LLVMModuleRef *module, FraxError *err);

/* Element visits below which threads cost more than they bring. */
enum { PARALLEL_WORK = 65536 };

/* Threads that share out the blocks of a kernel, of `threads` that there are. */
int64_t program_workers(const ProgramKernel *kernel, int threads);
/* A run's memory: the arena, the workspace, and from this offset the scratch of each thread. Known after
   emission. */
size_t program_scratch_offset(const Program *program);
size_t program_scratch_bytes(const Program *program, int threads);

/* The parameters of a kernel function, for the emitter. */
#define KERNEL_PARAMS ((EmType[]){EM_POINTER, EM_POINTER, EM_INDEX, EM_INDEX}), 4

/* ---- Templates ---- */

bool emit_rows(Emitter *e, Program *program, int kernel); /* false when out of memory */
bool emit_matmul(Emitter *e, Program *program, int kernel);
/* The transform of a row operation, registered with the program; its place in Program.ffts, −1 when out of
 * memory. */
int program_fft(Program *program, Value node);
int64_t recurrence_modes(const Graph *graph, Value node);

#endif
