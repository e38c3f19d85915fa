/* cuda_device.c — see cuda_device.h. */
#include "cuda_device.h"
#include <pthread.h>

static int read_attributes(CudaDevice *d) {
    const struct {
        int attribute, *value;
    } wanted[] = {{CUDA_CAPABILITY_MAJOR, &d->major},
                  {CUDA_CAPABILITY_MINOR, &d->minor},
                  {CUDA_SHARED_MEMORY_OPTIN, &d->shared_most}};
    int result = d->cu->device_get(&d->id, d->number);
    if (!result) result = d->cu->device_name(d->name, sizeof d->name, d->id);
    if (!result) result = d->cu->device_memory(&d->memory, d->id);
    for (size_t i = 0; i < COUNT(wanted) && !result; i++)
        result = d->cu->device_attribute(wanted[i].value, wanted[i].attribute, d->id);
    return result;
}

FraxStatus cuda_device_describe(int number, CudaDevice *d, FraxError *err) {
    *d = (CudaDevice){.cu = cuda_driver(err), .number = number};
    if (!d->cu) return FRAX_UNSUPPORTED;
    if (number < 0 || number >= d->cu->devices)
        return fail(err, FRAX_UNSUPPORTED,
                    "CUDA: there is no device %d; this machine has %d, counted from 0 (see frax devices)",
                    number, d->cu->devices);
    int result = read_attributes(d);
    return result ? cuda_fail(d->cu, result, err, "CUDA: reading what device %d is", number) : FRAX_OK;
}

/* Primary contexts by number of the device, retained once and never released: at the last release the driver
   destroys a context, which the next executable would wait for again, and which other users of the device in
   this process (cuFFT, cuBLASLt, programs of the CUDA runtime) hold as theirs. */
static CudaContext *contexts;
static pthread_mutex_t contexts_lock = PTHREAD_MUTEX_INITIALIZER;

static FraxStatus keep_context(CudaDevice *d, FraxError *err) {
    if (!contexts) contexts = mem_calloc((size_t)d->cu->devices, sizeof(CudaContext));
    if (!contexts) return fail_memory(err, "the contexts of devices");
    CudaContext *kept = &contexts[d->number];
    int result = *kept ? 0 : d->cu->context_retain(kept, d->id);
    if (result) *kept = NULL;
    d->context = *kept;
    return result ? cuda_fail(d->cu, result, err, "CUDA: starting device %d, %s", d->number, d->name)
                  : FRAX_OK;
}

FraxStatus cuda_device_open(int number, CudaDevice *d, FraxError *err) {
    FraxStatus status = cuda_device_describe(number, d, err);
    if (status) return status;
    pthread_mutex_lock(&contexts_lock);
    status = keep_context(d, err);
    pthread_mutex_unlock(&contexts_lock);
    return status;
}

FraxStatus cuda_device_enter(const CudaDevice *d, FraxError *err) {
    int result = d->cu->context_push(d->context);
    return result ? cuda_fail(d->cu, result, err, "CUDA: using device %d", d->number) : FRAX_OK;
}

void cuda_device_leave(const CudaDevice *d) {
    CudaContext own;
    d->cu->context_pop(&own);
}

size_t cuda_device_free_memory(const CudaDevice *d) {
    size_t left = 0, total;
    if (d->cu->memory_info(&left, &total)) left = 0;
    return left;
}

FraxStatus cuda_device_allocate(const CudaDevice *d, size_t bytes, const char *what, CudaAddress *address,
                                FraxError *err) {
    int result = d->cu->memory_allocate(address, MAX(bytes, 1));
    if (!result) return FRAX_OK;
    *address = 0;
    if (result != CUDA_OUT_OF_MEMORY) return cuda_fail(d->cu, result, err, "CUDA: memory for %s", what);
    return fail(err, FRAX_MEMORY, "out of memory on device %d, %s: %s needs %zu bytes, %zu of %zu are free",
                d->number, d->name, what, bytes, cuda_device_free_memory(d), d->memory);
}
