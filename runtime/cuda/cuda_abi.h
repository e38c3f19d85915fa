/* cuda_abi.h — the few functions of NVIDIA's driver, of NVRTC and of cuBLASLt that frax calls, as their
 * documented binary interface has them: neither headers nor libraries of CUDA are needed to build frax.
 *
 * Names with _v2 are what the driver's header maps the plain names to (CUDA 11.4 and newer).
 */
#ifndef FRAX_CUDA_ABI_H
#define FRAX_CUDA_ABI_H

#include <stddef.h>
#include <stdint.h>

typedef uint64_t CudaAddress; /* of device memory */
typedef struct CudaContextObject *CudaContext;
typedef struct CudaModuleObject *CudaModule;
typedef struct CudaFunctionObject *CudaFunction;
typedef struct CudaStreamObject *CudaStream;
typedef struct CudaGraphObject *CudaGraph;
typedef struct CudaGraphExecObject *CudaGraphExec;
typedef struct CudaEventObject *CudaEvent;

/* CUresult */
enum {
    CUDA_SUCCESS = 0,
    CUDA_OUT_OF_MEMORY = 2,
    CUDA_STUB_LIBRARY = 34,
    CUDA_NO_DEVICE = 100,
    CUDA_NO_BINARY_FOR_GPU = 209,
    CUDA_UNSUPPORTED_PTX = 222,
    CUDA_DRIVER_MISMATCH = 803
};

/* CUdevice_attribute, CUfunction_attribute, CUstream_flags, CUstreamCaptureMode */
enum {
    CUDA_MULTIPROCESSORS = 16,
    CUDA_CAPABILITY_MAJOR = 75,
    CUDA_CAPABILITY_MINOR = 76,
    CUDA_SHARED_MEMORY_OPTIN = 97,
    CUDA_FUNCTION_DYNAMIC_SHARED = 8,
    CUDA_STREAM_NON_BLOCKING = 1,
    CUDA_CAPTURE_THREAD_LOCAL = 1
};

