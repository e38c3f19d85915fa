/* layouts.c — options.layouts: which arrays of the caller are not dense, by name, and what the executable was
 * compiled for.
 *
 * The graph keeps strides in elements (ir/strides.c); here they are in bytes, as in a FraxView.
 */
#include "api.h"
#include <string.h>

static const char *const words[] = {"input", "param", "output"};

static const char *value_name(const FraxExecutable *exe, const Graph *g, FraxRole role, size_t i) {
    if (role == FRAX_OUTPUT) return g->outputs[i].name;
    return graph_node(g, graph_value(exe, g, role, i))->attrs->name;
}

/* Where the role has this name; how many it has if it lacks it. */
static size_t find_name(const FraxExecutable *exe, const Graph *g, FraxRole role, const char *name) {
    size_t i = 0;
    while (i < exe->counts[role] && strcmp(value_name(exe, g, role, i), name)) i++;
    return i;
}

static FraxStatus unknown_name(const FraxExecutable *exe, const Graph *g, const FraxLayout *layout,
                               FraxError *err) {
    size_t n = exe->counts[layout->role];
    for (FraxRole role = FRAX_INPUT; role <= FRAX_OUTPUT; role++)
        if (find_name(exe, g, role, layout->name) < exe->counts[role])
            return fail(err, FRAX_NAME, "options.layouts: model %s has no %s %s, but a%s %s of that name",
                        g->name, words[layout->role], layout->name, role == FRAX_PARAM ? "" : "n",
                        words[role]);
    const char **names = mem_calloc(MAX(n, 1), sizeof *names);
    if (!names) return fail_memory(err, "names");
    for (size_t i = 0; i < n; i++) names[i] = value_name(exe, g, layout->role, i);
    const char *near = nearest_name(layout->name, names, n);
    fail(err, FRAX_NAME, "options.layouts: model %s has no %s %s%s%s%s", g->name, words[layout->role],
         layout->name, near ? "; did you mean " : "", near ? near : "", near ? "?" : "");
    mem_free(names);
    return FRAX_NAME;
}

/* From bytes to elements. */
static FraxStatus whole_elements(const FraxLayout *layout, const Type *type, int64_t *strides,
                                 FraxError *err) {
    int64_t size = (int64_t)frax_dtype_size(type->dtype);
    for (int axis = 0; axis < type->shape.rank; axis++) {
        bool counts = type->shape.dims[axis] > 1;
        if (counts && layout->strides[axis] % size)
            return fail(
                err, FRAX_VALUE,
                "options.layouts: %s %s: %lld bytes along axis %d are not a multiple of the %lld of %s",
                words[layout->role], layout->name, (long long)layout->strides[axis], axis, (long long)size,
                frax_dtype_name(type->dtype));
        strides[axis] = counts ? layout->strides[axis] / size : 0;
    }
    return FRAX_OK;
}

static FraxStatus read_strides(const FraxLayout *layout, const Type *type, int64_t *strides, FraxError *err) {
    const char *word = words[layout->role], *name = layout->name;
    char text[176];
    if (layout->rank != type->shape.rank)
        return fail(err, FRAX_SHAPE, "options.layouts: %s %s: got strides of rank %d, expected those of %s",
                    word, name, layout->rank, type_text(type, text));
    FraxStatus status = whole_elements(layout, type, strides, err);
    if (status) return status;
    if (strides_reach_too_far(&type->shape, strides))
        return fail(err, FRAX_VALUE,
                    "options.layouts: %s %s: its strides reach beyond the address space; they count bytes",
                    word, name);
    if (layout->role == FRAX_OUTPUT && strides_overlap(&type->shape, strides, 1))
        return fail(
            err, FRAX_VALUE,
            "options.layouts: output %s: its elements may lie over each other; each axis of an output "
            "has to step over all that axes of smaller strides span",
            name);
    return FRAX_OK;
}

static FraxStatus apply_layout(const FraxExecutable *exe, Graph *g, const FraxLayout *layout,
                               FraxError *err) {
    int64_t strides[MAX_RANK];
    size_t i = find_name(exe, g, layout->role, layout->name);
    if (i == exe->counts[layout->role]) return unknown_name(exe, g, layout, err);
    Value v = graph_value(exe, g, layout->role, i);
    FraxStatus status = read_strides(layout, graph_type(g, v), strides, err);
    if (status) return status;
    if (layout->role == FRAX_OUTPUT)
        graph_set_output_strides(g, i, strides);
    else
        graph_set_strides(g, v, strides);
    return graph_status(g, err);
}

FraxStatus apply_layouts(const FraxExecutable *exe, Graph *g, const FraxOptions *options, FraxError *err) {
    FraxStatus status = FRAX_OK;
    for (size_t n = 0; n < options->nlayouts && !status; n++) {
        const FraxLayout *layout = &options->layouts[n];
        if ((unsigned)layout->role > FRAX_OUTPUT || !layout->name)
            return fail(err, FRAX_USAGE, "options.layouts[%zu] has no name, or role %d, which is no FraxRole",
                        n, (int)layout->role);
        for (size_t k = 0; k < n; k++)
            if (options->layouts[k].role == layout->role && !strcmp(options->layouts[k].name, layout->name))
                return fail(err, FRAX_NAME, "options.layouts: %s %s is given twice", words[layout->role],
                            layout->name);
        status = apply_layout(exe, g, layout, err);
    }
    return status;
}

const int64_t *compiled_strides(const FraxExecutable *exe, FraxRole role, size_t i) {
    const Graph *g = executable_graph(exe->exe);
    return role == FRAX_OUTPUT ? g->outputs[i].strides : graph_strides(g, graph_value(exe, g, role, i));
}

FraxView frax_executable_view(const FraxExecutable *exe, FraxRole role, size_t i) {
    const Type *type = signature_type(exe, role, i);
    if (!type) return (FraxView){.rank = -1};
    FraxView view = frax_view(frax_executable_type(exe, role, i));
    const int64_t *strides = compiled_strides(exe, role, i);
    for (int axis = 0; strides && axis < view.rank; axis++)
        if (view.dims[axis] > 1) view.strides[axis] = strides[axis] * (int64_t)frax_dtype_size(view.dtype);
    return view;
}
