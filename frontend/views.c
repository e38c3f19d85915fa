/* views.c — running on arrays of the host that need not be dense: frax_run_views.
 *
 * Kernels read and write dense row-major arrays. A view that is one is used where it lies. Any other is
 * copied through a buffer, inputs before the run and outputs after it; all buffers of a call are one
 * allocation. An output that shares memory with another view is written last of all, so that it may be
 * computed in place.
 */
#include "api.h"
#include <string.h>

enum { FEW_VIEWS = 32, BUFFER_ALIGNMENT = 64 };

/* A view with what becomes of it in one call. */
typedef struct Operand {
    const FraxView *view;
    FraxRole role;
    size_t index; /* in its role */
    size_t bytes; /* of the dense array */
    uintptr_t low, high;
    bool copied;
    void *data; /* what the run is given */
} Operand;

/* ---- Copying ---- */

#define COPY_ELEMENTS(T)                                                                                     \
    for (int64_t i = 0; i < n; i++, to += to_step, from += from_step) memcpy(to, from, sizeof(T))

static void copy_row(char *to, int64_t to_step, const char *from, int64_t from_step, int64_t n, size_t size) {
    if (to_step == (int64_t)size && from_step == (int64_t)size) {
        memcpy(to, from, (size_t)n * size);
        return;
    }
    switch (size) {
    case 1: COPY_ELEMENTS(uint8_t); break;
    case 2: COPY_ELEMENTS(uint16_t); break;
    case 4: COPY_ELEMENTS(uint32_t); break;
    default: COPY_ELEMENTS(uint64_t);
    }
}

static void dense_strides(const FraxView *view, int64_t strides[FRAX_MAX_RANK]) {
    int64_t stride = (int64_t)frax_dtype_size(view->dtype);
    for (int axis = view->rank - 1; axis >= 0; axis--) {
        strides[axis] = stride;
        stride *= MAX(view->dims[axis], 1);
    }
}

/* All elements of the view to the dense array (gather), or back. */
static void copy_view(const FraxView *view, char *dense, bool gather) {
    int64_t strides[FRAX_MAX_RANK], at[FRAX_MAX_RANK] = {0};
    const int last = view->rank - 1;
    const size_t size = frax_dtype_size(view->dtype);
    char *data = view->data;
    if (view->rank == 0) {
        memcpy(gather ? dense : data, gather ? data : dense, size);
        return;
    }
    dense_strides(view, strides);
    for (;;) {
        if (gather)
            copy_row(dense, strides[last], data, view->strides[last], view->dims[last], size);
        else
            copy_row(data, view->strides[last], dense, strides[last], view->dims[last], size);
        int axis = last - 1;
        for (; axis >= 0; axis--) {
            dense += strides[axis], data += view->strides[axis];
            if (++at[axis] < view->dims[axis]) break;
            dense -= strides[axis] * view->dims[axis], data -= view->strides[axis] * view->dims[axis];
            at[axis] = 0;
        }
        if (axis < 0) return;
    }
}

/* ---- Checking ---- */

static FraxStatus view_fail(const FraxExecutable *exe, const Operand *o, FraxStatus status, FraxError *err,
                            const char *fmt, ...) PRINTF_LIKE(5, 6);