/* Field, symbol, parameters. All give a CUresult. */
#define CUDA_DRIVER(X)                                                                                       \
    X(driver_version, cuDriverGetVersion, (int *version))                                                    \
    X(init, cuInit, (unsigned flags))                                                                        \
    X(error_string, cuGetErrorString, (int result, const char **text))                                       \
    X(device_count, cuDeviceGetCount, (int *count))                                                          \
    X(device_get, cuDeviceGet, (int *device, int ordinal))                                                   \
    X(device_name, cuDeviceGetName, (char *name, int size, int device))                                      \
    X(device_attribute, cuDeviceGetAttribute, (int *value, int attribute, int device))                       \
    X(device_memory, cuDeviceTotalMem_v2, (size_t * bytes, int device))                                      \
    X(context_retain, cuDevicePrimaryCtxRetain, (CudaContext * context, int device))                         \
    X(context_push, cuCtxPushCurrent_v2, (CudaContext context))                                              \
    X(context_pop, cuCtxPopCurrent_v2, (CudaContext * context))                                              \
    X(memory_info, cuMemGetInfo_v2, (size_t * free, size_t * total))                                         \
    X(memory_allocate, cuMemAlloc_v2, (CudaAddress * address, size_t bytes))                                 \
    X(memory_free, cuMemFree_v2, (CudaAddress address))                                                      \
    X(host_allocate, cuMemAllocHost_v2, (void **memory, size_t bytes))                                       \
    X(host_free, cuMemFreeHost, (void *memory))                                                              \
    X(copy_to_device, cuMemcpyHtoDAsync_v2,                                                                  \
      (CudaAddress to, const void *from, size_t bytes, CudaStream stream))                                   \
    X(copy_to_host, cuMemcpyDtoHAsync_v2, (void *to, CudaAddress from, size_t bytes, CudaStream stream))     \
    X(copy_on_device, cuMemcpyDtoDAsync_v2,                                                                  \
      (CudaAddress to, CudaAddress from, size_t bytes, CudaStream stream))                                   \
    X(module_load, cuModuleLoadData, (CudaModule * module, const void *image))                               \
    X(module_unload, cuModuleUnload, (CudaModule module))                                                    \
    X(module_function, cuModuleGetFunction, (CudaFunction * function, CudaModule module, const char *name))  \
    X(function_set, cuFuncSetAttribute, (CudaFunction function, int attribute, int value))                   \
    X(stream_create, cuStreamCreate, (CudaStream * stream, unsigned flags))                                  \
    X(stream_destroy, cuStreamDestroy_v2, (CudaStream stream))                                               \
    X(stream_wait, cuStreamSynchronize, (CudaStream stream))                                                 \
    X(launch, cuLaunchKernel,                                                                                \
      (CudaFunction function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,           \
       unsigned block_y, unsigned block_z, unsigned shared_bytes, CudaStream stream, void **parameters,      \
       void **extra))                                                                                        \
    X(capture_begin, cuStreamBeginCapture_v2, (CudaStream stream, int mode))                                 \
    X(capture_end, cuStreamEndCapture, (CudaStream stream, CudaGraph * graph))                               \
    X(graph_instantiate, cuGraphInstantiateWithFlags,                                                        \
      (CudaGraphExec * exec, CudaGraph graph, unsigned long long flags))                                     \
    X(graph_launch, cuGraphLaunch, (CudaGraphExec exec, CudaStream stream))                                  \
    X(graph_exec_destroy, cuGraphExecDestroy, (CudaGraphExec exec))                                          \
    X(graph_destroy, cuGraphDestroy, (CudaGraph graph))                                                      \
    X(event_create, cuEventCreate, (CudaEvent * event, unsigned flags))                                      \
    X(event_destroy, cuEventDestroy_v2, (CudaEvent event))                                                   \
    X(event_record, cuEventRecord, (CudaEvent event, CudaStream stream))                                     \
    X(event_elapsed, cuEventElapsedTime, (float *milliseconds, CudaEvent start, CudaEvent end))

typedef struct CudaDriver {
#define X(field, symbol, parameters) int(*field) parameters;
    CUDA_DRIVER(X)
#undef X
    int version; /* of CUDA that the driver knows: 1000 major + 10 minor */
    int devices;
} CudaDriver;

typedef struct NvrtcProgramObject *NvrtcProgram;

/* All give an nvrtcResult, 0 for success. */
#define NVRTC(X)                                                                                             \
    X(get_version, nvrtcVersion, (int *major, int *minor))                                                   \
    X(count_archs, nvrtcGetNumSupportedArchs, (int *count))                                                  \
    X(get_archs, nvrtcGetSupportedArchs, (int *archs))                                                       \
    X(create, nvrtcCreateProgram,                                                                            \
      (NvrtcProgram * program, const char *source, const char *name, int headers, const char *const *texts,  \
       const char *const *names))                                                                            \
    X(destroy, nvrtcDestroyProgram, (NvrtcProgram * program))                                                \
    X(compile, nvrtcCompileProgram, (NvrtcProgram program, int count, const char *const *options))           \
    X(log_size, nvrtcGetProgramLogSize, (NvrtcProgram program, size_t * size))                               \
    X(log, nvrtcGetProgramLog, (NvrtcProgram program, char *text))                                           \
    X(cubin_size, nvrtcGetCUBINSize, (NvrtcProgram program, size_t * size))                                  \
    X(cubin, nvrtcGetCUBIN, (NvrtcProgram program, char *cubin))                                             \
    X(ptx_size, nvrtcGetPTXSize, (NvrtcProgram program, size_t * size))                                      \
    X(ptx, nvrtcGetPTX, (NvrtcProgram program, char *ptx))

enum { MOST_ARCHS = 64 };

