/* builder.c — models made call by call: frax_builder_*.
 *
 * Calls are kept as nodes. frax_builder_finish writes them down as a text of the language, one statement for
 * each call that something needs, and has it parsed; so a built model is in all respects a model that was
 * read, and its faults show the line in question. What cannot be a statement is written within others: sizes,
 * initial values, and whatever refers to the parameters of a function (w in w => w^2).
 */
#include "ast.h"
#include "handle.h"
#include <ctype.h>
#include <math.h>
#include <string.h>

enum { DEEPEST_INLINE = 150, LONGEST_STATEMENT = 1 << 20, MOST_PARAMETERS = 64, MOST_NODES = 1 << 26 };

typedef enum NodeKind {
    NODE_ATOM, /* a number or a name */
    NODE_CALL, /* of a function, by name */
    NODE_UNARY,
    NODE_BINARY,
    NODE_INDEX,
    NODE_TUPLE,
    NODE_RANGE,
    NODE_FUNCTION,
    NODE_ALIAS /* another name for its only argument */
} NodeKind;

typedef struct BuilderNode {
    NodeKind kind;
    const char *text;  /* of an atom; of a call what is called */
    const char *bound; /* the name given by let */
    FraxValue *args;
    const char **names;
    size_t nargs;
    uint64_t open; /* the parameters of functions that stand free in it */
    bool needed;   /* as a statement */
} BuilderNode;

typedef struct BuilderDecl {
    const char *name;
    FraxDType dtype;
    int rank;
    FraxValue dims[FRAX_MAX_RANK], initial; /* initial 0: an input */
    bool is_key;
} BuilderDecl;

struct FraxBuilder {
    HandleKind kind;
    Arena arena;
    const char *name;
    BuilderNode *nodes; /* FraxValue v is nodes[v - 1] */
    size_t count, capacity;
    BuilderDecl *decls;
    size_t ndecls, decl_capacity;
    const char **returns;
    size_t nreturns, return_capacity;
    const char *parameters[MOST_PARAMETERS]; /* of all functions, each name once */
    size_t nparameters;
    Text functions;
    FraxError fault; /* the first one */
};

/* ---- Faults and memory ---- */

static FraxValue builder_fail(FraxBuilder *b, FraxStatus status, const char *fmt, ...) PRINTF_LIKE(3, 4);
static FraxValue builder_fail(FraxBuilder *b, FraxStatus status, const char *fmt, ...) {
    if (b->fault.status) return 0;
    char text[768];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fail(&b->fault, status, "building model %s: %s", b->name, text);
    return 0;
}

static FraxValue builder_memory(FraxBuilder *b) {
    return builder_fail(b, FRAX_MEMORY, "out of memory");
}

static bool is_usable(const FraxBuilder *b) {
    return handle_is(b, HANDLE_BUILDER) && !b->fault.status;
}

static const char *copy_string(FraxBuilder *b, const char *s) {
    const char *copy = arena_strndup(&b->arena, s, strlen(s));
    if (!copy) builder_memory(b);
    return copy;
}

static FraxValue add_node(FraxBuilder *b, BuilderNode node) {
    if (b->fault.status) return 0;
    if (b->count >= MOST_NODES) return builder_fail(b, FRAX_VALUE, "more than %d calls", MOST_NODES);
    if (!mem_grow(&b->nodes, &b->capacity, b->count + 1, sizeof *b->nodes)) return builder_memory(b);
    b->nodes[b->count++] = node;
    return (FraxValue)b->count;
}

static BuilderNode *node_at(const FraxBuilder *b, FraxValue v) {
    return &b->nodes[v - 1];
}

/* ---- Names ---- */

static bool is_name(const char *s) {
    if (!s || !(isalpha((unsigned char)*s) || *s == '_')) return false;
    for (; *s; s++)
        if (!(isalnum((unsigned char)*s) || *s == '_') || (unsigned char)*s > 0x7e) return false;
    return true;
}

/* _1, _2, …: statements without a name of their own. */
static bool is_own_name(const char *s) {
    return *s == '_' && s[1] && strspn(s + 1, "0123456789") == strlen(s + 1);
}

