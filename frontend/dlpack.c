/* dlpack.c — tensors of other libraries as views, and views as tensors for them. See frax.h. */
#include "base.h"
#include "frax_dlpack.h"
#include <string.h>

typedef struct DTypeRow {
    FraxDType dtype;
    DLDataType code;
} DTypeRow;

static const DTypeRow dtypes[] = {
    {FRAX_F64, {kDLFloat, 64, 1}},   {FRAX_F32, {kDLFloat, 32, 1}}, {FRAX_F16, {kDLFloat, 16, 1}},
    {FRAX_BF16, {kDLBfloat, 16, 1}}, {FRAX_I32, {kDLInt, 32, 1}},   {FRAX_BOOL, {kDLBool, 8, 1}},
};

/* ---- In ---- */

static FraxStatus find_dtype(DLDataType code, FraxDType *dtype, FraxError *err) {
    static const char *const kinds[] = {"int", "uint", "float", "opaque", "bfloat", "complex", "bool"};
    for (size_t i = 0; i < COUNT(dtypes); i++) {
        *dtype = dtypes[i].dtype;
        if (!memcmp(&dtypes[i].code, &code, sizeof code)) return FRAX_OK;
    }
    return fail(
        err, FRAX_TYPE,
        "a DLPack tensor of %s with %d bits and %d lanes; frax has f64, f32, bf16, f16, i32 and bool: "
        "convert it first",
        code.code < COUNT(kinds) ? kinds[code.code] : "an unknown kind", code.bits, code.lanes);
}

static FraxStatus check_tensor(const DLTensor *t, FraxError *err) {
    int device = (int)t->device.device_type;
    if (device != kDLCPU && device != kDLCUDAHost && device != kDLROCMHost)
        return fail(err, FRAX_UNSUPPORTED,
                    "a DLPack tensor on device type %d; frax runs on memory of the host: copy it there first",
                    device);
    if (t->ndim < 0 || t->ndim > FRAX_MAX_RANK)
        return fail(err, FRAX_SHAPE, "a DLPack tensor with %d axes; expected 0 to %d", (int)t->ndim,
                    FRAX_MAX_RANK);
    if (t->ndim && !t->shape) return fail(err, FRAX_USAGE, "a DLPack tensor whose shape is NULL");
    return FRAX_OK;
}

static FraxStatus from_tensor(const DLTensor *t, bool read_only, FraxView *view, FraxError *err) {
    FraxTensor tensor = {.rank = t->ndim};
    FraxStatus status = check_tensor(t, err);
    if (!status) status = find_dtype(t->dtype, &tensor.dtype, err);
    if (status) return status;
    int64_t size = (int64_t)frax_dtype_size(tensor.dtype);
    for (int axis = 0; axis < t->ndim; axis++) {
        tensor.dims[axis] = t->shape[axis];
        if (tensor.dims[axis] < 0)
            return fail(err, FRAX_SHAPE, "a DLPack tensor with %lld elements along axis %d",
                        (long long)tensor.dims[axis], axis);
    }
    tensor.data = t->data ? (char *)t->data + t->byte_offset : NULL;
    *view = frax_view(tensor);
    view->read_only = read_only;
    for (int axis = 0; t->strides && axis < t->ndim; axis++)
        if (mul_overflows(t->strides[axis], size, &view->strides[axis]))
            return fail(err, FRAX_VALUE, "a DLPack tensor with stride %lld along axis %d",
                        (long long)t->strides[axis], axis);
    return FRAX_OK;
}

FraxStatus frax_view_from_dlpack(const DLManagedTensor *tensor, FraxView *view, FraxError *err) {
    if (!tensor || !view)
        return fail(err, FRAX_USAGE, "frax_view_from_dlpack: %s is NULL", tensor ? "view" : "tensor");
    return from_tensor(&tensor->dl_tensor, false, view, err);
}

FraxStatus frax_view_from_dlpack_versioned(const DLManagedTensorVersioned *tensor, FraxView *view,
                                           FraxError *err) {
    if (!tensor || !view)
        return fail(err, FRAX_USAGE, "frax_view_from_dlpack_versioned: %s is NULL",
                    tensor ? "view" : "tensor");
    if (tensor->version.major != DLPACK_MAJOR_VERSION)
        return fail(err, FRAX_UNSUPPORTED, "a DLPack tensor of version %u.%u; frax knows version %d",
                    (unsigned)tensor->version.major, (unsigned)tensor->version.minor, DLPACK_MAJOR_VERSION);
    return from_tensor(&tensor->dl_tensor, tensor->flags & DLPACK_FLAG_BITMASK_READ_ONLY, view, err);
}

/* ---- Out ---- */

/* A tensor that was handed out, with all that it points to. */
typedef struct Export {
    union {
        DLManagedTensor plain;
        DLManagedTensorVersioned versioned;
    } managed;
    int64_t shape[FRAX_MAX_RANK], strides[FRAX_MAX_RANK];
    void *memory; /* its own; NULL: the caller's, given back by release */
    void (*release)(void *context);
    void *context;
} Export;

static void export_destroy(Export *e) {
    mem_free(e->memory);
    if (e->release) e->release(e->context);
    mem_free(e);
}

