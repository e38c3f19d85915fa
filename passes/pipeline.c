/* pipeline.c — the passes in the order they run. Each is checked by the verifier before the next one starts.
 */
#include "passes.h"
#include "source.h"
#include <string.h>

const PassInfo pass_table[] = {
#define X(name, summary) {#name, summary, pass_##name},
    PASSES(X)
#undef X
};

const size_t pass_count = COUNT(pass_table);

/* The number of passes to run, or 0 if no pass is called `until`. */
static size_t passes_until(const char *until) {
    if (!until) return pass_count;
    for (size_t i = 0; i < pass_count; i++)
        if (!strcmp(pass_table[i].name, until)) return i + 1;
    return 0;
}

static FraxStatus unknown_pass(const char *name, FraxError *err) {
    const char *names[COUNT(pass_table)];
    for (size_t i = 0; i < pass_count; i++) names[i] = pass_table[i].name;
    const char *near = nearest_name(name, names, pass_count);
    if (near) return fail(err, FRAX_USAGE, "there is no pass '%s'; did you mean '%s'?", name, near);
    return fail(err, FRAX_USAGE, "there is no pass '%s'", name);
}

static FraxStatus run_pass(const PassInfo *pass, Graph **graph, FraxError *err) {
    FraxError inner = {0};
    Graph *next = pass->run(*graph, &inner);
    if (!next && inner.line > 0 && inner.status != FRAX_MEMORY) /* the model's fault, found only now */
        locate_error(&inner, &(Source){.file = (*graph)->file}, (Loc){inner.line, inner.column});
    graph_destroy(*graph);
    *graph = next;
    if (!next) {
        if (err) *err = inner;
        return inner.status;
    }
    FraxStatus status = graph_verify(next, &inner);
    if (status == FRAX_MEMORY) return fail_memory(err, "verifying a graph");
    if (status) /* a fault of ours, not of the model */
        return fail(err, FRAX_INTERNAL, "after the pass %s: %s", pass->name, inner.message);
    return FRAX_OK;
}

FraxStatus run_passes_watched(Graph **graph, const char *until, const Watch *watch, FraxError *err) {
    size_t n = passes_until(until);
    FraxStatus status = n ? FRAX_OK : unknown_pass(until, err);
    for (size_t i = 0; i < n && !status; i++) {
        status = watch_stage(watch, pass_table[i].name, (int64_t)i, (int64_t)n, err);
        if (!status) status = run_pass(&pass_table[i], graph, err);
    }
    if (!status) return FRAX_OK;
    graph_destroy(*graph);
    *graph = NULL;
    return status;
}

FraxStatus run_passes(Graph **graph, const char *until, FraxError *err) {
    return run_passes_watched(graph, until, NULL, err);
}
