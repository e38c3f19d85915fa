/* model_run.h — models given as text, run by the reference evaluator: for tests of the language. */
#ifndef FRAX_TESTS_MODEL_RUN_H
#define FRAX_TESTS_MODEL_RUN_H

#include "half.h"
#include "model.h"
#include <setjmp.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static inline FraxModel *parse_text(const char *text) {
    FraxModel *model = NULL;
    FraxError err;
    if (model_parse(text, strlen(text), "test.frax", NULL, &model, &err)) fail_msg("%s", err.message);
    return model;
}

static inline Graph *lower_text(const char *text, const int64_t *sizes) {
    FraxModel *model = parse_text(text);
    Graph *g = NULL;
    FraxError err;
    if (model_lower(model, sizes, &g, &err)) fail_msg("%s\n%s", err.message, text);
    if (graph_verify(g, &err)) fail_msg("%s\n%s", err.message, text);
    model_destroy(model);
    return g;
}

/* A tensor of this type, filled from doubles (NULL: zeros). Its data is freed by the caller. */
static inline FraxTensor make_tensor(const Type *type, const double *values) {
    FraxTensor t = {.dtype = type->dtype, .rank = type->shape.rank};
    size_t n = (size_t)shape_size(&type->shape);
    memcpy(t.dims, type->shape.dims, sizeof t.dims);
    t.data = calloc(n + 1, frax_dtype_size(t.dtype));
    assert_non_null(t.data);
    for (size_t i = 0; values && i < n; i++) element_set(t.data, t.dtype, (int64_t)i, values[i]);
    return t;
}

enum { MOST_VALUES = 32 };

/* Evaluates g on inputs given in its order; outputs[i].data is freed by the caller. */
static inline void run_graph(const Graph *g, const double *const *inputs, FraxTensor *outputs) {
    FraxTensor in[MOST_VALUES];
    FraxError err;
    assert_true(g->ninputs <= MOST_VALUES && g->noutputs <= MOST_VALUES);
    for (size_t i = 0; i < g->ninputs; i++) in[i] = make_tensor(graph_type(g, g->inputs[i]), inputs[i]);
    for (size_t i = 0; i < g->noutputs; i++)
        outputs[i] = make_tensor(graph_type(g, g->outputs[i].value), NULL);
    if (reference_run(g, in, outputs, &err)) fail_msg("%s", err.message);
    for (size_t i = 0; i < g->ninputs; i++) free(in[i].data);
}

static inline void free_outputs(FraxTensor *outputs, size_t n) {
    for (size_t i = 0; i < n; i++) free(outputs[i].data);
}

#endif
