/* views.c — running on arrays of the host with strides: frax_run_views.
 *
 * Kernels read and write arrays with the strides that they were compiled for; dense ones, unless
 * options.layouts says otherwise. A view that has them is used where it lies. Any other is copied through a
 * buffer of those strides, inputs before the run and outputs after it; all buffers of a call are one
 * allocation. An output that shares memory with another view is written last of all, so that it may be
 * computed in place.
 */
#include "api.h"
#include <stdlib.h>
#include <string.h>

enum { FEW_VIEWS = 32, BUFFER_ALIGNMENT = 64 };

/* A view with what becomes of it in one call. */
typedef struct Operand {
    const FraxView *view;
    FraxRole role;
    size_t index; /* in its role */
    size_t bytes; /* of its elements; 0: there are none */
    const Type *type;
    const int64_t *strides; /* compiled, in elements; NULL: dense */
    uintptr_t low, high;    /* what the view's elements lie in */
    bool copied;
    void *data; /* what the run is given */
} Operand;

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

/* The bytes that elements with these strides lie in, before and behind the first one. */
static bool find_reach(const Type *type, const int64_t *strides, int64_t *before, int64_t *behind) {
    *before = 0, *behind = (int64_t)frax_dtype_size(type->dtype);
    for (int axis = 0; axis < type->shape.rank; axis++) {
        int64_t reach, *end = strides[axis] < 0 ? before : behind;
        if (mul_overflows(strides[axis], type->shape.dims[axis] - 1, &reach) ||
            __builtin_add_overflow(*end, reach, end))
            return false;
    }
    return true;
}

static bool find_range(Operand *o) {
    int64_t before, behind;
    o->low = o->high = (uintptr_t)o->view->data;
    if (o->bytes == 0) return true;
    if (!find_reach(o->type, o->view->strides, &before, &behind)) return false;
    o->low += (uintptr_t)before, o->high += (uintptr_t)behind;
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
    if (strides_overlap(&o->type->shape, view->strides, (int64_t)frax_dtype_size(view->dtype)))
        return view_fail(
            exe, o, FRAX_VALUE, err,
            "its elements may lie over each other; each axis of an output has to step over all that "
            "axes of smaller strides span");
    return FRAX_OK;
}

/* ---- Do elements of two views meet? ---- */

/* Where a view's elements lie modulo `period`: an interval from `low` on, `size` bytes long; size > period
   where they may be anywhere. Axes that step over whole periods stay in place. */
typedef struct Residue {
    uintptr_t low;
    int64_t size;
} Residue;

static Residue residue_of(const Operand *o, int64_t period) {
    int64_t before = 0, size = (int64_t)frax_dtype_size(o->view->dtype);
    for (int axis = 0; axis < o->view->rank && size <= period; axis++) {
        int64_t stride = o->view->strides[axis], n = o->view->dims[axis] - 1;
        if (n == 0 || stride % period == 0) continue;
        if (stride > period || stride < -period || n > period / llabs(stride)) return (Residue){0, INT64_MAX};
        if (stride < 0) before += stride * n;
        size += llabs(stride) * n;
    }
    return (Residue){((uintptr_t)o->view->data + (uintptr_t)before) % (uintptr_t)period, size};
}

/* Arrays woven into each other by steps of `period`: the columns of a matrix, the parts of complex numbers.
 */
static bool apart_modulo(const Operand *a, const Operand *b, int64_t period) {
    Residue x = residue_of(a, period), y = residue_of(b, period);
    if (period < 0 || x.size > period || y.size > period) return false;
    int64_t ahead = (int64_t)y.low - (int64_t)x.low;
    if (ahead < 0) ahead += period;
    return ahead >= x.size && ahead + y.size <= period;
}

static bool are_apart(const Operand *a, const Operand *b) {
    if (a->high <= b->low || b->high <= a->low) return true;
    for (int axis = 0; axis < a->view->rank; axis++) {
        int64_t period = a->view->strides[axis];
        if (a->view->dims[axis] > 1 && period && period != INT64_MIN && apart_modulo(a, b, llabs(period)))
            return true;
    }
    return false;
}

/* ---- One call ---- */

static bool lies_as_compiled(const Operand *o) {
    int64_t strides[MAX_RANK];
    const FraxView *view = o->view;
    strides_bytes(o->type, o->strides, strides);
    for (int axis = 0; axis < view->rank; axis++)
        if (view->dims[axis] > 1 && view->strides[axis] != strides[axis]) return false;
    return true;
}

static bool is_aligned(const FraxView *view) {
    return (uintptr_t)view->data % frax_dtype_size(view->dtype) == 0;
}

static bool same_strides(const Operand *a, const Operand *b) {
    for (int axis = 0; axis < a->view->rank; axis++)
        if (a->view->dims[axis] > 1 && a->view->strides[axis] != b->view->strides[axis]) return false;
    return true;
}

/* A state may be written over its own param, as it is. */
static bool is_own_state(const FraxExecutable *exe, const Operand *output, const Operand *param) {
    size_t states = exe->nstates, first = exe->counts[FRAX_OUTPUT] - states;
    return param->role == FRAX_PARAM && output->index >= first &&
           param->index == exe->counts[FRAX_PARAM] - states + output->index - first &&
           output->view->data == param->view->data && same_strides(output, param);
}

