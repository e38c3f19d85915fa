/* public_run.h — models given as text, compiled and run through frax.h alone, as a host program does it.
 *
 * Arrays come and go as doubles and are converted to the dtypes of the signature. Everything is an input of
 * the model, in the order of the text; sizes are numbers in the text.
 */
#ifndef FRAX_TESTS_PUBLIC_RUN_H
#define FRAX_TESTS_PUBLIC_RUN_H

#include "base.h"
#include "half.h"
#include <frax.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

enum { MOST_ARRAYS = 24 };

/* The results, in the order of the executable's outputs. */
typedef struct Results {
    size_t count;
    double *data[MOST_ARRAYS];
    int64_t size[MOST_ARRAYS];
} Results;

typedef struct RunOptions {
    FraxTarget target;
    const char *wrt[4]; /* names of inputs: adds the gradient of the output `loss` in each; NULL ends */
} RunOptions;

static inline int64_t tensor_size(const FraxTensor *t) {
    int64_t n = 1;
    for (int i = 0; i < t->rank; i++) n *= t->dims[i];
    return n;
}

static inline void *new_array(const FraxTensor *t, const double *values) {
    int64_t n = tensor_size(t);
    void *data = malloc((size_t)n * frax_dtype_size(t->dtype) + 1);
    assert_non_null(data);
    for (int64_t i = 0; values && i < n; i++) element_set(data, t->dtype, i, values[i]);
    return data;
}

static inline double *as_doubles(const FraxTensor *t, const void *data) {
    int64_t n = tensor_size(t);
    double *values = malloc((size_t)n * sizeof *values + 1);
    assert_non_null(values);
    for (int64_t i = 0; i < n; i++) values[i] = element_get(data, t->dtype, i);
    return values;
}

static inline FraxStatus run_executable(const FraxExecutable *exe, const double *const *inputs, Results *out,
                                        FraxError *err) {
    void *in[MOST_ARRAYS], *raw[MOST_ARRAYS];
    size_t n = frax_executable_count(exe, FRAX_INPUT);
    out->count = frax_executable_count(exe, FRAX_OUTPUT);
    assert_true(n <= MOST_ARRAYS && out->count <= MOST_ARRAYS);
    for (size_t i = 0; i < n; i++) {
        FraxTensor type = frax_executable_type(exe, FRAX_INPUT, i);
        in[i] = new_array(&type, inputs[i]);
    }
    for (size_t i = 0; i < out->count; i++) {
        FraxTensor type = frax_executable_type(exe, FRAX_OUTPUT, i);
        raw[i] = new_array(&type, NULL);
    }
    FraxStatus status = frax_run(exe, (const void *const *)in, NULL, raw, err);
    for (size_t i = 0; i < out->count; i++) {
        FraxTensor type = frax_executable_type(exe, FRAX_OUTPUT, i);
        out->size[i] = tensor_size(&type);
        out->data[i] = status ? NULL : as_doubles(&type, raw[i]);
        free(raw[i]);
    }
    for (size_t i = 0; i < n; i++) free(in[i]);
    return status;
}

static inline FraxStatus try_compile(const char *text, const RunOptions *options, FraxExecutable **exe,
                                     FraxError *err) {
    FraxModel *model;
    FraxOptions o = frax_default_options();
    o.target = options->target;
    o.no_cache = 1;
    o.threads = 1;
    o.wrt = options->wrt;
    while (o.nwrt < 4 && options->wrt[o.nwrt]) o.nwrt++;
    if (o.nwrt) o.mode = FRAX_REVERSE;
    *exe = NULL;
    FraxStatus status = frax_model_parse(text, "test.frax", NULL, &model, err);
    if (!status) status = frax_compile(model, &o, exe, err);
    frax_model_destroy(model);
    return status;
}

/* Compiles and runs; after a failure there are no results. */
static inline FraxStatus try_model(const char *text, const RunOptions *options, const double *const *inputs,
                                   Results *out, FraxError *err) {
    FraxExecutable *exe;
    FraxStatus status = try_compile(text, options, &exe, err);
    if (!status) status = run_executable(exe, inputs, out, err);
    if (status) out->count = 0;
    frax_executable_destroy(exe);
    return status;
}

/* The same where nothing may fail. */
static inline FraxExecutable *compile_model(const char *text, const RunOptions *options) {
    FraxExecutable *exe;
    FraxError err;
    if (try_compile(text, options, &exe, &err)) fail_msg("%s\n%s", err.message, text);
    return exe;
}

static inline Results run_model(const char *text, const RunOptions *options, const double *const *inputs) {
    Results out;
    FraxError err;
    if (try_model(text, options, inputs, &out, &err)) fail_msg("%s\n%s", err.message, text);
    return out;
}

static inline void free_results(Results *r) {
    for (size_t i = 0; i < r->count; i++) free(r->data[i]);
}

static inline const char *target_name(FraxTarget target) {
    return (const char *[]){"cpu", "eager", "reference"}[target];
}

#endif
