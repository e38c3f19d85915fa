/* cufft_abi.c — what runtime/cuda/cuda_abi.h says of cuFFT is what the toolkit's header says. Only compiled, by
 * test_cuda_fft.c, where that header is. */
#include <cufft.h>
#include "cuda_abi.h"

#define SAME(ours, theirs) _Static_assert((long)(ours) == (long)(theirs), #ours)

SAME(FFT_SUCCESS, CUFFT_SUCCESS);
SAME(FFT_ALLOC_FAILED, CUFFT_ALLOC_FAILED);
SAME(FFT_INVALID_SIZE, CUFFT_INVALID_SIZE);
SAME(FFT_NOT_IMPLEMENTED, CUFFT_NOT_IMPLEMENTED);
SAME(FFT_INTERNAL_ERROR, CUFFT_INTERNAL_ERROR);
SAME(FFT_NOT_SUPPORTED, CUFFT_NOT_SUPPORTED);
SAME(FFT_R2C, CUFFT_R2C);
SAME(FFT_C2R, CUFFT_C2R);
SAME(FFT_D2Z, CUFFT_D2Z);
SAME(FFT_Z2D, CUFFT_Z2D);
SAME(sizeof(FftHandle), sizeof(cufftHandle));
SAME(sizeof(cufftComplex), 2 * sizeof(float));
SAME(sizeof(cufftDoubleComplex), 2 * sizeof(double));

/* What our types are given as is what theirs take. */
int call(FftHandle *p, long long *n, size_t *work, void *spectra, float *x, double *y, cudaStream_t stream);
int call(FftHandle *p, long long *n, size_t *work, void *spectra, float *x, double *y, cudaStream_t stream) {
    int batch = cufftMakePlanMany64(*p, 1, n, n, n[0], n[0], n, n[0], n[0], CUFFT_R2C, n[0], work);
    return (int)(cufftCreate(p) + cufftDestroy(*p) + cufftSetAutoAllocation(*p, 0) + cufftGetSize(*p, work) +
                 cufftSetWorkArea(*p, spectra) + cufftSetStream(*p, stream) + cufftExecR2C(*p, x, spectra) +
                 cufftExecC2R(*p, spectra, x) + cufftExecD2Z(*p, y, spectra) + cufftExecZ2D(*p, spectra, y)) +
           batch;
}
