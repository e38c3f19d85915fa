/* print.c — the text form of a graph; ir.h describes it, read.c reads it.
 *
 * Only live nodes are printed, renumbered densely, so that two graphs with the same meaningful part have the
 * same text. Each form of attribute (see ATTRS) has one function print_<form>.
 */
#include "ir.h"
#include <string.h>

typedef struct Printer {
    const Graph *graph;
    Text *out;
    Value *number; /* of each live node; NO_VALUE for the others */
    int rank;      /* of the node's first operand: the length of per-axis lists */
} Printer;

/* Attributes that are left out when they are zero. */
enum { OPTIONAL_ATTRS = A_VALUE2 | A_TA | A_TB | A_ENGINE | A_SUM | A_M | A_LAG };

static bool is_plain_name(const char *s) {
    static const char first[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_";
    static const char rest[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_0123456789.";
    return *s && strchr(first, *s) && !s[strspn(s, rest)];
}

static void print_name(Text *out, const char *s) {
    if (is_plain_name(s)) {
        text_printf(out, "%s", s);
        return;
    }
    text_printf(out, "\"");
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            text_printf(out, "\\%c", *s);
        else if ((unsigned char)*s < ' ' || *s == 0x7f)
            text_printf(out, "\\x%02x", (unsigned char)*s);
        else
            text_append(out, s, 1);
    }
    text_printf(out, "\"");
}

/* ---- Attributes ---- */

static void print_word(Printer *p, const void *field) {
    const char *name;
    memcpy(&name, field, sizeof name);
    print_name(p->out, name);
}

static void print_real(Printer *p, const void *field) {
    char buffer[32];
    text_printf(p->out, "%s", double_text(*(const double *)field, buffer));
}

static void print_integer(Printer *p, const void *field) {
    text_printf(p->out, "%lld", (long long)*(const int64_t *)field);
}

static void print_byte(Printer *p, const void *field) {
    text_printf(p->out, "%d", *(const uint8_t *)field);
}

static void print_flag(Printer *p, const void *field) {
    print_byte(p, field);
}

static void print_set(Printer *p, const void *field) {
    uint32_t set = *(const uint32_t *)field;
    const char *separator = "";
    text_printf(p->out, "[");
    for (int i = 0; i < 32; i++) {
        if (!(set >> i & 1)) continue;
        text_printf(p->out, "%s%d", separator, i);
        separator = ",";
    }
    text_printf(p->out, "]");
}

static void print_bytes(Printer *p, const void *field) {
    text_printf(p->out, "[");
    for (int i = 0; i < p->rank; i++) text_printf(p->out, i ? ",%d" : "%d", ((const uint8_t *)field)[i]);
    text_printf(p->out, "]");
}

static void print_integers(Printer *p, const void *field) {
    text_printf(p->out, "[");
    for (int i = 0; i < p->rank; i++)
        text_printf(p->out, i ? ",%lld" : "%lld", (long long)((const int64_t *)field)[i]);
    text_printf(p->out, "]");
}

static void print_part(Printer *p, const void *field) {
    text_printf(p->out, "%s", part_names[*(const uint8_t *)field]);
}

static void print_engine(Printer *p, const void *field) {
    text_printf(p->out, "%s", engine_names[*(const uint8_t *)field]);
}

static void print_init(Printer *p, const void *field) {
    text_printf(p->out, "%s", init_names[*(const uint8_t *)field]);
}

static bool is_printed(Op op, uint32_t flag, const void *field, size_t size) {
    static const char zeros[sizeof(Attrs)];
    uint32_t optional = OPTIONAL_ATTRS | (op == OP_guard ? A_N | A_AXIS : 0); /* of a stream only */
    if (!(op_table[op].attrs & flag)) return false;
    return !(optional & flag) || memcmp(field, zeros, size) != 0;
}

static void print_attrs(Printer *p, const Node *node) {
    const Attrs *at = node->attrs;
    const char *separator = " {";
#define X(flag, field, type, label, form)                                                                    \
    if (is_printed(node->op, flag, &at->field, sizeof at->field)) {                                          \
        text_printf(p->out, "%s%s=", separator, label);                                                      \
        print_##form(p, &at->field);                                                                         \
        separator = ", ";                                                                                    \
    }
    ATTRS(X)
#undef X
    if (*separator == ',') text_printf(p->out, "}");
}

/* ---- Nodes and graphs ---- */

static void print_strides(Printer *p, const Shape *shape, const int64_t *strides) {
    if (!strides) return;
    p->rank = shape->rank;
    text_printf(p->out, " strides ");
    print_integers(p, strides);
}

static void print_node(Printer *p, Value v) {
    const Node *node = graph_node(p->graph, v);
    char type[176];
    p->rank = node->nargs ? graph_type(p->graph, node->args[0])->shape.rank : 0;
    text_printf(p->out, "  %%%d: %s = %s", p->number[v], type_text(&node->type, type),
                op_table[node->op].name);
    for (int i = 0; i < node->nargs; i++)
        text_printf(p->out, i ? ", %%%d" : " %%%d", p->number[node->args[i]]);
    print_attrs(p, node);
    print_strides(p, &node->type.shape, graph_strides(p->graph, v));
    if (node->kernel >= 0) text_printf(p->out, " k%d", node->kernel);
    if (node->region != REGION_NONE)
        text_printf(p->out, " %s+%lld", region_names[node->region], (long long)node->offset);
    if (node->loc.line > 0) text_printf(p->out, " @%d:%d", node->loc.line, node->loc.column);
    text_printf(p->out, "\n");
}

static void print_checks(Printer *p) {
    const Graph *g = p->graph;
    if (!g->nchecks) return;
    text_printf(p->out, "  check");
    for (size_t i = 0; i < g->nchecks; i++)
        text_printf(p->out, i ? ", %%%d" : " %%%d", p->number[g->checks[i]]);
    text_printf(p->out, "\n");
}

static void print_outputs(Printer *p) {
    text_printf(p->out, "  return");
    for (size_t i = 0; i < p->graph->noutputs; i++) {
        const Output *output = &p->graph->outputs[i];
        text_printf(p->out, i ? ", " : " ");
        print_name(p->out, output->name);
        text_printf(p->out, " = %%%d", p->number[output->value]);
        if (output->donated != NO_VALUE) text_printf(p->out, " -> %%%d", p->number[output->donated]);
        print_strides(p, &graph_type(p->graph, output->value)->shape, output->strides);
    }
    text_printf(p->out, "\n");
}

void graph_print(const Graph *g, Text *out) {
    Printer p = {.graph = g, .out = out, .number = mem_alloc(sizeof(Value) * g->count)};
    bool *live = mem_alloc(g->count);
    if (p.number && live) {
        text_printf(out, "graph ");
        print_name(out, g->name);
        text_printf(out, " @");
        print_name(out, g->file);
        text_printf(out, " {\n");
        graph_live(g, live);
        Value next = 0;
        for (size_t v = 0; v < g->count; v++) {
            p.number[v] = live[v] ? next++ : NO_VALUE;
            if (live[v]) print_node(&p, (Value)v);
        }
        print_checks(&p);
        print_outputs(&p);
        text_printf(out, "}\n");
    } else {
        out->failed = true;
    }
    mem_free(p.number);
    mem_free(live);
}

void graph_print_notes(const Graph *g, Text *out) {
    for (size_t i = 0; i < g->nnotes; i++) {
        const Note *note = &g->notes[i];
        text_printf(out, "# ");
        if (note->loc.line) text_printf(out, "%d:%d ", note->loc.line, note->loc.column);
        text_printf(out, "%s\n", note->text);
    }
}
