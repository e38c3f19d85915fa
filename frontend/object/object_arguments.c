/* object_arguments.c — see object_arguments.h. */
#include "object_arguments.h"
#include "files.h"
#include "model.h"
#include "object.h"
#include <ctype.h>
#include <string.h>

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

void object_upper(const char *name, char out[NAME]) {
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

const char *object_c_type(FraxDType dtype) {
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

static bool is_taken(const Arguments *list, const char *name) {
    for (size_t i = 0; i < list->count; i++)
        if (!strcmp(list->items[i].c_name, name)) return true;
    return false;
}

bool object_arguments(const ObjectHeader *h, Arguments *list) {
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
bool object_is_state(const ObjectHeader *h, const Argument *a) {
    size_t count = frax_executable_count(h->exe, a->role), states = frax_executable_states(h->exe);
    return a->role != FRAX_INPUT && a->i >= count - states;
}

static const char *meaning(const ObjectHeader *h, const Argument *a, char buffer[NAME]) {
    size_t own = frax_model_count(h->model, a->role);
    if (a->role == FRAX_INPUT) return model_is_key(h->model, a->i) ? "key of random numbers" : "input";
    if (object_is_state(h, a))
        return a->role == FRAX_PARAM ? "state before this chunk; zeros before the first one"
                                     : "state after this chunk; may be written over the state before it";
    if (a->role == FRAX_PARAM) return "parameter";
    if (a->i < own) return "output";
    snprintf(buffer, NAME, "gradient of the loss in %s", a->name + (strncmp(a->name, "grad.", 5) ? 0 : 5));
    return buffer;
}

/* What frax.h says of streams. */
static void describe_stream(const ObjectHeader *h, const Arguments *list, Text *out) {
    text_printf(out,
                " *\n * A run takes %lld samples along %s; runs one after the other filter a signal of any "
                "length, each given\n * the states that the one before it wrote.\n",
                (long long)h->chunk, h->stream);
    for (size_t i = list->nargs; i < list->count; i++) {
        const Argument *a = &list->items[i];
        FraxStream stream = frax_executable_stream(h->exe, FRAX_OUTPUT, a->i);
        if (object_is_state(h, a)) continue;
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

void object_describe(const ObjectHeader *h, const Arguments *list, Text *out) {
    char buffer[NAME];
    for (size_t i = 0; i < list->count; i++) {
        const Argument *a = &list->items[i];
        bool is_arg = i < list->nargs;
        text_printf(out, " *   %s[%zu]  %s %s", is_arg ? "args" : "outs", is_arg ? i : i - list->nargs,
                    object_c_type(a->type.dtype), a->c_name);
        shape(&a->type, out);
        text_printf(out, "%s — %s\n", type_remark(a->type.dtype), meaning(h, a, buffer));
    }
    if (h->stream) describe_stream(h, list, out);
    text_printf(out, " */\n");
}

/* ---- Sizes ---- */

void object_size_constants(const ObjectHeader *h, const char *big, const char *own, Text *out) {
    for (size_t i = 0; i < model_size_count(h->model); i++) {
        const char *name = model_size_name(h->model, i);
        char word[NAME + 2];
        snprintf(word, sizeof word, " %s ", name);
        text_printf(out, "#define %s_%s%s %lld\n", big, name, strstr(own, word) ? "_SIZE" : "",
                    (long long)h->sizes[i]);
    }
    if (h->stream) text_printf(out, "#define %s_CHUNK %lld\n", big, (long long)h->chunk);
}

/* ---- Guarded values ---- */

/* Text within a string literal. */
static void quoted(const char *s, Text *out) {
    for (; *s; s++)
        if (*s == '"' || *s == '\\')
            text_printf(out, "\\%c", *s);
        else if (*s != '\n')
            text_append(out, s, 1);
}

void object_check_constant(const ObjectHeader *h, const char *big, const Graph *g, Text *out) {
    if (!g->nchecks) return;
    text_printf(out,
                "    %s_OUT_OF_RANGE = %d, /* and above: which value, see %s_status_string; outputs are not "
                "defined */\n",
                big, OBJECT_FIRST_CHECK, h->prefix);
}

void object_check_statuses(const Graph *g, Text *out) {
    for (size_t i = 0; i < g->nchecks; i++) {
        const Attrs *at = graph_node(g, g->checks[i])->attrs;
        int line = graph_node(g, g->checks[i])->loc.line;
        text_printf(out, "    case %d: return \"", OBJECT_FIRST_CHECK + (int)i);
        if (line) text_printf(out, "line %d: ", line);
        quoted(at->name, out);
        text_printf(out, " is out of its range: expected ");
        quoted(at->expected, out);
        text_printf(out, "\";\n");
    }
}