/* A name that the caller gives to something. */
static bool check_new_name(FraxBuilder *b, const char *call, const char *name) {
    if (!name)
        builder_fail(b, FRAX_USAGE, "%s: name is NULL", call);
    else if (!is_name(name) || is_reserved(name))
        builder_fail(b, FRAX_NAME, "%s: '%s' is not a name of the language", call, name);
    else if (is_own_name(name))
        builder_fail(b, FRAX_NAME, "%s: names like '%s' are the builder's own", call, name);
    return !b->fault.status;
}

static bool check_value(FraxBuilder *b, const char *call, FraxValue value) {
    if (value >= 1 && (size_t)value <= b->count) return true;
    builder_fail(b, FRAX_USAGE, "%s: %d is not a value of this builder", call, (int)value);
    return false;
}

/* The bit of a function's parameter; 0 if no function has one of this name, or after a fault if `add`. */
static uint64_t parameter_bit(FraxBuilder *b, const char *name, bool add) {
    for (size_t i = 0; i < b->nparameters; i++)
        if (!strcmp(b->parameters[i], name)) return (uint64_t)1 << i;
    if (!add) return 0;
    if (b->nparameters == MOST_PARAMETERS) {
        builder_fail(b, FRAX_UNSUPPORTED, "the functions have more than %d names of parameters",
                     MOST_PARAMETERS);
        return 0;
    }
    b->parameters[b->nparameters++] = name;
    return (uint64_t)1 << (b->nparameters - 1);
}

/* ---- Building ---- */

FraxStatus frax_builder_create(const char *name, FraxBuilder **builder, FraxError *err) {
    if (!builder) return fail(err, FRAX_USAGE, "frax_builder_create: builder is NULL");
    *builder = NULL;
    if (!name) return fail(err, FRAX_NAME, "frax_builder_create: name is NULL");
    if (!is_name(name) || is_reserved(name))
        return fail(err, FRAX_NAME, "frax_builder_create: '%s' is not a name of the language", name);
    FraxBuilder *b = mem_calloc(1, sizeof *b);
    if (b) b->kind = HANDLE_BUILDER;
    if (b) b->name = arena_strndup(&b->arena, name, strlen(name));
    if (!b || !b->name) {
        frax_builder_destroy(b);
        return fail_memory(err, "making a builder");
    }
    *builder = b;
    return FRAX_OK;
}

void frax_builder_destroy(FraxBuilder *b) {
    if (!handle_is(b, HANDLE_BUILDER)) return;
    arena_free(&b->arena);
    mem_free(b->nodes);
    mem_free(b->decls);
    mem_free(b->returns);
    text_free(&b->functions);
    handle_free(b);
}

FraxValue frax_builder_number(FraxBuilder *b, double value) {
    char buffer[40];
    if (!is_usable(b)) return 0;
    if (!isfinite(value)) return builder_fail(b, FRAX_VALUE, "frax_builder_number: %g is not finite", value);
    if (value == 0 && signbit(value))
        strcpy(buffer, "-0.0");
    else if (value == floor(value) && fabs(value) <= 9007199254740992.0)
        snprintf(buffer, sizeof buffer, "%lld", (long long)value);
    else
        double_text(value, buffer);
    const char *text = copy_string(b, buffer);
    return add_node(b, (BuilderNode){.text = text});
}

FraxValue frax_builder_name(FraxBuilder *b, const char *name) {
    if (!is_usable(b)) return 0;
    bool constant = name && (!strcmp(name, "none") || !strcmp(name, "true") || !strcmp(name, "false"));
    if (!is_name(name) || (is_reserved(name) && !constant))
        return builder_fail(b, FRAX_NAME, "frax_builder_name: '%s' is not a name of the language",
                            name ? name : "(null)");
    const char *text = copy_string(b, name);
    return add_node(b, (BuilderNode){.text = text});
}

