/* read.c — reads the text form of a graph (ir.h describes it) through the builder.
 *
 * The text is hostile: every number is checked for its range, every reference for existence, every type
 * against the one the infer rule gives, before anything is built on it. A function read_* or accept_* returns
 * false once the reader has failed; the first fault stays, with its place. Each form of attribute (see ATTRS)
 * has one function read_<form>.
 */
#include "source.h"
#include <ctype.h>
#include <string.h>

typedef struct Reader {
    Source source;
    const char *p;          /* the next character */
    const char *line_start; /* of the line it is in */
    int line;
    Loc statement; /* of the node being read */
    Graph *graph;
    Value *values; /* of each number in the text */
    size_t count, capacity;
    Value *args; /* operands of the node being read */
    size_t args_capacity;
    Text word; /* the last name read */
    int rank;  /* of the node's first operand: the length of per-axis lists */
    FraxError *err;
    FraxStatus status;
} Reader;

/* ---- Places, faults and tokens ---- */

static void skip_space(Reader *r) {
    for (;; r->p++) {
        if (*r->p == '#') r->p += strcspn(r->p, "\n");
        if (*r->p == '\n') {
            r->line++;
            r->line_start = r->p + 1;
        } else if (*r->p != ' ' && *r->p != '\t' && *r->p != '\r') {
            return;
        }
    }
}

static Loc here(Reader *r) {
    skip_space(r);
    return (Loc){r->line, (int)MIN(r->p - r->line_start + 1, INT32_MAX)};
}

PRINTF_LIKE(4, 5)
static bool fault(Reader *r, FraxStatus status, Loc loc, const char *fmt, ...) {
    if (r->status) return false;
    char message[512];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    r->status = fail_at(r->err, status, &r->source, loc, "%s", message);
    return false;
}

/* Takes over the builder's fault, if there is one, as one of the text. */
static bool builder_agrees(Reader *r, Loc loc) {
    FraxError err;
    if (!graph_status(r->graph, &err)) return true;
    if (err.status == FRAX_MEMORY) {
        if (!r->status) r->status = fail(r->err, FRAX_MEMORY, "%s", err.message);
        return false;
    }
    return fault(r, err.status, loc, "%s", err.message);
}

static bool out_of_memory(Reader *r) {
    if (!r->status) r->status = fail_memory(r->err, "reading a graph");
    return false;
}

static char peek(Reader *r) {
    skip_space(r);
    return *r->p;
}

static bool accept(Reader *r, const char *token) {
    skip_space(r);
    size_t n = strlen(token);
    if (r->status || strncmp(r->p, token, n)) return false;
    r->p += n;
    return true;
}

/* Says what was expected, and what stands at the next character instead. */
static bool unexpected(Reader *r, const char *expected) {
    char found[24];
    Loc loc = here(r);
    size_t n = MIN(strcspn(r->p, " \t\r\n"), sizeof found - 1);
    memcpy(found, r->p, n);
    found[n] = '\0';
    return fault(r, FRAX_SYNTAX, loc, "expected '%s', found %s%s%s", expected, n ? "'" : "",
                 n ? found : "the end of the text", n ? "'" : "");
}

static bool expect(Reader *r, const char *token) {
    return accept(r, token) || unexpected(r, token);
}

static bool starts_word(char c) {
    return isalpha((unsigned char)c) || c == '_';
}

static size_t word_length(const char *s) {
    size_t n = 0;
    while (starts_word(s[n]) || isdigit((unsigned char)s[n]) || s[n] == '.') n++;
    return starts_word(s[0]) ? n : 0;
}

/* A keyword: a plain word that ends here. */
static bool accept_word(Reader *r, const char *word) {
    skip_space(r);
    return word_length(r->p) == strlen(word) && accept(r, word);
}

static bool keep_word(Reader *r, const char *s, size_t n) {
    r->word.len = 0;
    text_append(&r->word, s, n);
    return r->word.failed ? out_of_memory(r) : true;
}

static int hex_digit(char c) {
    const char *digits = "0123456789abcdef", *at = c ? strchr(digits, tolower((unsigned char)c)) : NULL;
    return at ? (int)(at - digits) : -1;
}

