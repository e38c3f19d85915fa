/* moving.c — see moving.h. */
#include "moving.h"
#include "half.h"
#include <float.h>
#include <math.h>

static const Type *moving_type(const Moving *m, const Graph *g, size_t i) {
    return graph_type(g, g->inputs[m->inputs[i]]);
}

static size_t entries(const Moving *m, const Graph *g, size_t i) {
    return (size_t)shape_size(&moving_type(m, g, i)->shape);
}

FraxStatus moving_note(Moving *m, const Graph *g, const Value *wrt, size_t n, FraxError *err) {
    m->inputs = mem_calloc(MAX(n, 1), sizeof *m->inputs);
    if (!m->inputs) return fail_memory(err, "the trainer");
    m->n = n;
    for (size_t i = 0; i < n; i++)
        while (g->inputs[m->inputs[i]] != wrt[i]) m->inputs[i]++;
    return FRAX_OK;
}

void moving_free(Moving *m) {
    mem_free(m->inputs);
    *m = (Moving){0};
}

size_t moving_size(const Moving *m, const Graph *g) {
    size_t n = 0;
    for (size_t i = 0; i < m->n; i++) n += entries(m, g, i);
    return n;
}

void moving_scatter(const Moving *m, const Graph *g, const double *x, const void *const *inputs) {
    for (size_t i = 0; i < m->n; i++)
        for (size_t j = 0; j < entries(m, g, i); j++)
            element_set((void *)inputs[m->inputs[i]], moving_type(m, g, i)->dtype, (int64_t)j, *x++);
}

void moving_gather(const Moving *m, const Graph *g, const void *const *buffers, double *x) {
    for (size_t i = 0; i < m->n; i++)
        for (size_t j = 0; j < entries(m, g, i); j++)
            *x++ = element_get(buffers[i], moving_type(m, g, i)->dtype, (int64_t)j);
}

const char *moving_name(const Moving *m, const Graph *g, size_t index) {
    size_t i = 0;
    for (; i + 1 < m->n && index >= entries(m, g, i); i++) index -= entries(m, g, i);
    return graph_node(g, g->inputs[m->inputs[i]])->attrs->name;
}

double moving_epsilon(const Moving *m, const Graph *g) {
    static const double epsilons[] = {
        [FRAX_F64] = DBL_EPSILON, [FRAX_F32] = FLT_EPSILON, [FRAX_BF16] = 0x1p-7, [FRAX_F16] = 0x1p-10};
    double coarsest = epsilons[graph_type(g, g->outputs[0].value)->dtype];
    for (size_t i = 0; i < m->n; i++) coarsest = fmax(coarsest, epsilons[moving_type(m, g, i)->dtype]);
    return coarsest;
}
