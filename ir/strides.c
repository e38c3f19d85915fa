/* strides.c — arrays that do not lie densely: how far apart neighbours are along each axis, in elements.
 *
 * Inputs, params and outputs of a graph may have strides (graph_set_strides); all other values are dense and
 * row-major. What is said here holds for the array alone; who may read or write such arrays is decided by
 * passes/strides.c.
 */
#include "ir.h"
#include <string.h>

/* ---- What a graph knows ---- */

const int64_t *graph_strides(const Graph *g, Value v) {
    for (size_t i = 0; i < g->nlayouts; i++)
        if (g->layouts[i].value == v) return g->layouts[i].strides;
    return NULL;
}

bool graph_is_strided(const Graph *g) {
    for (size_t i = 0; i < g->noutputs; i++)
        if (g->outputs[i].strides) return true;
    return g->nlayouts > 0;
}

/* NULL where the array is dense. Axes of size 1 get 0, so that layouts which mean the same are the same. */
static const int64_t *own_strides(Graph *g, const Shape *shape, const int64_t *strides) {
    if (strides_are_dense(shape, strides)) return NULL;
    int64_t *own = arena_alloc(&g->arena, MAX_RANK * sizeof *own);
    if (!own) {
        graph_fail(g, FRAX_MEMORY, "out of memory for strides");
        return NULL;
    }
    memset(own, 0, MAX_RANK * sizeof *own);
    for (int i = 0; i < shape->rank; i++) own[i] = shape->dims[i] == 1 ? 0 : strides[i];
    return own;
}

void graph_set_strides(Graph *g, Value input, const int64_t *strides) {
    const int64_t *own = own_strides(g, &graph_type(g, input)->shape, strides);
    if (!own) return;
    if (mem_grow(&g->layouts, &g->layouts_capacity, g->nlayouts + 1, sizeof *g->layouts))
        g->layouts[g->nlayouts++] = (InputStrides){input, own};
    else
        graph_fail(g, FRAX_MEMORY, "out of memory for strides");
}

void graph_set_output_strides(Graph *g, size_t i, const int64_t *strides) {
    g->outputs[i].strides = own_strides(g, &graph_type(g, g->outputs[i].value)->shape, strides);
}

/* ---- What holds of an array ---- */

bool strides_are_dense(const Shape *shape, const int64_t *strides) {
    int64_t dense[MAX_RANK];
    if (!shape_size(shape)) return true;
    shape_strides(shape, dense);
    for (int i = 0; i < shape->rank; i++)
        if (shape->dims[i] > 1 && strides[i] != dense[i]) return false;
    return true;
}

bool strides_reach_too_far(const Shape *shape, const int64_t *strides) {
    const int64_t limit = INT64_MAX / 32; /* whatever is added to it once, or multiplied by a size of 8 */
    int64_t reach = 0;
    for (int i = 0; i < shape->rank && shape_size(shape); i++) {
        int64_t along;
        if (strides[i] < -limit || strides[i] > limit) return true;
        if (mul_overflows(strides[i] < 0 ? -strides[i] : strides[i], MAX(shape->dims[i], 1), &along) ||
            along > limit - reach)
            return true;
        reach += along;
    }
    return false;
}

static uint64_t magnitude(int64_t stride) {
    return stride < 0 ? -(uint64_t)stride : (uint64_t)stride;
}

bool strides_overlap(const Shape *shape, const int64_t *strides, int64_t size) {
    int order[MAX_RANK], n = 0;
    for (int i = 0; i < shape->rank && shape_size(shape); i++) {
        int at = n++;
        if (shape->dims[i] == 1) {
            n--;
            continue;
        }
        for (; at > 0 && magnitude(strides[order[at - 1]]) > magnitude(strides[i]); at--)
            order[at] = order[at - 1];
        order[at] = i;
    }
    uint64_t reach = (uint64_t)size - 1; /* of the axes with smaller steps */
    for (int k = 0; k < n; k++) {
        uint64_t step = magnitude(strides[order[k]]);
        if (step <= reach) return true;
        reach += step * (uint64_t)(shape->dims[order[k]] - 1);
    }
    return false;
}

/* One group of axes that a reshape makes of another group of the same size: possible where the old axes are
   steps of one walk. Axes are counted from the last; *i and *j are the first beyond the groups. */
static bool reshape_group(const Shape *from, const int64_t *strides, const Shape *to, int *i, int *j,
                          int64_t *result) {
    while (*i >= 0 && from->dims[*i] == 1) --*i;
    while (*j >= 0 && to->dims[*j] == 1) result[(*j)--] = 0;
    if (*i < 0 || *j < 0) return *i < 0 && *j < 0;
    int64_t step = strides[*i], old_size = from->dims[(*i)--], new_size = to->dims[*j];
    result[(*j)--] = step;
    while (old_size != new_size) {
        if (new_size < old_size) {
            if (*j < 0) return false;
            result[*j] = step * new_size;
            new_size *= to->dims[(*j)--];
        } else {
            while (*i >= 0 && from->dims[*i] == 1) --*i;
            if (*i < 0 || strides[*i] != step * old_size) return false;
            old_size *= from->dims[(*i)--];
        }
    }
    return true;
}

bool strides_reshape(const Shape *from, const int64_t *strides, const Shape *to, int64_t result[MAX_RANK]) {
    int i = from->rank - 1, j = to->rank - 1;
    if (!shape_size(from)) return false;
    while (i >= 0 || j >= 0)
        if (!reshape_group(from, strides, to, &i, &j, result)) return false;
    return true;
}

/* ---- Copying ---- */

#define COPY_ELEMENTS(T)                                                                                     \
    for (int64_t i = 0; i < n; i++, to += to_step, from += from_step) memcpy(to, from, sizeof(T))

static void copy_row(char *to, int64_t to_step, const char *from, int64_t from_step, int64_t n, size_t size) {
    if (to_step == (int64_t)size && from_step == (int64_t)size) {
        memmove(to, from, (size_t)n * size);
        return;
    }
    switch (size) {
    case 1: COPY_ELEMENTS(uint8_t); break;
    case 2: COPY_ELEMENTS(uint16_t); break;
    case 4: COPY_ELEMENTS(uint32_t); break;
    default: COPY_ELEMENTS(uint64_t);
    }
}

void strides_bytes(const Type *type, const int64_t *strides, int64_t bytes[MAX_RANK]) {
    int64_t dense[MAX_RANK], size = (int64_t)frax_dtype_size(type->dtype);
    if (!strides) shape_strides(&type->shape, dense);
    for (int i = 0; i < type->shape.rank; i++) bytes[i] = (strides ? strides : dense)[i] * size;
}

void strides_copy(const Type *type, char *to, const int64_t *to_bytes, const char *from,
                  const int64_t *from_bytes) {
    const Shape *shape = &type->shape;
    const int last = shape->rank - 1;
    const size_t size = frax_dtype_size(type->dtype);
    int64_t at[MAX_RANK] = {0};
    if (!shape_size(shape)) return;
    if (!shape->rank) {
        memmove(to, from, size);
        return;
    }
    for (;;) {
        copy_row(to, to_bytes[last], from, from_bytes[last], shape->dims[last], size);
        int axis = last - 1;
        for (; axis >= 0; axis--) {
            to += to_bytes[axis], from += from_bytes[axis];
            if (++at[axis] < shape->dims[axis]) break;
            to -= to_bytes[axis] * shape->dims[axis], from -= from_bytes[axis] * shape->dims[axis];
            at[axis] = 0;
        }
        if (axis < 0) return;
    }
}
