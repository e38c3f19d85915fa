/* frax_dlpack.h — the structures of DLPack (https://dmlc.github.io/dlpack, ABI version 1) as far as frax uses
 * them, for programs that have no dlpack.h. One that has includes it first: this header then adds nothing.
 */
#ifndef FRAX_DLPACK_H
#define FRAX_DLPACK_H

#include <stdint.h>

#ifndef DLPACK_DLPACK_H_
#define DLPACK_DLPACK_H_

enum { kDLCPU = 1, kDLCUDAHost = 3, kDLROCMHost = 11 };        /* devices whose memory the host reads */
enum { kDLInt = 0, kDLFloat = 2, kDLBfloat = 4, kDLBool = 6 }; /* DLDataType.code */
#define DLPACK_MAJOR_VERSION          1
#define DLPACK_FLAG_BITMASK_READ_ONLY 1u

typedef struct {
    int32_t device_type, device_id;
} DLDevice;

typedef struct {
    uint8_t code, bits;
    uint16_t lanes;
} DLDataType;

typedef struct {
    void *data;
    DLDevice device;
    int32_t ndim;
    DLDataType dtype;
    int64_t *shape;
    int64_t *strides; /* in elements; NULL: dense and row-major */
    uint64_t byte_offset;
} DLTensor;

typedef struct DLManagedTensor {
    DLTensor dl_tensor;
    void *manager_ctx;
    void (*deleter)(struct DLManagedTensor *self); /* NULL: nothing is to be done */
} DLManagedTensor;

typedef struct {
    uint32_t major, minor;
} DLPackVersion;

typedef struct DLManagedTensorVersioned {
    DLPackVersion version;
    void *manager_ctx;
    void (*deleter)(struct DLManagedTensorVersioned *self);
    uint64_t flags;
    DLTensor dl_tensor;
} DLManagedTensorVersioned;

#endif
#endif