static bool shares_memory(const FraxExecutable *exe, const Operand *operands, size_t n, const Operand *o) {
    for (size_t i = 0; i < n; i++)
        if (&operands[i] != o && operands[i].bytes && !are_apart(o, &operands[i]) &&
            !is_own_state(exe, o, &operands[i]))
            return true;
    return false;
}

/* The buffer's room for a copy with the compiled strides; *before: from its start to the first element. */
static FraxStatus find_room(const FraxExecutable *exe, const Operand *o, size_t *before, size_t *room,
                            FraxError *err) {
    int64_t strides[MAX_RANK], low = 0, high = (int64_t)o->bytes;
    bool overlaps = o->strides && strides_overlap(&o->type->shape, o->strides, 1);
    if (overlaps && !lies_as_compiled(o))
        return view_fail(exe, o, FRAX_VALUE, err,
                         "it was compiled for strides that lay its elements over each other, which this view "
                         "has not; give it those, or compile it for others");
    strides_bytes(o->type, o->strides, strides);
    if (!find_reach(o->type, strides, &low, &high)) return fail_memory(err, "copying views");
    *before = (size_t)-low;
    *room = ((size_t)high + *before + BUFFER_ALIGNMENT - 1) / BUFFER_ALIGNMENT * BUFFER_ALIGNMENT;
    return FRAX_OK;
}

/* Where arrays without elements lie, whose data may be NULL. */
static const double nothing[1];

/* What each run is given: the view's own memory, or a place in *buffer. */
static FraxStatus place(const FraxExecutable *exe, Operand *operands, size_t n, char **buffer,
                        FraxError *err) {
    size_t bytes = 0, before = 0, room = 0;
    for (size_t i = 0; i < n; i++) {
        Operand *o = &operands[i];
        o->data = o->bytes ? o->view->data : (void *)(uintptr_t)nothing;
        o->copied = o->bytes && (!lies_as_compiled(o) || !is_aligned(o->view) ||
                                 (o->role == FRAX_OUTPUT && shares_memory(exe, operands, n, o)));
        if (!o->copied) continue;
        FraxStatus status = find_room(exe, o, &before, &room, err);
        if (status) return status;
        o->data = (void *)(uintptr_t)(bytes + before); /* an offset, until the buffer is there */
        if (__builtin_add_overflow(bytes, room, &bytes)) return fail_memory(err, "copying views");
    }
    *buffer = bytes ? mem_aligned(bytes) : NULL;
    if (bytes && !*buffer)
        return fail(err, FRAX_MEMORY, "out of memory: views with other strides than compiled need %zu bytes",
                    bytes);
    for (size_t i = 0; i < n; i++)
        if (operands[i].copied) operands[i].data = *buffer + (uintptr_t)operands[i].data;
    return FRAX_OK;
}

/* Between the view and its copy. */
static void copy_operand(const Operand *o, bool to_view) {
    int64_t strides[MAX_RANK];
    if (!o->copied) return;
    strides_bytes(o->type, o->strides, strides);
    if (to_view)
        strides_copy(o->type, o->view->data, o->view->strides, o->data, strides);
    else
        strides_copy(o->type, o->data, strides, o->view->data, o->view->strides);
}

static FraxStatus run_operands(const FraxExecutable *exe, Operand *operands, size_t n, void **pointers,
                               FraxError *err) {
    char *buffer = NULL;
    const size_t ninputs = exe->counts[FRAX_INPUT], nargs = ninputs + exe->counts[FRAX_PARAM];
    FraxStatus status = place(exe, operands, n, &buffer, err);
    for (size_t i = 0; i < n && !status; i++) {
        const Operand *o = &operands[i];
        pointers[i] = o->data;
        if (o->role != FRAX_OUTPUT) copy_operand(o, false);
    }
    const void *const *args = (const void *const *)pointers;
    if (!status) status = frax_run(exe, args, args + ninputs, pointers + nargs, err);
    for (size_t i = nargs; i < n && !status; i++) copy_operand(&operands[i], true);
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
            *o = (Operand){.view = &views[i],
                           .role = role,
                           .index = k,
                           .bytes = type_bytes(type),
                           .type = type,
                           .strides = compiled_strides(exe, role, k)};
            status = check_type(exe, o, type, err);
            if (!status) status = check_memory(exe, o, err);
        }
    return status;
}

FraxView frax_view(FraxTensor tensor) {
    FraxView view = {.dtype = tensor.dtype, .rank = tensor.rank, .data = tensor.data};
    if (tensor.rank < 0 || tensor.rank > FRAX_MAX_RANK) return view;
    int64_t stride = (int64_t)frax_dtype_size(tensor.dtype);
    memcpy(view.dims, tensor.dims, sizeof view.dims);
    for (int axis = view.rank - 1; axis >= 0; axis--) {
        view.strides[axis] = stride;
        stride *= MAX(view.dims[axis], 1);
    }
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
