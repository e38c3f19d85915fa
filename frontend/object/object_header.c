/* object_header.c — see object_header.h. The header is the object's documentation: what it computes, what
 * each argument is, and what a run returns. */
#include "object_header.h"
#include "object_arguments.h"
#include "files.h"
#include "model.h"
#include "object.h"
#include <string.h>

/* ---- The text ---- */

static const char own_constants[] = " CHUNK WORKSPACE_BYTES OK NULL MISALIGNED OUT_OF_RANGE ";

static void head(const ObjectHeader *h, const Arguments *list, Text *out) {
    const ObjectCode *code = h->code;
    text_printf(
        out,
        "/* %s.h — model %s, compiled ahead of time by frax %s for %s (%s).\n *\n"
        " * The object needs libc and libm (with glibc, its vector part libmvec)%s. It holds no variables "
        "and\n"
        " * allocates nothing: any number of threads may run it at once, each with a workspace of its own.\n"
        " *\n * Arrays are dense and row-major, aligned to their elements; outputs overlap nothing%s.\n *\n",
        h->prefix, frax_model_name(h->model), FRAX_VERSION, code->triple, code->cpu,
        h->threads > 1 ? ", and an OpenMP runtime (link with -fopenmp)" : "",
        frax_executable_states(h->exe) ? " but the states that they replace" : "");
    object_describe(h, list, out);
}

static void statuses(const ObjectHeader *h, const char *big, Text *out) {
    const Graph *g = h->code->graph;
    text_printf(
        out,
        "\n/* What a run returns. */\nenum {\n    %s_OK = %d,\n    %s_NULL = %d, /* a pointer is NULL */\n"
        "    %s_MISALIGNED = %d, /* a buffer is not aligned to its elements, or the workspace to 64 "
        "bytes */\n",
        big, OBJECT_OK, big, OBJECT_NULL, big, OBJECT_MISALIGNED);
    object_check_constant(h, big, g, out);
    text_printf(out,
                "};\n\nstatic inline const char *%s_status_string(int status) {\n    switch (status) {\n",
                h->prefix);
    text_printf(out, "    case %s_OK: return \"done\";\n    case %s_NULL: return \"a pointer is NULL\";\n",
                big, big);
    text_printf(
        out,
        "    case %s_MISALIGNED: return \"a buffer is not aligned to its elements, or the workspace to 64 "
        "bytes\";\n",
        big);
    object_check_statuses(g, out);
    text_printf(out, "    default: return \"unknown status\";\n    }\n}\n");
}

static void initial_values(const ObjectHeader *h, Text *out) {
    if (!h->has_params || !frax_model_count(h->model, FRAX_PARAM)) return;
    text_printf(out, "\n/* The initial parameters, aligned to 64 bytes. */\n");
    for (size_t i = 0; i < frax_model_count(h->model, FRAX_PARAM); i++) {
        char name[NAME];
        FraxTensor type = frax_executable_type(h->exe, FRAX_PARAM, i);
        object_constant_name(h->prefix, frax_executable_name(h->exe, FRAX_PARAM, i), name);
        text_printf(out, "extern const %s %s[%lld];\n", object_c_type(type.dtype), name,
                    (long long)MAX(tensor_count(&type), 1));
    }
}

static void list_of(const Arguments *list, size_t first, size_t end, const char *type, const char *name,
                    Text *out) {
    text_printf(out, "    %s %s[] = {", type, name);
    if (first == end) text_printf(out, "NULL");
    for (size_t i = first; i < end; i++)
        text_printf(out, "%s%s", i > first ? ", " : "", list->items[i].c_name);
    text_printf(out, "};\n");
}

/* Declared parameters; those of states, or not. */
static void parameter_list(const ObjectHeader *h, const Arguments *list, bool states, Text *out) {
    for (size_t i = 0; i < list->count; i++) {
        const Argument *a = &list->items[i];
        if (!states && object_is_state(h, a)) continue;
        text_printf(out, "%s%s *%s,\n        ", i < list->nargs ? "const " : "", object_c_type(a->type.dtype),
                    a->c_name);
    }
}

static void wrapper(const ObjectHeader *h, const Arguments *list, Text *out) {
    text_printf(out, "\n/* The same with named arguments. */\nstatic inline int %s_call(\n        ",
                h->prefix);
    parameter_list(h, list, true, out);
    text_printf(out, "void *workspace) {\n");
    list_of(list, 0, list->nargs, "const void *const", "args", out);
    list_of(list, list->nargs, list->count, "void *const", "outs", out);
    text_printf(out, "    return %s_run(args, outs, workspace);\n}\n", h->prefix);
}

/* The states as one structure, and a call that replaces them. */
static void stream_wrapper(const ObjectHeader *h, const Arguments *list, Text *out) {
    size_t first = list->nargs - frax_executable_states(h->exe);
    if (first == list->nargs) return;
    text_printf(out,
                "\n/* What is remembered of the past; all zeros before the first chunk. */\n"
                "typedef struct %s_states {\n",
                h->prefix);
    for (size_t i = first; i < list->nargs; i++)
        text_printf(out, "    %s %s[%lld];\n", object_c_type(list->items[i].type.dtype),
                    list->items[i].c_name, (long long)MAX(tensor_count(&list->items[i].type), 1));
    text_printf(out, "} %s_states;\n\n/* The next chunk. */\nstatic inline int %s_next(\n        ", h->prefix,
                h->prefix);
    parameter_list(h, list, false, out);
    text_printf(out, "%s_states *states, void *workspace) {\n    return %s_call(", h->prefix, h->prefix);
    for (size_t i = 0, nth = 0; i < list->count; i++) {
        if (i == list->nargs) nth = 0;
        if (object_is_state(h, &list->items[i]))
            text_printf(out, "states->%s, ", list->items[first + nth++].c_name);
        else
            text_printf(out, "%s, ", list->items[i].c_name);
    }
    text_printf(out, "workspace);\n}\n");
}

void object_header_text(const ObjectHeader *h, Text *out) {
    Arguments list;
    char big[NAME];
    object_upper(h->prefix, big);
    if (!object_arguments(h, &list)) {
        out->failed = true;
        return;
    }
    head(h, &list, out);
    text_printf(
        out, "#ifndef FRAX_OBJECT_%s\n#define FRAX_OBJECT_%s\n\n#include <stddef.h>\n#include <stdint.h>\n\n",
        big, big);
    object_size_constants(h, big, own_constants, out);
    text_printf(out, "#define %s_WORKSPACE_BYTES %zu\n", big, h->code->workspace_bytes);
    statuses(h, big, out);
    text_printf(out, "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
    text_printf(out,
                "/* Bytes of the workspace of a run; it is to be aligned to 64 bytes, and may be NULL if "
                "they are 0. */\n"
                "size_t %s_workspace_bytes(void);\n\n",
                h->prefix);
    text_printf(out,
                "/* Runs once; a pure function of args. Returns 0 or another status. */\n"
                "int %s_run(const void *const args[], void *const outs[], void *workspace);\n",
                h->prefix);
    initial_values(h, out);
    wrapper(h, &list, out);
    stream_wrapper(h, &list, out);
    text_printf(out, "\n#ifdef __cplusplus\n}\n#endif\n#endif\n");
    mem_free(list.items);
}