typedef struct Nvrtc {
#define X(field, symbol, parameters) int(*field) parameters;
    NVRTC(X)
#undef X
    int major, minor;
    int narchs, archs[MOST_ARCHS]; /* ascending: 75, 80, 90 … */
} Nvrtc;

/* ---- cuFFT, of CUDA 11 and newer; what the names mean stands in cufft.h of the toolkit ---- */

typedef int FftHandle;

/* cufftResult, cufftType */
enum {
    FFT_SUCCESS = 0,
    FFT_ALLOC_FAILED = 2,
    FFT_INTERNAL_ERROR = 5,
    FFT_INVALID_SIZE = 8,
    FFT_NOT_IMPLEMENTED = 14,
    FFT_NOT_SUPPORTED = 16
};
enum { FFT_R2C = 0x2a, FFT_C2R = 0x2c, FFT_D2Z = 0x6a, FFT_Z2D = 0x6c };

/* All give a cufftResult. Spectra are pairs of real and imaginary part. */
#define CUFFT(X)                                                                                             \
    X(create, cufftCreate, (FftHandle * plan))                                                               \
    X(destroy, cufftDestroy, (FftHandle plan))                                                               \
    X(set_auto_allocation, cufftSetAutoAllocation, (FftHandle plan, int allocates))                          \
    X(make_plan, cufftMakePlanMany64,                                                                        \
      (FftHandle plan, int rank, long long *n, long long *inembed, long long istride, long long idist,       \
       long long *onembed, long long ostride, long long odist, int type, long long batch, size_t *work))     \
    X(get_size, cufftGetSize, (FftHandle plan, size_t * work))                                               \
    X(set_work_area, cufftSetWorkArea, (FftHandle plan, void *work))                                         \
    X(set_stream, cufftSetStream, (FftHandle plan, CudaStream stream))                                       \
    X(r2c, cufftExecR2C, (FftHandle plan, float *from, void *to))                                            \
    X(c2r, cufftExecC2R, (FftHandle plan, void *from, float *to))                                            \
    X(d2z, cufftExecD2Z, (FftHandle plan, double *from, void *to))                                           \
    X(z2d, cufftExecZ2D, (FftHandle plan, void *from, double *to))

typedef struct Cufft {
#define X(field, symbol, parameters) int(*field) parameters;
    CUFFT(X)
#undef X
    int version; /* 1000 major + 100 minor + patch */
} Cufft;

/* ---- cuBLASLt, of cuBLAS 11.4 and newer; what the names mean stands in cublasLt.h of the toolkit ---- */

typedef struct BlasHandleObject *BlasHandle;
typedef struct BlasLayoutObject *BlasLayout;
typedef struct BlasOperationObject *BlasOperation;
typedef struct BlasPreferenceObject *BlasPreference;

/* cublasLtMatmulAlgo_t, cublasLtMatmulHeuristicResult_t */
typedef struct BlasAlgorithm {
    uint64_t data[8];
} BlasAlgorithm;

typedef struct BlasHeuristic {
    BlasAlgorithm algorithm;
    size_t workspace;
    int state;
    float waves;
    int reserved[4];
} BlasHeuristic;

/* cublasStatus_t */
enum {
    BLAS_SUCCESS = 0,
    BLAS_ALLOC_FAILED = 3,
    BLAS_INVALID_VALUE = 7,
    BLAS_ARCH_MISMATCH = 8,
    BLAS_NOT_SUPPORTED = 15
};

/* cudaDataType_t, cublasComputeType_t, cublasOperation_t */
enum {
    BLAS_R_32F = 0,
    BLAS_R_64F = 1,
    BLAS_R_16F = 2,
    BLAS_R_16BF = 14,
    BLAS_COMPUTE_32F = 68, /* of f32: no TF32 */
    BLAS_COMPUTE_64F = 70,
    BLAS_OP_N = 0,
    BLAS_OP_T = 1
};

