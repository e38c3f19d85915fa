/* object_header.c — see object_header.h. The header is the object's documentation: what it computes, what
 * each argument is, and what a run returns. */
#include "object_header.h"
#include "files.h"
#include "model.h"
#include "object.h"
#include <ctype.h>
#include <string.h>

enum { NAME = 256 };

/* ---- Names ---- */

/* Words of C and C++, what their compilers and headers define, and what the header's functions call their
 * own. */
static const char reserved[] =
    " alignas alignof and and_eq args asm assert auto bitand bitor bool break case catch char class co_await "
    "co_return co_yield compl complex concept const const_cast consteval constexpr constinit continue "
    "decltype "
    "default delete do double dynamic_cast else enum errno explicit export extern false float for friend "
    "goto if "
    "imaginary inline int linux long mutable namespace new noexcept noreturn not not_eq nullptr offsetof "
    "operator "
    "or or_eq outs private protected public register reinterpret_cast requires restrict return short signed "
    "sizeof static static_assert static_cast states status stderr stdin stdout struct switch template this "
    "thread_local throw true try typedef typeid typename typeof union unix unsigned using va_arg va_end "
    "va_list "
    "va_start virtual void volatile while workspace xor xor_eq ";

bool is_c_identifier(const char *s) {
    if (!isalpha((unsigned char)*s) && *s != '_') return false;
    for (const char *c = s; *c; c++)
        if (!isalnum((unsigned char)*c) && *c != '_') return false;
    return strlen(s) < 100;
}

static bool is_reserved(const char *name) {
    char word[NAME + 2];
    snprintf(word, sizeof word, " %s ", name);
    return strstr(reserved, word) != NULL;
}

/* Names without a small letter are macros in many headers, those on _t types. */
static bool looks_defined(const char *name) {
    size_t n = strlen(name), small = 0;
    for (const char *c = name; *c; c++) small += islower((unsigned char)*c) != 0;
    return !small || name[0] == '_' || (n > 2 && !strcmp(name + n - 2, "_t"));
}

/* grad.d becomes grad_d; a name that may mean something else already gets an underscore. */
static void identifier(const char *prefix, const char *name, char out[NAME]) {
    size_t n = 0, own = strlen(prefix);
    for (; name[n] && n < NAME - 2; n++) out[n] = isalnum((unsigned char)name[n]) ? name[n] : '_';
    out[n] = 0;
    bool is_own = !strncmp(out, prefix, own) && out[own] == '_';
    if (is_reserved(out) || looks_defined(out) || is_own) memcpy(out + n, "_", 2);
}

static void upper(const char *name, char out[NAME]) {
    size_t n = 0;
    for (; name[n] && n < NAME - 1; n++) out[n] = (char)toupper((unsigned char)name[n]);
    out[n] = 0;
}

void object_constant_name(const char *prefix, const char *param, char name[NAME]) {
    char own[NAME];
    identifier(prefix, param, own);
    snprintf(name, NAME, "%s_initial_%.100s", prefix, own);
}

/* ---- Types ---- */

static const char *c_type(FraxDType dtype) {
    switch (dtype) {
    case FRAX_F64: return "double";
    case FRAX_F32: return "float";
    case FRAX_I32: return "int32_t";
    case FRAX_BOOL: return "uint8_t";
    default: return "uint16_t";
    }
}

static const char *type_remark(FraxDType dtype) {
    switch (dtype) {
    case FRAX_BF16: return ", the bits of bfloat16";
    case FRAX_F16: return ", the bits of IEEE half precision";
    case FRAX_BOOL: return ", 0 or 1";
    default: return "";
    }
}

static void shape(const FraxTensor *t, Text *out) {
    if (!t->rank) text_printf(out, "[1]");
    for (int i = 0; i < t->rank; i++) text_printf(out, "[%lld]", (long long)t->dims[i]);
}

/* ---- The arguments, in the order of args or outs ---- */

typedef struct Argument {
    FraxRole role;
    size_t i; /* in the signature */
    const char *name;
    FraxTensor type;
    char c_name[NAME];
} Argument;

typedef struct Arguments {
    Argument *items;
    size_t count, nargs; /* the first nargs are read, the others written */
} Arguments;

static bool is_taken(const Arguments *list, const char *name) {
    for (size_t i = 0; i < list->count; i++)
        if (!strcmp(list->items[i].c_name, name)) return true;
    return false;
}

