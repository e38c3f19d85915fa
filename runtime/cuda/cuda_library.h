/* cuda_library.h — NVIDIA's libraries, found and opened at run time, so that one build serves machines with
 * and without a GPU.
 *
 * Each is looked for by the loader, then in $CUDA_HOME/lib64, $CUDA_PATH/lib64, /usr/local/cuda/lib64 and the
 * folders of NVIDIA's packages for Python. FRAX_CUDA_DRIVER, FRAX_NVRTC, FRAX_CUBLASLT and FRAX_CUFFT name a
 * file to take instead.
 */
#ifndef FRAX_CUDA_LIBRARY_H
#define FRAX_CUDA_LIBRARY_H

#include "base.h"
#include "cuda_abi.h"

/* All are opened once in a process; FRAX_UNSUPPORTED with the remedy in *err and NULL where there is none.
 */
const CudaDriver *cuda_driver(FraxError *err);
/* An NVRTC whose code this driver can load, if there is a driver; the one that is found first otherwise. */
const Nvrtc *cuda_nvrtc(FraxError *err);
/* One that the driver can serve. */
const CudaBlasLt *cuda_blaslt(FraxError *err);
const Cufft *cuda_fft(FraxError *err);
/* Of Graph.gpu_libraries, those that are there. */
unsigned cuda_graph_libraries(void);
/* Has opening it failed because the environment names another file? Then nothing takes its place. */
bool cuda_is_misnamed(unsigned library);
/* May NVRTC's PTX be given to the driver? Its machine code may, where the major versions agree. */
bool cuda_driver_knows(const CudaDriver *cu, int major, int minor);

/* What a failed call of the driver says, after `fmt`: FRAX_INTERNAL, or FRAX_MEMORY where it has none left. */
FraxStatus cuda_fail(const CudaDriver *cu, int result, FraxError *err, const char *fmt, ...)
    PRINTF_LIKE(4, 5);

/* "12.0.0" of cuFFT and cuBLASLt; NULL and the remedy in *err where they are not found. */
const char *cuda_fft_version(char text[32], FraxError *err);
const char *cuda_blas_version(char text[32], FraxError *err);

#endif