static FraxValue declare(FraxBuilder *b, const char *call, BuilderDecl decl, const FraxValue *dims) {
    if (!check_new_name(b, call, decl.name)) return 0;
    if ((unsigned)decl.dtype > FRAX_BOOL)
        return builder_fail(b, FRAX_USAGE, "%s: %s: dtype is %d, which is no FraxDType", call, decl.name,
                            (int)decl.dtype);
    if (decl.rank < 0 || decl.rank > FRAX_MAX_RANK || (decl.rank && !dims))
        return builder_fail(b, FRAX_USAGE, "%s: %s: rank is %d, expected 0 to %d and as many dims", call,
                            decl.name, decl.rank, FRAX_MAX_RANK);
    for (int i = 0; i < decl.rank; i++) {
        if (!check_value(b, call, dims[i])) return 0;
        decl.dims[i] = dims[i];
    }
    decl.name = copy_string(b, decl.name);
    if (!mem_grow(&b->decls, &b->decl_capacity, b->ndecls + 1, sizeof *b->decls)) return builder_memory(b);
    if (b->fault.status) return 0;
    b->decls[b->ndecls++] = decl;
    return add_node(b, (BuilderNode){.text = decl.name});
}

FraxValue frax_builder_input(FraxBuilder *b, const char *name, FraxDType dtype, int rank,
                             const FraxValue *dims) {
    if (!is_usable(b)) return 0;
    return declare(b, "frax_builder_input", (BuilderDecl){.name = name, .dtype = dtype, .rank = rank}, dims);
}

FraxValue frax_builder_key(FraxBuilder *b, const char *name) {
    if (!is_usable(b)) return 0;
    return declare(b, "frax_builder_key", (BuilderDecl){.name = name, .dtype = FRAX_I32, .is_key = true},
                   NULL);
}

FraxValue frax_builder_param(FraxBuilder *b, const char *name, FraxDType dtype, int rank,
                             const FraxValue *dims, FraxValue initial) {
    if (!is_usable(b) || !check_value(b, "frax_builder_param", initial)) return 0;
    BuilderDecl decl = {.name = name, .dtype = dtype, .rank = rank, .initial = initial};
    return declare(b, "frax_builder_param", decl, dims);
}

/* ---- Calls ---- */

/* What is called by a sign, with how many arguments. */
typedef struct Sign {
    const char *text;
    NodeKind kind;
    size_t least, most;
} Sign;

static const Sign signs[] = {
    {"+", NODE_BINARY, 2, 2},        {"-", NODE_BINARY, 2, 2},
    {"+", NODE_UNARY, 1, 1},         {"-", NODE_UNARY, 1, 1},
    {"*", NODE_BINARY, 2, 2},        {"/", NODE_BINARY, 2, 2},
    {"^", NODE_BINARY, 2, 2},        {"@", NODE_BINARY, 2, 2},
    {"<", NODE_BINARY, 2, 2},        {"<=", NODE_BINARY, 2, 2},
    {">", NODE_BINARY, 2, 2},        {">=", NODE_BINARY, 2, 2},
    {"==", NODE_BINARY, 2, 2},       {"!=", NODE_BINARY, 2, 2},
    {"and", NODE_BINARY, 2, 2},      {"or", NODE_BINARY, 2, 2},
    {"not", NODE_UNARY, 1, 1},       {"()", NODE_TUPLE, 0, SIZE_MAX},
    {"[]", NODE_INDEX, 2, SIZE_MAX}, {":", NODE_RANGE, 0, 3},
    {"...", NODE_ATOM, 0, 0},        {"=>", NODE_FUNCTION, 2, SIZE_MAX},
};

/* NODE_CALL for the name of a function. */
static bool find_kind(FraxBuilder *b, const char *what, size_t n, NodeKind *kind) {
    bool known = false;
    for (size_t i = 0; i < COUNT(signs); i++) {
        if (!what || strcmp(signs[i].text, what)) continue;
        known = true;
        *kind = signs[i].kind;
        if (n >= signs[i].least && n <= signs[i].most) return true;
    }
    *kind = NODE_CALL;
    if (known)
        builder_fail(b, FRAX_USAGE, "frax_builder_call: '%s' does not take %zu argument%s", what, n,
                     n == 1 ? "" : "s");
    else if (!is_name(what) || is_reserved(what))
        builder_fail(b, FRAX_NAME, "frax_builder_call: '%s' is neither a function nor an operator",
                     what ? what : "(null)");
    return !b->fault.status;
}