static FraxStatus view_fail(const FraxExecutable *exe, const Operand *o, FraxStatus status, FraxError *err,
                            const char *fmt, ...) {
    static const char *const words[] = {"input", "param", "output"};
    char text[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    return fail(err, status, "frax_run_views: %s %s: %s", words[o->role],
                frax_executable_name(exe, o->role, o->index), text);
}

static FraxStatus check_type(const FraxExecutable *exe, const Operand *o, const Type *type, FraxError *err) {
    const FraxView *view = o->view;
    char got[176], expected[176];
    bool same = view->dtype == type->dtype && view->rank == type->shape.rank;
    for (int axis = 0; axis < type->shape.rank && same; axis++)
        same = view->dims[axis] == type->shape.dims[axis];
    if (same) return FRAX_OK;
    if ((unsigned)view->dtype > FRAX_BOOL || view->rank < 0 || view->rank > FRAX_MAX_RANK)
        return view_fail(exe, o, FRAX_USAGE, err,
                         "dtype %d and rank %d are not of an array; fill all fields of the view",
                         (int)view->dtype, view->rank);
    Type given = {.dtype = view->dtype, .shape.rank = view->rank};
    memcpy(given.shape.dims, view->dims, sizeof given.shape.dims);
    if (given.dtype != type->dtype)
        return view_fail(exe, o, FRAX_TYPE, err, "got %s, expected %s; convert it, or change the model",
                         type_text(&given, got), type_text(type, expected));
    return view_fail(exe, o, FRAX_SHAPE, err,
                     "got %s, but this executable was compiled for %s; compile the model for these sizes",
                     type_text(&given, got), type_text(type, expected));
}

/* The bytes that the view's elements lie in. */
static bool find_range(Operand *o) {
    int64_t low = 0, high = (int64_t)frax_dtype_size(o->view->dtype);
    o->low = o->high = (uintptr_t)o->view->data;
    if (o->bytes == 0) return true;
    for (int axis = 0; axis < o->view->rank; axis++) {
        int64_t reach, *end = o->view->strides[axis] < 0 ? &low : &high;
        if (mul_overflows(o->view->strides[axis], o->view->dims[axis] - 1, &reach) ||
            __builtin_add_overflow(*end, reach, end))
            return false;
    }
    o->low += (uintptr_t)low, o->high += (uintptr_t)high;
    return o->low < o->high;
}

static FraxStatus check_memory(const FraxExecutable *exe, Operand *o, FraxError *err) {
    const FraxView *view = o->view;
    if (o->bytes && !view->data) return view_fail(exe, o, FRAX_USAGE, err, "data is NULL");
    if (!find_range(o))
        return view_fail(exe, o, FRAX_VALUE, err,
                         "its strides reach beyond the address space; they count bytes");
    if (o->role != FRAX_OUTPUT) return FRAX_OK;
    if (view->read_only)
        return view_fail(exe, o, FRAX_VALUE, err, "the memory is read-only, and the run would write to it");
    for (int axis = 0; axis < view->rank; axis++)
        if (view->strides[axis] == 0 && view->dims[axis] > 1)
            return view_fail(exe, o, FRAX_VALUE, err,
                             "stride 0 along axis %d lays its elements over each other", axis);
    return FRAX_OK;
}

/* ---- One call ---- */

static bool is_dense(const FraxView *view) {
    int64_t strides[FRAX_MAX_RANK];
    dense_strides(view, strides);
    for (int axis = 0; axis < view->rank; axis++)
        if (view->dims[axis] > 1 && view->strides[axis] != strides[axis]) return false;
    return (uintptr_t)view->data % frax_dtype_size(view->dtype) == 0;
}

/* A state may be written over its own param, as it is. */
static bool is_own_state(const FraxExecutable *exe, const Operand *output, const Operand *param) {
    size_t states = exe->nstates, first = exe->counts[FRAX_OUTPUT] - states;
    return param->role == FRAX_PARAM && output->index >= first && output->low == param->low &&
           param->index == exe->counts[FRAX_PARAM] - states + output->index - first;
}

static bool shares_memory(const FraxExecutable *exe, const Operand *operands, size_t n, const Operand *o) {
    for (size_t i = 0; i < n; i++)
        if (&operands[i] != o && operands[i].low < o->high && o->low < operands[i].high &&
            !is_own_state(exe, o, &operands[i]))
            return true;
    return false;
}

/* What each run is given: the view's own memory, or a place in *buffer. */
static FraxStatus place(const FraxExecutable *exe, Operand *operands, size_t n, char **buffer,
                        FraxError *err) {
    size_t bytes = 0;
    for (size_t i = 0; i < n; i++) {
        Operand *o = &operands[i];
        o->data = o->view->data;
        o->copied = o->bytes == 0 || !is_dense(o->view) ||
                    (o->role == FRAX_OUTPUT && shares_memory(exe, operands, n, o));
        if (!o->copied) continue;
        o->data = (void *)(uintptr_t)bytes; /* an offset, until the buffer is there */
        size_t room = MAX((o->bytes + BUFFER_ALIGNMENT - 1) / BUFFER_ALIGNMENT, (size_t)1) * BUFFER_ALIGNMENT;
        if (__builtin_add_overflow(bytes, room, &bytes)) return fail_memory(err, "copying views");
    }
    *buffer = bytes ? mem_aligned(bytes) : NULL;
    if (bytes && !*buffer)
        return fail(err, FRAX_MEMORY, "out of memory: views that are not dense need %zu bytes", bytes);
    for (size_t i = 0; i < n; i++)
        if (operands[i].copied) operands[i].data = *buffer + (uintptr_t)operands[i].data;
    return FRAX_OK;
}

static FraxStatus run_operands(const FraxExecutable *exe, Operand *operands, size_t n, void **pointers,
                               FraxError *err) {
    char *buffer = NULL;
    const size_t ninputs = exe->counts[FRAX_INPUT], nargs = ninputs + exe->counts[FRAX_PARAM];
    FraxStatus status = place(exe, operands, n, &buffer, err);
    for (size_t i = 0; i < n && !status; i++) {
        const Operand *o = &operands[i];
        pointers[i] = o->data;
        if (o->copied && o->bytes && o->role != FRAX_OUTPUT) copy_view(o->view, o->data, true);
    }
    const void *const *args = (const void *const *)pointers;
    if (!status) status = frax_run(exe, args, args + ninputs, pointers + nargs, err);
    for (size_t i = nargs; i < n && !status; i++)
        if (operands[i].copied && operands[i].bytes) copy_view(operands[i].view, operands[i].data, false);
    mem_free(buffer);
    return status;
}

static FraxStatus check_operands(const FraxExecutable *exe, const FraxView *views, Operand *operands,
                                 FraxError *err) {
    FraxStatus status = FRAX_OK;
    size_t i = 0;
    for (FraxRole role = FRAX_INPUT; role <= FRAX_OUTPUT; role++)
        for (size_t k = 0; k < exe->counts[role] && !status; k++, i++) {
            Operand *o = &operands[i];
            const Type *type = signature_type(exe, role, k);
            *o = (Operand){.view = &views[i], .role = role, .index = k, .bytes = type_bytes(type)};
            status = check_type(exe, o, type, err);
            if (!status) status = check_memory(exe, o, err);
        }
    return status;
}

FraxView frax_view(FraxTensor tensor) {
    FraxView view = {.dtype = tensor.dtype, .rank = tensor.rank, .data = tensor.data};
    if (tensor.rank < 0 || tensor.rank > FRAX_MAX_RANK) return view;
    memcpy(view.dims, tensor.dims, sizeof view.dims);
    dense_strides(&view, view.strides);
    return view;
}

FraxStatus frax_run_views(const FraxExecutable *exe, const FraxView *views, size_t count, FraxError *err) {
    if (!handle_is(exe, HANDLE_EXECUTABLE)) return handle_fail(exe, "frax_run_views", "exe", err);
    const size_t *counts = exe->counts, n = counts[FRAX_INPUT] + counts[FRAX_PARAM] + counts[FRAX_OUTPUT];
    if (count != n)
        return fail(err, FRAX_USAGE,
                    "frax_run_views: got %zu views, expected %zu: inputs (%zu), params (%zu), outputs (%zu)",
                    count, n, counts[FRAX_INPUT], counts[FRAX_PARAM], counts[FRAX_OUTPUT]);
    if (!views) return fail(err, FRAX_USAGE, "frax_run_views: views is NULL");
    Operand few[FEW_VIEWS], *operands = few;
    void *few_pointers[FEW_VIEWS], **pointers = few_pointers;
    if (n > FEW_VIEWS) {
        operands = mem_calloc(n, sizeof *operands);
        pointers = mem_calloc(n, sizeof *pointers);
    }
    FraxStatus status = operands && pointers ? FRAX_OK : fail_memory(err, "running");
    if (!status) status = check_operands(exe, views, operands, err);
    if (!status) status = run_operands(exe, operands, n, pointers, err);
    if (operands != few) mem_free(operands);
    if (pointers != few_pointers) mem_free(pointers);
    return status;
}
