/* cuda_device.h — a GPU: what it is, and its primary context, which all executables on it share. */
#ifndef FRAX_CUDA_DEVICE_H
#define FRAX_CUDA_DEVICE_H

#include "cuda_library.h"

typedef struct CudaDevice {
    const CudaDriver *cu;
    CudaContext context; /* NULL: only described */
    int number, id;
    int major, minor; /* compute capability */
    int shared_most;  /* bytes of shared memory that a block may opt in to */
    size_t memory;
    char name[128];
} CudaDevice;

/* FRAX_UNSUPPORTED where there is no driver or no such device. */
FraxStatus cuda_device_describe(int number, CudaDevice *device, FraxError *err);
/* The same with its context, which is kept until the process ends. */
FraxStatus cuda_device_open(int number, CudaDevice *device, FraxError *err);

/* Calls of the driver stand between these: the calling thread's own context is left as it was. */
FraxStatus cuda_device_enter(const CudaDevice *device, FraxError *err);
void cuda_device_leave(const CudaDevice *device);

/* Within both. FRAX_MEMORY says how much was asked for and how much is free. *address is 0 after a failure.
 */
FraxStatus cuda_device_allocate(const CudaDevice *device, size_t bytes, const char *what,
                                CudaAddress *address, FraxError *err);
size_t cuda_device_free_memory(const CudaDevice *device);

#endif