static void delete_plain(DLManagedTensor *self) {
    export_destroy(self->manager_ctx);
}

static void delete_versioned(DLManagedTensorVersioned *self) {
    export_destroy(self->manager_ctx);
}

/* New memory for a view without any. */
static FraxStatus allocate(FraxView *view, Export *e, FraxError *err) {
    int64_t bytes = (int64_t)frax_dtype_size(view->dtype);
    FraxTensor tensor = {.dtype = view->dtype, .rank = view->rank};
    for (int axis = 0; axis < view->rank; axis++) {
        tensor.dims[axis] = view->dims[axis];
        if (mul_overflows(bytes, view->dims[axis], &bytes))
            return fail(err, FRAX_SHAPE, "frax_view_to_dlpack: %lld elements along axis %d",
                        (long long)view->dims[axis], axis);
    }
    e->memory = tensor.data = mem_aligned((size_t)bytes);
    if (!e->memory) return fail(err, FRAX_MEMORY, "out of memory: a tensor of %lld bytes", (long long)bytes);
    int read_only = view->read_only;
    *view = frax_view(tensor);
    view->read_only = read_only;
    return FRAX_OK;
}

static FraxStatus fill_tensor(const FraxView *view, Export *e, DLTensor *t, FraxError *err) {
    int64_t size = (int64_t)frax_dtype_size(view->dtype);
    *t = (DLTensor){.data = view->data, .ndim = view->rank, .shape = e->shape, .strides = e->strides};
    t->device.device_type = kDLCPU;
    for (size_t i = 0; i < COUNT(dtypes); i++)
        if (dtypes[i].dtype == view->dtype) t->dtype = dtypes[i].code;
    for (int axis = 0; axis < view->rank; axis++) {
        e->shape[axis] = view->dims[axis];
        e->strides[axis] = view->strides[axis] / size;
        if (view->strides[axis] % size)
            return fail(
                err, FRAX_VALUE,
                "frax_view_to_dlpack: the stride along axis %d is %lld bytes; DLPack wants whole elements "
                "of %lld",
                axis, (long long)view->strides[axis], (long long)size);
    }
    return FRAX_OK;
}

static FraxStatus export_create(FraxView *view, bool versioned, void (*release)(void *), void *context,
                                Export **out, FraxError *err) {
    if (!view) return fail(err, FRAX_USAGE, "frax_view_to_dlpack: view is NULL");
    if ((unsigned)view->dtype > FRAX_BOOL || view->rank < 0 || view->rank > FRAX_MAX_RANK)
        return fail(err, FRAX_USAGE, "frax_view_to_dlpack: dtype %d and rank %d are not of an array",
                    (int)view->dtype, view->rank);
    for (int axis = 0; axis < view->rank; axis++)
        if (view->dims[axis] < 0)
            return fail(err, FRAX_SHAPE, "frax_view_to_dlpack: %lld elements along axis %d",
                        (long long)view->dims[axis], axis);
    if (view->read_only && !versioned)
        return fail(err, FRAX_VALUE,
                    "frax_view_to_dlpack: the memory is read-only, which only a versioned tensor can say");
    Export *e = mem_calloc(1, sizeof *e);
    if (!e) return fail_memory(err, "making a tensor");
    FraxStatus status = view->data ? FRAX_OK : allocate(view, e, err);
    DLTensor *t = versioned ? &e->managed.versioned.dl_tensor : &e->managed.plain.dl_tensor;
    if (!status) status = fill_tensor(view, e, t, err);
    if (status) {
        mem_free(e->memory);
        mem_free(e);
        return status;
    }
    e->release = release;
    e->context = context;
    *out = e;
    return FRAX_OK;
}

FraxStatus frax_view_to_dlpack(FraxView *view, void (*release)(void *context), void *context,
                               DLManagedTensor **tensor, FraxError *err) {
    Export *e;
    if (!tensor) return fail(err, FRAX_USAGE, "frax_view_to_dlpack: tensor is NULL");
    *tensor = NULL;
    FraxStatus status = export_create(view, false, release, context, &e, err);
    if (status) return status;
    e->managed.plain.manager_ctx = e;
    e->managed.plain.deleter = delete_plain;
    *tensor = &e->managed.plain;
    return FRAX_OK;
}

FraxStatus frax_view_to_dlpack_versioned(FraxView *view, void (*release)(void *context), void *context,
                                         DLManagedTensorVersioned **tensor, FraxError *err) {
    Export *e;
    if (!tensor) return fail(err, FRAX_USAGE, "frax_view_to_dlpack_versioned: tensor is NULL");
    *tensor = NULL;
    FraxStatus status = export_create(view, true, release, context, &e, err);
    if (status) return status;
    e->managed.versioned.version.major = DLPACK_MAJOR_VERSION;
    e->managed.versioned.flags = view->read_only ? DLPACK_FLAG_BITMASK_READ_ONLY : 0;
    e->managed.versioned.manager_ctx = e;
    e->managed.versioned.deleter = delete_versioned;
    *tensor = &e->managed.versioned;
    return FRAX_OK;
}