static bool check_args(FraxBuilder *b, const BuilderNode *node, const FraxValue *args,
                       const char *const *names) {
    const char *what = node->text;
    if (node->nargs && !args) builder_fail(b, FRAX_USAGE, "frax_builder_call: args of '%s' is NULL", what);
    for (size_t i = 0; i < node->nargs && !b->fault.status; i++) {
        if (node->kind == NODE_RANGE && args[i] == 0) continue;
        if (!check_value(b, "frax_builder_call", args[i])) return false;
        NodeKind kind = node_at(b, args[i])->kind;
        bool subscript = kind == NODE_RANGE || !strcmp(node_at(b, args[i])->text, "...");
        if (subscript && !(node->kind == NODE_INDEX && i > 0))
            builder_fail(b, FRAX_USAGE, "frax_builder_call: argument %zu of '%s' belongs into a subscript",
                         i + 1, what);
        if (!names || !names[i]) continue;
        if (node->kind != NODE_CALL || !is_name(names[i]) || is_reserved(names[i]))
            builder_fail(b, FRAX_USAGE, "frax_builder_call: '%s' takes no argument called '%s'", what,
                         names[i]);
    }
    return !b->fault.status;
}

/* The names before the value of a function; gives their bits. */
static uint64_t function_parameters(FraxBuilder *b, const BuilderNode *node) {
    uint64_t bits = 0;
    for (size_t i = 0; i + 1 < node->nargs && !b->fault.status; i++) {
        const BuilderNode *name = node_at(b, node->args[i]);
        if (name->kind != NODE_ATOM || !is_name(name->text))
            builder_fail(b, FRAX_USAGE, "frax_builder_call: argument %zu of '=>' is not a name", i + 1);
        else
            bits |= parameter_bit(b, name->text, true);
    }
    return bits;
}

static bool copy_args(FraxBuilder *b, BuilderNode *node, const FraxValue *args, const char *const *names) {
    size_t n = node->nargs;
    node->text = copy_string(b, node->text);
    node->args = arena_alloc(&b->arena, MAX(n, (size_t)1) * sizeof *node->args);
    node->names = arena_alloc(&b->arena, MAX(n, (size_t)1) * sizeof *node->names);
    if (!node->text || !node->args || !node->names) return builder_memory(b);
    for (size_t i = 0; i < n; i++) {
        node->args[i] = args[i];
        if (names && names[i]) node->names[i] = copy_string(b, names[i]);
    }
    return !b->fault.status;
}

FraxValue frax_builder_call(FraxBuilder *b, const char *what, size_t n, const FraxValue *args,
                            const char *const *names) {
    BuilderNode node = {.text = what, .nargs = n};
    if (!is_usable(b) || !find_kind(b, what, n, &node.kind)) return 0;
    if (!check_args(b, &node, args, names) || !copy_args(b, &node, args, names)) return 0;
    if (node.kind == NODE_FUNCTION) function_parameters(b, &node);
    return add_node(b, node);
}

FraxValue frax_builder_let(FraxBuilder *b, const char *name, FraxValue value) {
    if (!is_usable(b) || !check_new_name(b, "frax_builder_let", name) ||
        !check_value(b, "frax_builder_let", value))
        return 0;
    const char *text = copy_string(b, name);
    BuilderNode *node = node_at(b, value);
    if (b->fault.status) return 0;
    if (node->kind == NODE_RANGE || node->kind == NODE_FUNCTION)
        return builder_fail(b, FRAX_USAGE, "frax_builder_let: %s: a %s is no value by itself", name,
                            node->kind == NODE_RANGE ? "range" : "function");
    if (node->kind != NODE_ATOM && !node->bound) {
        node->bound = text;
        return value;
    }
    BuilderNode alias = {.kind = NODE_ALIAS, .text = "=", .nargs = 1, .bound = text};
    return copy_args(b, &alias, &value, NULL) ? add_node(b, alias) : 0;
}

void frax_builder_return(FraxBuilder *b, const char *name, FraxValue value) {
    if (!is_usable(b) || !check_value(b, "frax_builder_return", value)) return;
    const BuilderNode *node = node_at(b, value);
    const char *has = node->bound ? node->bound : node->kind == NODE_ATOM ? node->text : NULL;
    if (name && (!has || strcmp(has, name))) {
        value = frax_builder_let(b, name, value);
        if (value) has = node_at(b, value)->bound;
    } else if (!has) {
        builder_fail(b, FRAX_NAME, "frax_builder_return: outputs carry names, and this value has none");
    }
    if (b->fault.status) return;
    if (mem_grow(&b->returns, &b->return_capacity, b->nreturns + 1, sizeof *b->returns))
        b->returns[b->nreturns++] = has;
    else
        builder_memory(b);
}