/* \" \\ or \xNN, NN ≠ 00, at r->p. */
static bool read_escape(Reader *r, char *c) {
    Loc loc = here(r);
    int high = r->p[1] == 'x' ? hex_digit(r->p[2]) : -1, low = high >= 0 ? hex_digit(r->p[3]) : -1;
    if (r->p[1] == '"' || r->p[1] == '\\') {
        *c = r->p[1];
        r->p += 2;
        return true;
    }
    if (low < 0 || high + low == 0)
        return fault(r, FRAX_SYNTAX, loc, "expected \\\", \\\\ or \\xNN with NN from 01 to ff");
    *c = (char)(high * 16 + low);
    r->p += 4;
    return true;
}

static bool read_quoted(Reader *r, Loc loc) {
    if (!keep_word(r, "", 0)) return false;
    for (r->p++; *r->p != '"';) {
        char c = *r->p;
        if (c == '\0' || c == '\n') return fault(r, FRAX_SYNTAX, loc, "the quoted name does not end");
        if (c == '\\') {
            if (!read_escape(r, &c)) return false;
        } else {
            r->p++;
        }
        text_append(&r->word, &c, 1);
    }
    r->p++;
    return r->word.failed ? out_of_memory(r) : true;
}

/* A plain or quoted name into r->word. */
static bool read_name(Reader *r, const char *what) {
    Loc loc = here(r);
    if (r->status) return false;
    if (*r->p == '"') return read_quoted(r, loc);
    size_t n = word_length(r->p);
    if (!n) return fault(r, FRAX_SYNTAX, loc, "expected %s", what);
    r->p += n;
    return keep_word(r, r->p - n, n);
}

/* An integer within [lowest, highest]. */
static bool read_range(Reader *r, const char *what, int64_t lowest, int64_t highest, int64_t *value) {
    Loc loc = here(r);
    if (r->status) return false;
    bool negative = *r->p == '-', overflow = false;
    const char *p = r->p + negative;
    int64_t v = 0;
    if (!isdigit((unsigned char)*p)) return fault(r, FRAX_SYNTAX, loc, "expected %s", what);
    for (; isdigit((unsigned char)*p); p++) {
        int digit = negative ? '0' - *p : *p - '0';
        overflow |= mul_overflows(v, 10, &v) || __builtin_add_overflow(v, digit, &v);
    }
    if (overflow || v < lowest || v > highest)
        return fault(r, FRAX_VALUE, loc, "%s is out of range, expected %lld…%lld", what, (long long)lowest,
                     (long long)highest);
    r->p = p;
    *value = v;
    return true;
}

/* ---- Attributes ---- */

static bool read_word(Reader *r, void *field) {
    if (!read_name(r, "a name")) return false;
    const char *name = graph_intern(r->graph, r->word.data);
    memcpy(field, &name, sizeof name);
    return builder_agrees(r, r->statement);
}

static bool read_real(Reader *r, void *field) {
    Loc loc = here(r);
    size_t n = strspn(r->p, "0123456789+-.eEinfa");
    if (!double_parse(r->p, n, field)) return fault(r, FRAX_VALUE, loc, "expected a number");
    r->p += n;
    return true;
}

static bool read_integer(Reader *r, void *field) {
    return read_range(r, "an integer", INT64_MIN, INT64_MAX, field);
}

static bool read_byte(Reader *r, void *field) {
    int64_t v;
    if (!read_range(r, "an axis", 0, MAX_RANK - 1, &v)) return false;
    *(uint8_t *)field = (uint8_t)v;
    return true;
}

static bool read_flag(Reader *r, void *field) {
    int64_t v;
    if (!read_range(r, "a flag", 0, 1, &v)) return false;
    *(uint8_t *)field = (uint8_t)v;
    return true;
}

/* [ item { , item } ] or [ ] */
typedef bool ReadItem(Reader *r, int index, void *context);

static bool read_list(Reader *r, ReadItem *item, void *context) {
    if (!expect(r, "[")) return false;
    if (accept(r, "]")) return true;
    for (int i = 0;; i++) {
        if (!item(r, i, context)) return false;
        if (accept(r, "]")) return true;
        if (!expect(r, ",")) return false;
    }
}

static bool read_member(Reader *r, int index, void *set) {
    uint8_t axis;
    (void)index;
    if (!read_byte(r, &axis)) return false;
    *(uint32_t *)set |= 1u << axis;
    return true;
}

