/* object.c — what a call of an object that was compiled ahead of time costs, its kernel of 32 elements
 * included. The object is linked into this process as a linker would do it. */
#include "object_file.h"
#include "api.h"
#include "bench.h"
#include "jit.h"
#include <string.h>

enum { CALLS = 1000 }; /* in one sample: a call takes nanoseconds */

typedef int ObjectRun(const void *const args[], void *const outs[], void *workspace);

typedef struct Called {
    ObjectRun *run;
    float x[32], y[32];
    void *workspace;
} Called;

static void *no_symbol(const char *name) {
    (void)name;
    return NULL;
}

static FraxStatus call_often(void *context, FraxError *err) {
    Called *c = context;
    for (int i = 0; i < CALLS; i++)
        if (c->run((const void *[]){c->x}, (void *[]){c->y}, c->workspace))
            return fail(err, FRAX_INTERNAL, "the object refuses its arguments");
    return FRAX_OK;
}

static FraxStatus make_object(const FraxModel *model, ObjectCode *code, FraxError *err) {
    Sizes sizes = SIZES(B, 1, N, 32);
    FraxOptions options = options_for(&sizes, 1, FRAX_FORWARD);
    const ObjectOptions object = {.cpu = "native",
                                  .threads = 1,
                                  .prefix = "small",
                                  .order = (const size_t[]){0},
                                  .wanted = {[OBJECT_FILE] = true}};
    Graph *graph = NULL;
    FraxStatus status = model_graph(model, &options, &graph, NULL, err);
    return status ? status : object_create(graph, &object, code, err);
}

static FraxStatus time_object(Suite *s, const ObjectCode *code, Row *row) {
    JitCode *linked = NULL;
    Called called = {.workspace = mem_aligned(MAX(code->workspace_bytes, 1))};
    if (!called.workspace) return fail_memory(&s->err, "the workspace");
    FraxStatus status =
        jit_link(code->data[OBJECT_FILE], code->bytes[OBJECT_FILE], no_symbol, false, &linked, &s->err);
    void *run = status ? NULL : jit_function(linked, "small_run");
    if (!status && !run) status = fail(&s->err, FRAX_INTERNAL, "the object has no function small_run");
    memcpy(&called.run, &run, sizeof run);
    for (int i = 0; i < 32; i++) called.x[i] = (float)i;
    Contestant all[] = {{call_often, &called, 0}};
    if (!status) status = time_in_turn(all, 1, &s->settings, &row->repeat, &s->err);
    row->fused = all[0].seconds / CALLS;
    row->bars[0].value = 1e6 * row->fused;
    jit_destroy(linked);
    mem_free(called.workspace);
    return status;
}

FraxStatus run_object(Suite *s) {
    Row row = {
        .name = "call of an object, 1x32, kernel included", .threads = 1, .bars = {{BAR_MICROSECONDS, 0.1}}};
    FraxModel *model;
    ObjectCode code;
    if (!wanted(s, row.name)) return FRAX_OK;
    FraxStatus status = frax_model_load(MODELS ":small", &model, &s->err);
    if (status) return status;
    status = make_object(model, &code, &s->err);
    if (!status) {
        status = time_object(s, &code, &row);
        object_free(&code);
    }
    if (!status) status = add_row(s, &row);
    frax_model_destroy(model);
    return status;
}
