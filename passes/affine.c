/* affine.c — affine functions of loops: how an element's place moves through shape ops. Used by kernel.c. */
#include "kernel.h"

bool affine_equal(const Affine *a, const Affine *b) {
    if (a->base != b->base) return false;
    for (int l = 0; l < MAX_LOOPS; l++)
        if (a->coeff[l] != b->coeff[l]) return false;
    return true;
}

bool affine_uses(const Affine *a, int first, int end) {
    for (int l = first; l < end; l++)
        if (a->coeff[l]) return true;
    return false;
}

Affine affine_constant(int64_t base) {
    return (Affine){.base = base};
}

Affine affine_loop(int loop) {
    Affine a = {0};
    a.coeff[loop] = 1;
    return a;
}

/* Modulo 2^64: a place outside of an array with large strides, which a guard keeps from being used, may
 * overflow. */
static int64_t add_times(int64_t to, int64_t a, int64_t times) {
    return (int64_t)((uint64_t)to + (uint64_t)a * (uint64_t)times);
}

void affine_add(Affine *to, const Affine *a, int64_t times) {
    to->base = add_times(to->base, a->base, times);
    for (int l = 0; l < MAX_LOOPS; l++) to->coeff[l] = add_times(to->coeff[l], a->coeff[l], times);
}

Affine affine_place(const Affine *map, int rank, const int64_t *strides) {
    Affine offset = {0};
    for (int i = 0; i < rank; i++) affine_add(&offset, &map[i], strides[i]);
    return offset;
}

Affine affine_offset(const Affine *map, const Shape *shape) {
    int64_t strides[MAX_RANK];
    shape_strides(shape, strides);
    return affine_place(map, shape->rank, strides);
}

/* The axis that a step of `coeff` moves along: the coarsest whose stride divides it without leaving the axis.
 */
static int axis_of_step(int64_t coeff, const Shape *to, const int64_t *strides) {
    for (int i = 0; i < to->rank; i++)
        if (to->dims[i] > 1 && coeff % strides[i] == 0 && coeff / strides[i] < to->dims[i]) return i;
    return -1;
}

/* Each loop's step is given to one axis; then no axis may overflow into its neighbour for any loop values.
   Loops that run downward (negative steps) are counted from their last value, where all terms are positive.
 */
bool affine_unravel(const Affine *offset, const Shape *to, const int64_t *size, int nloops, Affine *map) {
    int64_t strides[MAX_RANK], lowest = offset->base;
    shape_strides(to, strides);
    for (int l = 0; l < nloops; l++)
        if (offset->coeff[l] < 0) lowest += offset->coeff[l] * (size[l] - 1);
    if (lowest < 0) return false;
    int64_t top[MAX_RANK] = {0}; /* the largest value that each axis reaches */
    for (int i = 0; i < to->rank; i++) {
        int64_t start = to->dims[i] > 1 ? lowest / strides[i] % to->dims[i] : 0;
        map[i] = affine_constant(start);
        top[i] = start;
    }
    for (int l = 0; l < nloops; l++) {
        int64_t step = offset->coeff[l], magnitude = step < 0 ? -step : step;
        if (!step || size[l] < 2) continue;
        int axis = axis_of_step(magnitude, to, strides);
        if (axis < 0) return false;
        int64_t move = magnitude / strides[axis];
        top[axis] += move * (size[l] - 1);
        map[axis].coeff[l] += step < 0 ? -move : move;
        if (step < 0) map[axis].base += move * (size[l] - 1);
    }
    for (int i = 0; i < to->rank; i++)
        if (top[i] > MAX(to->dims[i] - 1, 0)) return false;
    return true;
}