void frax_builder_functions(FraxBuilder *b, const char *text) {
    if (!is_usable(b)) return;
    if (!text)
        builder_fail(b, FRAX_USAGE, "frax_builder_functions: text is NULL");
    else
        text_printf(&b->functions, "\n%s\n", text);
    if (b->functions.failed) builder_memory(b);
}

/* ---- Writing ---- */

static bool is_statement(const BuilderNode *node) {
    if (node->bound) return true;
    return node->open == 0 && (node->kind == NODE_CALL || node->kind == NODE_UNARY ||
                               node->kind == NODE_BINARY || node->kind == NODE_INDEX);
}

/* Which parameters of functions each node refers to; only now all of them are known. */
static void find_open(FraxBuilder *b) {
    for (size_t i = 0; i < b->count; i++) {
        BuilderNode *node = &b->nodes[i];
        node->open = node->kind == NODE_ATOM ? parameter_bit(b, node->text, false) : 0;
        for (size_t k = 0; k < node->nargs; k++)
            if (node->args[k]) node->open |= node_at(b, node->args[k])->open;
        if (node->kind == NODE_FUNCTION) node->open &= ~function_parameters(b, node);
    }
}

/* Needed is what has a name, and what needed nodes refer to, through those that are written within others. */
static void find_needed(FraxBuilder *b) {
    for (size_t i = 0; i < b->count; i++) b->nodes[i].needed = b->nodes[i].bound != NULL;
    for (size_t i = b->count; i-- > 0;)
        for (size_t k = 0; k < b->nodes[i].nargs && b->nodes[i].needed; k++)
            if (b->nodes[i].args[k]) node_at(b, b->nodes[i].args[k])->needed = true;
}

/* A text in the making: `inlined`, for sizes and initial values, refers to no statements. */
typedef struct Writer {
    FraxBuilder *b;
    Text *out;
    size_t start; /* of the statement */
    bool inlined;
} Writer;

static void write_node(Writer *w, FraxValue v, int depth);

/* A reference to a statement, or the expression itself, in brackets where `operand`. */
static void write_value(Writer *w, FraxValue v, bool operand, int depth) {
    const BuilderNode *node = node_at(w->b, v);
    if (node->bound && !w->inlined) {
        text_printf(w->out, "%s", node->bound);
    } else if (!w->inlined && is_statement(node)) {
        text_printf(w->out, "_%d", (int)v);
    } else {
        bool atom = node->kind == NODE_TUPLE || node->kind == NODE_CALL ||
                    (node->kind == NODE_ATOM && *node->text != '-');
        bool brackets = operand && !atom;
        if (brackets) text_printf(w->out, "(");
        write_node(w, v, depth + 1);
        if (brackets) text_printf(w->out, ")");
    }
}

static void write_list(Writer *w, const BuilderNode *node, size_t first, size_t end, int depth) {
    for (size_t i = first; i < end; i++) {
        if (i > first) text_printf(w->out, ", ");
        if (node->names[i]) text_printf(w->out, "%s=", node->names[i]);
        write_value(w, node->args[i], false, depth);
    }
}

static void write_range(Writer *w, const BuilderNode *node, int depth) {
    for (size_t i = 0; i < 3; i++) {
        if (i == 1 || (i == 2 && node->nargs == 3)) text_printf(w->out, ":");
        if (i < node->nargs && node->args[i]) write_value(w, node->args[i], false, depth);
    }
}

static void write_function(Writer *w, const BuilderNode *node, int depth) {
    size_t last = node->nargs - 1;
    text_printf(w->out, "(");
    write_list(w, node, 0, last, depth);
    text_printf(w->out, "%s) => ", last == 1 ? "," : "");
    write_value(w, node->args[last], false, depth);
}

