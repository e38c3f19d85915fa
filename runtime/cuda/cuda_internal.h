/* cuda_internal.h — the parts of a CudaExecutable, for its files: cuda_executable.c makes it, cuda_run.c runs
 * it, cuda_transfer.c knows what is copied between host and device. */
#ifndef FRAX_CUDA_INTERNAL_H
#define FRAX_CUDA_INTERNAL_H

#include "checks.h"
#include "cuda_compile.h"
#include "cuda_executable.h"
#include <pthread.h>

enum { SAVED_SLOTS = 2 };

/* A copy between the staging memory and the device; neighbours on both sides are one. */
typedef struct Transfer {
    CudaAddress device;
    size_t staged, bytes;
} Transfer;

typedef struct Transfers {
    Transfer *items;
    size_t count, capacity;
} Transfers;

/* A value of the signature. */
typedef struct CudaValuePlace {
    CudaAddress device;
    size_t bytes;
    size_t staged;  /* its place in the staging memory */
    bool is_kept;   /* stays on the device: runs neither read nor write the host's array */
    bool is_direct; /* too large for the staging memory: copied from and to the host's array */
} CudaValuePlace;

typedef struct CudaBlas CudaBlas;
typedef struct CudaFft CudaFft;

struct CudaExecutable {
    const Graph *graph;
    CudaProgram program;
    CudaDevice device;
    CudaModule module;
    CudaFunction *functions; /* of the program's launches; NULL for those of libraries */
    CudaBlas *blas;          /* NULL: no launch is cuBLASLt's */
    CudaFft *fft;            /* NULL: no launch is cuFFT's */
    CudaStream stream;
    CudaAddress memory; /* all of it */
    size_t memory_bytes;
    KernelContext context; /* device addresses */
    CudaAddress scratch;
    CudaValuePlace *inputs, *outputs;
    Checks checks;
    size_t *checked; /* for each check its value's place in the staging memory */
    char *staging;   /* page-locked memory of the host */
    size_t staging_bytes;
    Transfers to_device, to_host, to_check_before, to_check_after;
    CudaGraphExec run; /* NULL: not captured yet */
    CudaAddress saved[SAVED_SLOTS];
    bool one_by_one; /* launches are not captured, and each is waited for, so that a fault names its kernel */
    pthread_mutex_t lock;
    bool has_lock;
};

/* For calls that take pointers; never followed on the host. */
static inline void *cuda_pointer(CudaAddress address) {
    return (void *)(uintptr_t)address;
}

/* The device's memory of a stored value. */
CudaAddress cuda_value_address(const CudaExecutable *exe, Value v);

/* All launches of a moment. wait: for each. */
FraxStatus cuda_launch_all(CudaExecutable *exe, CudaMoment moment, bool wait, FraxError *err);
FraxStatus cuda_wait(const CudaExecutable *exe, const char *what, FraxError *err);
/* Each launch of a run that is a library's, once, on whatever lies in the memory: a library loads an
   operation's code at its first call, which should not fall into a capture, and its faults show before any
   run. */
FraxStatus cuda_try_launches(CudaExecutable *exe, CudaLaunchKind kind, FraxError *err);

/* Settles which values are staged, and allocates the staging memory. */
FraxStatus cuda_plan_transfers(CudaExecutable *exe, FraxError *err);
void cuda_free_transfers(CudaExecutable *exe);
/* Is the value looked at before a run's kernels one that the host does not have? */
bool cuda_is_kept_check(const CudaExecutable *exe, const Check *check);
FraxStatus cuda_copy_transfers(const CudaExecutable *exe, const Transfers *transfers, bool to_device,
                               FraxError *err);
/* The host's arrays into the staging memory, and out of it. */
FraxStatus cuda_stage_inputs(CudaExecutable *exe, const void *const *inputs, FraxError *err);
FraxStatus cuda_fetch_direct(CudaExecutable *exe, void *const *outputs, FraxError *err);
void cuda_unstage_outputs(const CudaExecutable *exe, void *const *outputs);

#endif