static bool read_set(Reader *r, void *field) {
    return read_list(r, read_member, field);
}

static bool list_fits(Reader *r, int index, int limit) {
    if (index < limit) return true;
    return fault(r, FRAX_SHAPE, here(r), "more than the %d entries expected here", limit);
}

static bool read_one_byte(Reader *r, int index, void *list) {
    return list_fits(r, index, r->rank) && read_byte(r, (uint8_t *)list + index);
}

static bool read_one_integer(Reader *r, int index, void *list) {
    return list_fits(r, index, r->rank) && read_integer(r, (int64_t *)list + index);
}

static bool read_bytes(Reader *r, void *field) {
    return read_list(r, read_one_byte, field);
}

static bool read_integers(Reader *r, void *field) {
    return read_list(r, read_one_integer, field);
}

static bool read_choice(Reader *r, const char *const *names, int count, void *field) {
    char all[128];
    size_t used = 0;
    for (int i = 0; i < count; i++) {
        if (accept_word(r, names[i])) {
            *(uint8_t *)field = (uint8_t)i;
            return true;
        }
        used += (size_t)snprintf(all + used, sizeof all - used, "%s%s", i ? ", " : "", names[i]);
    }
    return fault(r, FRAX_NAME, here(r), "expected one of %s", all);
}

static bool read_part(Reader *r, void *field) {
    return read_choice(r, part_names, PART_COUNT, field);
}

static bool read_engine(Reader *r, void *field) {
    return read_choice(r, engine_names, ENGINE_COUNT, field);
}

static bool read_init(Reader *r, void *field) {
    return read_choice(r, init_names, INIT_COUNT, field);
}

/* label = value, of an attribute that the op lists and that was not given yet */
static bool read_attr(Reader *r, Op op, Attrs *at, uint32_t *seen) {
    Loc loc = here(r);
    if (!read_name(r, "an attribute") || !expect(r, "=")) return false;
#define X(flag, field, type, label, form)                                                                    \
    if (!strcmp(r->word.data, label) && op_table[op].attrs & flag) {                                         \
        if (*seen & flag) return fault(r, FRAX_NAME, loc, "attribute %s is given twice", label);             \
        *seen |= flag;                                                                                       \
        return read_##form(r, &at->field);                                                                   \
    }
    ATTRS(X)
#undef X
    return fault(r, FRAX_NAME, loc, "%s has no attribute %.60s", op_table[op].name, r->word.data);
}

static bool read_attrs(Reader *r, Op op, Attrs *at) {
    uint32_t seen = 0;
    if (!accept(r, "{")) return !r->status;
    do {
        if (!read_attr(r, op, at, &seen)) return false;
    } while (accept(r, ","));
    return expect(r, "}");
}

/* ---- Types, operands, annotations ---- */

static bool read_dim(Reader *r, int index, void *shape) {
    if (!list_fits(r, index, MAX_RANK)) return false;
    ((Shape *)shape)->rank = index + 1;
    return read_range(r, "a size", 0, INT64_MAX, &((Shape *)shape)->dims[index]);
}

static bool read_type(Reader *r, Type *type) {
    static const char *const names[] = {
#define X(code, name, bytes) name,
        FRAX_DTYPES(X)
#undef X
    };
    uint8_t dtype = 0;
    Loc loc = here(r);
    if (!read_choice(r, names, COUNT(names), &dtype)) return false;
    *type = (Type){.dtype = (FraxDType)dtype};
    if (!read_list(r, read_dim, &type->shape)) return false;
    if (shape_overflows(&type->shape)) return fault(r, FRAX_SHAPE, loc, "the shape overflows");
    return true;
}

/* % number, of a node that stands above */
static bool read_value(Reader *r, Value *v) {
    Loc loc = here(r);
    int64_t number;
    if (!expect(r, "%") || !read_range(r, "a node's number", 0, INT32_MAX, &number)) return false;
    if ((size_t)number >= r->count)
        return fault(r, FRAX_NAME, loc, "%%%lld is not defined above", (long long)number);
    *v = r->values[number];
    return true;
}

