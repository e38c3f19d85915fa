/* checks.c — see checks.h. */
#include "checks.h"
#include "half.h"

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

FraxStatus checks_run(const Graph *g, const Checks *checks, Moment moment, double passed, CheckedData *data,
                      const void *context, FraxError *err) {
    for (const Check *check = checks->items, *end = check + checks->count; check < end; check++) {
        if (check->moment != moment) continue;
        FraxDType dtype = graph_type(g, check->value)->dtype;
        const void *elements = data(context, check);
        int64_t at = guard_find(check->guard, dtype, elements, check->size);
        if (at < check->size)
            return guard_test(g, check->guard, element_get(elements, dtype, at), at, passed, err);
    }
    return FRAX_OK;
}
