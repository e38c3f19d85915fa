/* cuda_compile.h — CUDA C text to machine code for a device, by NVRTC or from the cache on disk. */
#ifndef FRAX_CUDA_COMPILE_H
#define FRAX_CUDA_COMPILE_H

#include "cuda_device.h"
#include "cuda_program.h"

/* What the driver loads: machine code (cubin), or PTX where NVRTC does not know the device's architecture. */
typedef struct CudaImage {
    char *data; /* freed with mem_free */
    size_t size;
    bool from_cache;
} CudaImage;

/* What is compiled for. */
typedef struct CudaArch {
    int number; /* 90 for compute capability 9.0 */
    bool is_ptx;
} CudaArch;

/* The device's own, or PTX of the newest before it, which the driver finishes. FRAX_UNSUPPORTED as below. */
FraxStatus cuda_choose_arch(const Nvrtc *nvrtc, const CudaDevice *device, CudaArch *arch, FraxError *err);
/* FRAX_UNSUPPORTED where NVRTC is missing or knows no architecture of the device; FRAX_INTERNAL with the log
   and the kernel's name where it takes the text for wrong. */
FraxStatus cuda_compile(const CudaProgram *program, const CudaDevice *device, bool no_cache, CudaImage *image,
                        FraxError *err);
/* For any architecture, without the cache. FRAX_UNSUPPORTED where NVRTC is missing or does not know it. */
FraxStatus cuda_compile_for(const CudaProgram *program, CudaArch arch, CudaImage *image, FraxError *err);

#endif