static bool read_operands(Reader *r, Op op, int *nargs) {
    *nargs = 0;
    r->rank = 0;
    if (op_table[op].arity == 0) return true;
    do {
        if (!mem_grow(&r->args, &r->args_capacity, (size_t)*nargs + 1, sizeof *r->args))
            return out_of_memory(r);
        if (!read_value(r, &r->args[*nargs])) return false;
        ++*nargs;
    } while (accept(r, ","));
    r->rank = graph_type(r->graph, r->args[0])->shape.rank;
    return !r->status;
}

typedef struct Annotation {
    bool strided;
    int64_t strides[MAX_RANK];
    int32_t kernel;
    Region region;
    int64_t offset;
    Loc loc;
} Annotation;

/* [ strides [integers] ], of an array of this rank */
static bool read_strides(Reader *r, int rank, Annotation *a) {
    a->strided = accept_word(r, "strides");
    r->rank = rank;
    return a->strided ? read_integers(r, a->strides) : !r->status;
}

static bool read_kernel(Reader *r, Annotation *a) {
    int64_t kernel = -1;
    if (peek(r) == 'k' && isdigit((unsigned char)r->p[1])) {
        r->p++;
        if (!read_range(r, "a kernel's number", 0, INT32_MAX, &kernel)) return false;
    }
    a->kernel = (int32_t)kernel;
    return !r->status;
}

static bool read_region(Reader *r, Annotation *a) {
    for (int i = REGION_NONE + 1; i < REGION_COUNT; i++) {
        if (!accept_word(r, region_names[i])) continue;
        a->region = (Region)i;
        return expect(r, "+") && read_range(r, "an offset", 0, INT64_MAX, &a->offset);
    }
    return !r->status;
}

static bool read_loc(Reader *r, Annotation *a) {
    int64_t line, column;
    if (!accept(r, "@")) return !r->status;
    if (!read_range(r, "a line", 1, INT32_MAX, &line) || !expect(r, ":") ||
        !read_range(r, "a column", 0, INT32_MAX, &column))
        return false;
    a->loc = (Loc){(int)line, (int)column};
    return true;
}

/* ---- Nodes and graphs ---- */

static bool set_strides(Reader *r, Value v, bool is_new, const Annotation *a) {
    if (!a->strided) return true;
    if (op_table[graph_node(r->graph, v)->op].kind != KIND_LEAF || !is_new)
        return fault(r, FRAX_VALUE, r->statement, "strides of what is no input");
    graph_set_strides(r->graph, v, a->strides);
    return builder_agrees(r, r->statement);
}

/* Puts the annotations on node v, which must have the same ones if it stood before this statement. */
static bool annotate(Reader *r, Value v, bool is_new, const Annotation *a) {
    Node *node = &r->graph->nodes[v];
    if (!is_new && (node->kernel != a->kernel || node->region != a->region || node->offset != a->offset))
        return fault(r, FRAX_VALUE, r->statement,
                     "the same value as a node above, with another kernel or place");
    node->kernel = a->kernel;
    node->region = a->region;
    node->offset = a->offset;
    return set_strides(r, v, is_new, a);
}

static bool define(Reader *r, Value v, const Type *type) {
    char got[176], expected[176];
    const Type *built = graph_type(r->graph, v);
    if (built->dtype != type->dtype || !shape_equal(&built->shape, &type->shape))
        return fault(r, built->dtype != type->dtype ? FRAX_TYPE : FRAX_SHAPE, r->statement,
                     "the text says %s, the operands give %s", type_text(type, got),
                     type_text(built, expected));
    if (!mem_grow(&r->values, &r->capacity, r->count + 1, sizeof *r->values)) return out_of_memory(r);
    r->values[r->count++] = v;
    return true;
}

static bool read_op(Reader *r, Op *op) {
    Loc loc = here(r);
    static const char *const names[] = {
#define OP(name, arity, kind, infer, attrs) #name,
#include "ops.def"
    };
    if (!read_name(r, "an op")) return false;
    if (op_from_name(r->word.data, op)) return true;
    const char *near = nearest_name(r->word.data, names, COUNT(names));
    return fault(r, FRAX_NAME, loc, "there is no op %.60s%s%s%s", r->word.data, near ? "; did you mean " : "",
                 near ? near : "", near ? "?" : "");
}