/* cublasLtMatrixLayoutAttribute_t, cublasLtMatmulDescAttributes_t, cublasLtEpilogue_t,
   cublasLtMatmulPreferenceAttributes_t, cublasLtReductionScheme_t */
enum {
    BLAS_LAYOUT_BATCH_COUNT = 5,          /* int32_t */
    BLAS_LAYOUT_STRIDED_BATCH_OFFSET = 6, /* int64_t, elements */
    BLAS_DESC_TRANSA = 3,                 /* int32_t */
    BLAS_DESC_TRANSB = 4,
    BLAS_DESC_EPILOGUE = 7, /* uint32_t */
    BLAS_DESC_BIAS_POINTER = 8,
    BLAS_EPILOGUE_BIAS = 4,
    BLAS_PREF_MAX_WORKSPACE_BYTES = 1,   /* uint64_t */
    BLAS_PREF_REDUCTION_SCHEME_MASK = 3, /* uint32_t */
    BLAS_PREF_MIN_ALIGNMENT_A_BYTES = 5, /* uint32_t, and so B, C, D */
    BLAS_PREF_MIN_ALIGNMENT_B_BYTES = 6,
    BLAS_PREF_MIN_ALIGNMENT_C_BYTES = 7,
    BLAS_PREF_MIN_ALIGNMENT_D_BYTES = 8,
    BLAS_REDUCTION_COMPUTE_TYPE = 2
};

/* All give a cublasStatus_t. */
#define CUBLASLT(X)                                                                                          \
    X(create, cublasLtCreate, (BlasHandle * handle))                                                         \
    X(destroy, cublasLtDestroy, (BlasHandle handle))                                                         \
    X(layout_create, cublasLtMatrixLayoutCreate,                                                             \
      (BlasLayout * layout, int type, uint64_t rows, uint64_t columns, int64_t leading))                     \
    X(layout_destroy, cublasLtMatrixLayoutDestroy, (BlasLayout layout))                                      \
    X(layout_set, cublasLtMatrixLayoutSetAttribute,                                                          \
      (BlasLayout layout, int attribute, const void *value, size_t bytes))                                   \
    X(operation_create, cublasLtMatmulDescCreate, (BlasOperation * operation, int compute, int scale))       \
    X(operation_destroy, cublasLtMatmulDescDestroy, (BlasOperation operation))                               \
    X(operation_set, cublasLtMatmulDescSetAttribute,                                                         \
      (BlasOperation operation, int attribute, const void *value, size_t bytes))                             \
    X(preference_create, cublasLtMatmulPreferenceCreate, (BlasPreference * preference))                      \
    X(preference_destroy, cublasLtMatmulPreferenceDestroy, (BlasPreference preference))                      \
    X(preference_set, cublasLtMatmulPreferenceSetAttribute,                                                  \
      (BlasPreference preference, int attribute, const void *value, size_t bytes))                           \
    X(heuristic, cublasLtMatmulAlgoGetHeuristic,                                                             \
      (BlasHandle handle, BlasOperation operation, BlasLayout a, BlasLayout b, BlasLayout c, BlasLayout d,   \
       BlasPreference preference, int wanted, BlasHeuristic *results, int *count))                           \
    X(product, cublasLtMatmul,                                                                               \
      (BlasHandle handle, BlasOperation operation, const void *alpha, const void *a, BlasLayout a_layout,    \
       const void *b, BlasLayout b_layout, const void *beta, const void *c, BlasLayout c_layout, void *d,    \
       BlasLayout d_layout, const BlasAlgorithm *algorithm, void *workspace, size_t bytes,                   \
       CudaStream stream))

typedef struct CudaBlasLt {
#define X(field, symbol, parameters) int(*field) parameters;
    CUBLASLT(X)
#undef X
    const char *(*status_string)(int status); /* NULL in libraries before 11.4.2 */
    int version;                              /* 10000 major + 100 minor + patch */
} CudaBlasLt;

#endif