static bool list_arguments(const ObjectHeader *h, Arguments *list) {
    static const FraxRole roles[] = {FRAX_INPUT, FRAX_PARAM, FRAX_OUTPUT};
    size_t n = 0;
    for (size_t r = 0; r < COUNT(roles); r++) n += frax_executable_count(h->exe, roles[r]);
    *list = (Arguments){.items = mem_calloc(MAX(n, 1), sizeof *list->items)};
    for (size_t r = 0; r < COUNT(roles) && list->items; r++) {
        for (size_t i = 0; i < frax_executable_count(h->exe, roles[r]); i++) {
            const char *name = frax_executable_name(h->exe, roles[r], i);
            Argument a = {.role = roles[r], .i = i, .name = name};
            a.type = frax_executable_type(h->exe, roles[r], i);
            identifier(h->prefix, name, a.c_name);
            if (roles[r] == FRAX_OUTPUT && is_taken(list, a.c_name)) {
                char again[NAME];
                snprintf(again, sizeof again, "new_%.200s", a.c_name);
                memcpy(a.c_name, again, sizeof again);
            }
            while (is_taken(list, a.c_name) && strlen(a.c_name) < NAME - 2) strcat(a.c_name, "_");
            list->items[list->count++] = a;
        }
        if (roles[r] == FRAX_PARAM) list->nargs = list->count;
    }
    return list->items != NULL;
}

/* Of a stream: the last params and outputs. */
static bool is_state(const ObjectHeader *h, const Argument *a) {
    size_t count = frax_executable_count(h->exe, a->role), states = frax_executable_states(h->exe);
    return a->role != FRAX_INPUT && a->i >= count - states;
}

static const char *meaning(const ObjectHeader *h, const Argument *a, char buffer[NAME]) {
    size_t own = frax_model_count(h->model, a->role);
    if (a->role == FRAX_INPUT) return "input";
    if (is_state(h, a))
        return a->role == FRAX_PARAM ? "state before this chunk; zeros before the first one"
                                     : "state after this chunk; may be written over the state before it";
    if (a->role == FRAX_PARAM) return "parameter";
    if (a->i < own) return "output";
    snprintf(buffer, NAME, "gradient of the loss in %s", a->name + (strncmp(a->name, "grad.", 5) ? 0 : 5));
    return buffer;
}

static void describe(const ObjectHeader *h, const Arguments *list, Text *out) {
    char buffer[NAME];
    for (size_t i = 0; i < list->count; i++) {
        const Argument *a = &list->items[i];
        bool is_arg = i < list->nargs;
        text_printf(out, " *   %s[%zu]  %s %s", is_arg ? "args" : "outs", is_arg ? i : i - list->nargs,
                    c_type(a->type.dtype), a->c_name);
        shape(&a->type, out);
        text_printf(out, "%s — %s\n", type_remark(a->type.dtype), meaning(h, a, buffer));
    }
}

/* What frax.h says of streams. */
static void describe_stream(const ObjectHeader *h, const Arguments *list, Text *out) {
    for (size_t i = list->nargs; i < list->count; i++) {
        const Argument *a = &list->items[i];
        FraxStream stream = frax_executable_stream(h->exe, FRAX_OUTPUT, a->i);
        if (is_state(h, a)) continue;
        if (stream.axis < 0)
            text_printf(out, " * %s is complete after the run that holds the last sample it needs.\n",
                        a->c_name);
        else if (stream.skip)
            text_printf(
                out, " * The first %lld elements of %s along axis %d, over all runs, are not part of it.\n",
                (long long)stream.skip, a->c_name, stream.axis);
    }
    text_printf(out,
                " * %s is the length of the whole signal: what a mean divides by, and how far the memory of "
                "a sum of\n"
                " * exponentials reaches. Results are exact for so many samples.\n",
                h->stream);
}

/* ---- The text ---- */

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
    describe(h, list, out);
    if (h->stream)
        text_printf(
            out,
            " *\n * A run takes %lld samples along %s; runs one after the other filter a signal of any "
            "length, each given\n * the states that the one before it wrote.\n",
            (long long)h->chunk, h->stream);
    if (h->stream) describe_stream(h, list, out);
    text_printf(out, " */\n");
}

/* The header's own constants go before sizes of the same name. */
static const char *own_constant(const char *size) {
    static const char *const own[] = {"CHUNK", "WORKSPACE_BYTES", "OK", "NULL", "MISALIGNED", "OUT_OF_RANGE"};
    for (size_t i = 0; i < COUNT(own); i++)
        if (!strcmp(own[i], size)) return "_SIZE";
    return "";
}

