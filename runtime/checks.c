/* checks.c — see checks.h. */
#include "checks.h"
#include "half.h"
#include "kernel.h"
#include <string.h>

FraxStatus checks_list(const Graph *g, Checks *checks, FraxError *err) {
    *checks = (Checks){.offset = graph_offset_input(g)};
    checks->items = mem_calloc(MAX(g->nchecks, 1), sizeof *checks->items);
    if (!checks->items) return fail_memory(err, "listing checks");
    checks->count = g->nchecks;
    for (size_t i = 0; i < g->nchecks; i++) {
        Value v = graph_checked(g, i);
        const Node *node = graph_node(g, v);
        checks->items[i] = (Check){.moment = node->region == REGION_INPUT    ? BEFORE
                                             : node->region == REGION_STATIC ? AT_CREATION
                                                                             : AFTER,
                                   .value = v,
                                   .guard = graph_node(g, g->checks[i]),
                                   .strides = stored_strides(g, v),
                                   .size = shape_size(&node->type.shape)};
        checks->before |= checks->items[i].moment == BEFORE;
        checks->after |= checks->items[i].moment == AFTER;
    }
    return FRAX_OK;
}

void checks_free(Checks *checks) {
    mem_free(checks->items);
    *checks = (Checks){0};
}

/* Bytes from the first element of an array with strides to its i-th in row-major order. */
static int64_t element_place(const Type *type, const int64_t *strides, int64_t i) {
    int64_t place = 0;
    for (int axis = type->shape.rank - 1; axis >= 0; axis--) {
        place += strides[axis] * (i % type->shape.dims[axis]);
        i /= type->shape.dims[axis];
    }
    return place * (int64_t)frax_dtype_size(type->dtype);
}

/* The first element outside of the range, and its value; the array's elements are gathered a few at a time
   where they do not lie densely. */
static int64_t find_outside(const Graph *g, const Check *check, const char *data, double *value) {
    enum { FEW = 64 };
    const Type *type = graph_type(g, check->value);
    const size_t size = frax_dtype_size(type->dtype);
    int64_t at = 0;
    if (!check->strides) {
        at = guard_find(check->guard, type->dtype, data, check->size);
        if (at < check->size) *value = element_get(data, type->dtype, at);
        return at;
    }
    for (; at < check->size; at += FEW) {
        double room[FEW];
        char *few = (char *)room;
        int64_t n = MIN(FEW, check->size - at);
        for (int64_t i = 0; i < n; i++)
            memcpy(few + (size_t)i * size, data + element_place(type, check->strides, at + i), size);
        int64_t found = guard_find(check->guard, type->dtype, few, n);
        if (found == n) continue;
        *value = element_get(few, type->dtype, found);
        return at + found;
    }
    return check->size;
}

FraxStatus checks_run(const Graph *g, const Checks *checks, Moment moment, double passed, CheckedData *data,
                      const void *context, FraxError *err) {
    for (const Check *check = checks->items, *end = check + checks->count; check < end; check++) {
        if (check->moment != moment) continue;
        double value = 0;
        int64_t at = find_outside(g, check, data(context, check), &value);
        if (at < check->size) return guard_test(g, check->guard, value, at, passed, err);
    }
    return FRAX_OK;
}