/* %number : type = op operands {attributes} strides kernel region @line:column */
static bool read_node(Reader *r) {
    r->statement = here(r);
    int64_t number;
    Type type;
    Op op;
    int nargs;
    Attrs at = {0};
    Annotation a = {0};
    if (!expect(r, "%") || !read_range(r, "a node's number", 0, INT32_MAX, &number)) return false;
    if ((size_t)number != r->count)
        return fault(r, FRAX_NAME, r->statement, "expected %%%zu, the next number", r->count);
    if (!expect(r, ":") || !read_type(r, &type) || !expect(r, "=") || !read_op(r, &op) ||
        !read_operands(r, op, &nargs) || !read_attrs(r, op, &at) || !read_strides(r, type.shape.rank, &a) ||
        !read_kernel(r, &a) || !read_region(r, &a) || !read_loc(r, &a))
        return false;
    r->graph->loc = a.loc;
    size_t before = r->graph->count;
    Value v = graph_emit(r->graph, op, r->args, nargs, &at, &type);
    if (!builder_agrees(r, r->statement)) return false;
    return annotate(r, v, (size_t)v >= before, &a) && define(r, v, &type);
}

/* %guard */
static bool read_check(Reader *r) {
    Loc loc = here(r);
    Value v;
    if (!read_value(r, &v)) return false;
    const Node *node = graph_node(r->graph, v);
    if (node->op != OP_guard)
        return fault(r, FRAX_VALUE, loc, "a check of %s, expected a guard", op_table[node->op].name);
    graph_check(r->graph, v);
    return builder_agrees(r, loc);
}

/* name = %value [ -> %input ] [ strides ] */
static bool read_output(Reader *r) {
    Loc loc = here(r);
    Value v, donated = NO_VALUE;
    Annotation a = {0};
    if (!read_name(r, "an output's name") || !expect(r, "=") || !read_value(r, &v)) return false;
    if (accept(r, "->") && !read_value(r, &donated)) return false;
    if (r->status) return false;
    graph_output_donated(r->graph, r->word.data, v, donated);
    if (!builder_agrees(r, loc) || !read_strides(r, graph_type(r->graph, v)->shape.rank, &a)) return false;
    if (a.strided) graph_set_output_strides(r->graph, r->graph->noutputs - 1, a.strides);
    return builder_agrees(r, loc);
}

static bool read_header(Reader *r) {
    if (!accept_word(r, "graph")) return unexpected(r, "graph");
    if (!read_name(r, "the graph's name")) return false;
    Text name = r->word;
    r->word = (Text){0};
    if (expect(r, "@") && read_name(r, "the file's name") && expect(r, "{")) {
        r->graph = graph_create(name.data, r->word.data);
        if (!r->graph) out_of_memory(r);
    }
    text_free(&name);
    return !r->status;
}

/* graph name @file { nodes [ check guards ] return outputs } */
static bool read_graph(Reader *r) {
    if (!read_header(r)) return false;
    while (peek(r) == '%')
        if (!read_node(r)) return false;
    if (accept_word(r, "check")) {
        do {
            if (!read_check(r)) return false;
        } while (accept(r, ","));
    }
    if (!accept_word(r, "return")) return unexpected(r, "return");
    if (peek(r) != '}') {
        do {
            if (!read_output(r)) return false;
        } while (accept(r, ","));
    }
    if (!expect(r, "}")) return false;
    if (peek(r)) return fault(r, FRAX_SYNTAX, here(r), "text after the graph's end");
    return true;
}

FraxStatus graph_read(const char *text, const char *file, Graph **graph, FraxError *err) {
    Reader r = {.source = {file, text}, .p = text, .line_start = text, .line = 1, .err = err};
    FraxError fault_found;
    *graph = NULL;
    if (read_graph(&r) && graph_verify(r.graph, &fault_found)) { /* kernels and places are the text's own */
        if (fault_found.status == FRAX_MEMORY)
            out_of_memory(&r);
        else
            fault(&r, FRAX_VALUE, (Loc){0}, "%s", fault_found.message);
    }
    mem_free(r.values);
    mem_free(r.args);
    text_free(&r.word);
    if (r.status) {
        graph_destroy(r.graph);
        return r.status;
    }
    *graph = r.graph;
    return FRAX_OK;
}