static void size_constants(const ObjectHeader *h, const char *big, Text *out) {
    for (size_t i = 0; i < model_size_count(h->model); i++) {
        const char *name = model_size_name(h->model, i);
        text_printf(out, "#define %s_%s%s %lld\n", big, name, own_constant(name), (long long)h->sizes[i]);
    }
    if (h->stream) text_printf(out, "#define %s_CHUNK %lld\n", big, (long long)h->chunk);
    text_printf(out, "#define %s_WORKSPACE_BYTES %zu\n", big, h->code->workspace_bytes);
}

/* Text within a string literal. */
static void quoted(const char *s, Text *out) {
    for (; *s; s++)
        if (*s == '"' || *s == '\\')
            text_printf(out, "\\%c", *s);
        else if (*s != '\n')
            text_append(out, s, 1);
}

static void statuses(const ObjectHeader *h, const char *big, Text *out) {
    const Graph *g = h->code->graph;
    text_printf(
        out,
        "\n/* What a run returns. */\nenum {\n    %s_OK = %d,\n    %s_NULL = %d, /* a pointer is NULL */\n"
        "    %s_MISALIGNED = %d, /* a buffer is not aligned to its elements, or the workspace to 64 "
        "bytes */\n",
        big, OBJECT_OK, big, OBJECT_NULL, big, OBJECT_MISALIGNED);
    if (g->nchecks)
        text_printf(
            out,
            "    %s_OUT_OF_RANGE = %d, /* and above: which value, see %s_status_string; outputs are not "
            "defined */\n",
            big, OBJECT_FIRST_CHECK, h->prefix);
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
    for (size_t i = 0; i < g->nchecks; i++) {
        const Attrs *at = graph_node(g, g->checks[i])->attrs;
        text_printf(out, "    case %d: return \"", OBJECT_FIRST_CHECK + (int)i);
        quoted(at->name, out);
        text_printf(out, " is out of its range: expected ");
        quoted(at->expected, out);
        text_printf(out, "\";\n");
    }
    text_printf(out, "    default: return \"unknown status\";\n    }\n}\n");
}

static void initial_values(const ObjectHeader *h, Text *out) {
    if (!h->has_params || !frax_model_count(h->model, FRAX_PARAM)) return;
    text_printf(out, "\n/* The initial parameters, aligned to 64 bytes. */\n");
    for (size_t i = 0; i < frax_model_count(h->model, FRAX_PARAM); i++) {
        char name[NAME];
        FraxTensor type = frax_executable_type(h->exe, FRAX_PARAM, i);
        object_constant_name(h->prefix, frax_executable_name(h->exe, FRAX_PARAM, i), name);
        text_printf(out, "extern const %s %s[%lld];\n", c_type(type.dtype), name,
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
        if (!states && is_state(h, a)) continue;
        text_printf(out, "%s%s *%s,\n        ", i < list->nargs ? "const " : "", c_type(a->type.dtype),
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
        text_printf(out, "    %s %s[%lld];\n", c_type(list->items[i].type.dtype), list->items[i].c_name,
                    (long long)MAX(tensor_count(&list->items[i].type), 1));
    text_printf(out, "} %s_states;\n\n/* The next chunk. */\nstatic inline int %s_next(\n        ", h->prefix,
                h->prefix);
    parameter_list(h, list, false, out);
    text_printf(out, "%s_states *states, void *workspace) {\n    return %s_call(", h->prefix, h->prefix);
    for (size_t i = 0, nth = 0; i < list->count; i++) {
        if (i == list->nargs) nth = 0;
        if (is_state(h, &list->items[i]))
            text_printf(out, "states->%s, ", list->items[first + nth++].c_name);
        else
            text_printf(out, "%s, ", list->items[i].c_name);
    }
    text_printf(out, "workspace);\n}\n");
}

void object_header_text(const ObjectHeader *h, Text *out) {
    Arguments list;
    char big[NAME];
    upper(h->prefix, big);
    if (!list_arguments(h, &list)) {
        out->failed = true;
        return;
    }
    head(h, &list, out);
    text_printf(
        out, "#ifndef FRAX_OBJECT_%s\n#define FRAX_OBJECT_%s\n\n#include <stddef.h>\n#include <stdint.h>\n\n",
        big, big);
    size_constants(h, big, out);
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
