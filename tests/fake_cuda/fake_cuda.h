/* fake_cuda.h — stand-ins for libcuda.so.1, libnvrtc.so, libcublasLt.so and libcufft.so that run CUDA
 * kernels, matrix products and transforms on the CPU, for tests on machines without a GPU.
 *
 * The fake NVRTC has the host's C compiler make a shared object of the text, behind shim.h; the fake driver
 * loads it and runs a block at a time, each thread as a fiber between barriers. Work on a stream waits until
 * the stream is waited for, device memory starts as NaN, and what a real driver leaves undefined is an error:
 * threads that do not reach a barrier together, copies beyond an allocation, use without a context. Settings
 * come from the environment:
 *
 *     FAKE_CUDA_ORDER       forwards (default), backwards, or a seed: order of the threads between barriers
 *     FAKE_CUDA_DEVICES     number of devices (1)      FAKE_CUDA_VERSION     of the driver (13000)
 *     FAKE_CUDA_CAPABILITY  of the devices (90)        FAKE_CUDA_MEMORY      bytes of each (2^31)
 *     FAKE_CUDA_SHARED      bytes for a block (232448) FAKE_CUDA_FAULT       a kernel that fails
 *     FAKE_CUDA_ALLOCATIONS after so many, device memory is exhausted
 *     FAKE_CUDA_FAIL        "cuStreamCreate:2": the call that fails, and with which result; it, contexts,
 *                           modules and graphs can
 *     FAKE_NVRTC_VERSION    (13000)                    FAKE_NVRTC_ARCHS      (75,80,90,100,120)
 *     FAKE_NVRTC_FAIL       every compilation fails    FAKE_CUDA_CFLAGS      further options for the compiler
 *     FAKE_CUBLASLT_FAIL    "cublasLtMatmul:13": the call that fails, and with which status
 *     FAKE_CUBLASLT_RUNTIME version of CUDA that it is of (13000)
 *     FAKE_CUFFT_FAIL       "cufftExecR2C:6", as above FAKE_CUFFT_VERSION    (12000)
 */
#ifndef FRAX_TESTS_FAKE_CUDA_H
#define FRAX_TESTS_FAKE_CUDA_H

#include <stddef.h>

enum { FAKE_WARP = 32, FAKE_THREADS = 1024, FAKE_SHARED_BYTES = 232448 };

typedef struct FakeIndex {
    unsigned x, y, z;
} FakeIndex;

/* What a thread asks of the block it runs in. `line` of the text: all that meet must have come by the same.
 */
typedef struct FakeBlock {
    void (*sync_threads)(int line);
    void (*sync_warp)(unsigned mask, int line);
    /* *value becomes what `lane` of the warp gave; the thread's own value where there is no such lane. */
    void (*shuffle)(void *value, size_t bytes, unsigned mask, int lane, int line);
    /* An access to several elements at once, whose address is no multiple of their size. */
    void (*misaligned)(void);
} FakeBlock;

/* What compiled text tells the driver, by its function fake_bind. */
typedef struct FakeModule {
    FakeIndex *thread, *block, *threads, *blocks;
    char *const *shared; /* dynamic shared memory, FAKE_SHARED_BYTES each */
    size_t nshared;
} FakeModule;

typedef FakeModule FakeBind(const FakeBlock *block);

/* What other libraries ask of the driver. Work that is a call gets a copy of its bytes. */
enum { FAKE_CALL_BYTES = 256 };
typedef void FakeCall(const void *data);
/* A CUresult: 0, or the context or stream is not usable. */
typedef int FakeEnqueue(void *stream, const char *name, FakeCall *call, const void *data, size_t bytes);
/* Does memory of the current context's device hold all of this? bytes 0: is there a context? */
typedef int FakeHolds(const void *data, size_t bytes);
/* One object more, or less, that has to be given back. */
typedef void FakeCount(int more);

/* The parameters of every kernel of frax: KernelContext and scratch. */
typedef struct FakeContext {
    void *pointers[6];
} FakeContext;

typedef void FakeKernel(FakeContext context, char *scratch);

/* An image: this line, then the bytes of a shared object. */
#define FAKE_IMAGE "FAKE %s %d %d %zu\n" /* cubin or ptx, architecture, version of NVRTC, bytes */

#ifdef FAKE_CUDA_DRIVER
typedef struct FakeLaunch {
    const char *name;
    FakeKernel *kernel;
    const FakeModule *module;
    unsigned grid, threads;
    size_t shared;
    FakeContext context;
    char *scratch;
} FakeLaunch;

/* All blocks of a launch; false with a description where threads do not meet. */
int fake_run_launch(const FakeLaunch *launch, char *fault, size_t fault_size);
extern const FakeBlock fake_block;
long fake_setting(const char *name, long otherwise);
#endif

#endif