/* The expression. */
static void write_node(Writer *w, FraxValue v, int depth) {
    const BuilderNode *node = node_at(w->b, v);
    if (depth > DEEPEST_INLINE || w->out->len - w->start > LONGEST_STATEMENT) {
        builder_fail(w->b, FRAX_SYNTAX,
                     "a size, an initial value or the value of a function is too long an expression");
        return;
    }
    switch (node->kind) {
    case NODE_ATOM: text_printf(w->out, "%s", node->text); break;
    case NODE_CALL:
        text_printf(w->out, "%s(", node->text);
        write_list(w, node, 0, node->nargs, depth);
        text_printf(w->out, ")");
        break;
    case NODE_UNARY:
        text_printf(w->out, "%s%s", node->text, *node->text == 'n' ? " " : "");
        write_value(w, node->args[0], true, depth);
        break;
    case NODE_BINARY:
        write_value(w, node->args[0], true, depth);
        text_printf(w->out, " %s ", node->text);
        write_value(w, node->args[1], true, depth);
        break;
    case NODE_INDEX:
        write_value(w, node->args[0], true, depth);
        text_printf(w->out, "[");
        write_list(w, node, 1, node->nargs, depth);
        text_printf(w->out, "]");
        break;
    case NODE_TUPLE:
        text_printf(w->out, "(");
        write_list(w, node, 0, node->nargs, depth);
        text_printf(w->out, "%s)", node->nargs == 1 ? "," : "");
        break;
    case NODE_RANGE: write_range(w, node, depth); break;
    case NODE_FUNCTION: write_function(w, node, depth); break;
    case NODE_ALIAS: write_value(w, node->args[0], false, depth); break;
    }
}

static void write_type(Writer *w, const BuilderDecl *decl) {
    w->inlined = true;
    w->start = w->out->len;
    text_printf(w->out, "%s: %s", decl->name, decl->is_key ? "key" : frax_dtype_name(decl->dtype));
    for (int i = 0; i < decl->rank; i++) {
        text_printf(w->out, i ? ", " : "[");
        write_value(w, decl->dims[i], false, 0);
    }
    if (decl->rank) text_printf(w->out, "]");
}

static void write_declarations(Writer *w) {
    const FraxBuilder *b = w->b;
    size_t inputs = 0;
    text_printf(w->out, "model %s(", b->name);
    for (size_t i = 0; i < b->ndecls; i++) {
        if (b->decls[i].initial) continue;
        if (inputs++) text_printf(w->out, ", ");
        write_type(w, &b->decls[i]);
    }
    text_printf(w->out, ") {\n");
    for (size_t i = 0; i < b->ndecls; i++) {
        if (!b->decls[i].initial) continue;
        text_printf(w->out, "    param ");
        write_type(w, &b->decls[i]);
        text_printf(w->out, " = ");
        write_value(w, b->decls[i].initial, false, 0);
        text_printf(w->out, "\n");
    }
}

static void write_model(Writer *w) {
    FraxBuilder *b = w->b;
    write_declarations(w);
    w->inlined = false;
    for (size_t i = 0; i < b->count && !b->fault.status; i++) {
        const BuilderNode *node = &b->nodes[i];
        if (!node->needed || !is_statement(node)) continue;
        w->start = w->out->len;
        if (node->bound)
            text_printf(w->out, "    %s = ", node->bound);
        else
            text_printf(w->out, "    _%zu = ", i + 1);
        write_node(w, (FraxValue)(i + 1), 0);
        text_printf(w->out, "\n");
    }
    text_printf(w->out, "    return ");
    for (size_t i = 0; i < b->nreturns; i++) text_printf(w->out, "%s%s", i ? ", " : "", b->returns[i]);
    text_printf(w->out, "\n}\n%s", b->functions.data ? b->functions.data : "");
    if (w->out->failed) builder_memory(b);
}

FraxStatus frax_builder_finish(FraxBuilder *b, FraxModel **model, FraxError *err) {
    if (!model) return fail(err, FRAX_USAGE, "frax_builder_finish: model is NULL");
    *model = NULL;
    if (!handle_is(b, HANDLE_BUILDER)) return handle_fail(b, "frax_builder_finish", "builder", err);
    char file[64];
    Text text = {0};
    if (!b->fault.status && !b->nreturns)
        builder_fail(b, FRAX_USAGE, "it returns nothing; call frax_builder_return");
    if (!b->fault.status) {
        find_open(b);
        find_needed(b);
        write_model(&(Writer){.b = b, .out = &text});
    }
    FraxStatus status = b->fault.status;
    if (status && err) *err = b->fault;
    snprintf(file, sizeof file, "<%.48s>", b->name);
    if (!status) status = frax_model_parse(text.data, file, NULL, model, err);
    text_free(&text);
    return status;
}
