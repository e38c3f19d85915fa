/* builtins.c — the table of built-in functions and the binding of their arguments.
 *
 * A row's `params` is the whole signature as a user reads it: "x, axis=-1, gamma?". Names in `words` take a
 * bare word (kind=weyl), `symbol` takes a function (w => w^2); everything else takes an expression. Binding
 * reports wrong counts, unknown and repeated names; the rules then read their arguments by position.
 */
#include "lower.h"
#include <math.h>
#include <string.h>

typedef struct BuiltinPart {
    const Builtin *rows;
    const size_t *count;
} BuiltinPart;

static const BuiltinPart parts[] = {
    {math_builtins, &math_builtin_count},     {reduce_builtins, &reduce_builtin_count},
    {shape_builtins, &shape_builtin_count},   {nn_builtins, &nn_builtin_count},
    {random_builtins, &random_builtin_count}, {fractional_builtins, &fractional_builtin_count}};

static const Builtin *builtin_at(size_t i) {
    for (size_t p = 0; p < COUNT(parts); p++) {
        if (i < *parts[p].count) return &parts[p].rows[i];
        i -= *parts[p].count;
    }
    return NULL;
}

const Builtin *find_builtin(const char *name) {
    const Builtin *row;
    for (size_t i = 0; (row = builtin_at(i)); i++)
        if (!strcmp(row->name, name)) return row;
    return NULL;
}

/* All names, for suggestions: at most max of them; returns how many. */
static size_t builtin_names(const char **names, size_t max) {
    const Builtin *row;
    size_t n = 0;
    for (; n < max && (row = builtin_at(n)); n++) names[n] = row->name;
    return n;
}

bool builtin_info(size_t i, BuiltinInfo *info) {
    const Builtin *row = builtin_at(i);
    if (row) *info = (BuiltinInfo){row->name, row->params, row->summary, row->group};
    return row != NULL;
}

/* ---- Signatures ---- */

typedef struct Param {
    const char *name, *value; /* value: text of the default, or NULL */
    bool optional;
} Param;

typedef struct Signature {
    char text[384];
    Param params[MAX_PARAMS];
    int count;
} Signature;

static void read_signature(const Builtin *row, Signature *s) {
    char *rest = s->text;
    s->count = 0;
    snprintf(s->text, sizeof s->text, "%s", row->params);
    while (rest && *rest && s->count < MAX_PARAMS) {
        Param *param = &s->params[s->count++];
        char *end = strchr(rest, ','), *mark;
        param->name = rest;
        rest = end ? end + 2 : NULL;
        if (end) *end = '\0';
        mark = strpbrk((char *)param->name, "=?");
        param->optional = mark != NULL;
        param->value = mark && *mark == '=' ? mark + 1 : NULL;
        if (mark) *mark = '\0';
    }
}

static bool takes_word(const char *param) {
    static const char *const words[] = {"kind", "scheme", "engine", "dtype", "approximate"};
    for (size_t i = 0; i < COUNT(words); i++)
        if (!strcmp(words[i], param)) return true;
    return false;
}

static bool takes_function(const char *param) {
    return !strcmp(param, "symbol");
}

/* Defaults are numbers, true, false or words. */
static Item default_item(const Param *param) {
    const char *text = param->value;
    if (!text) return (Item){0};
    if (takes_word(param->name)) return (Item){.kind = ITEM_WORD, .word = text};
    if (!strcmp(text, "true") || !strcmp(text, "false"))
        return (Item){.kind = ITEM_TRUTH, .number = number_whole(text[0] == 't')};
    double value = 0;
    double_parse(text, strlen(text), &value);
    return item_number(value == floor(value) ? number_whole((int64_t)value) : number_real(value));
}

/* ---- Binding ---- */

static int find_param(Lower *lw, const Builtin *row, const Signature *s, const char *label) {
    const char *names[MAX_PARAMS];
    for (int i = 0; i < s->count; i++) {
        names[i] = s->params[i].name;
        if (!strcmp(names[i], label)) return i;
    }
    fail_unknown(lw, row->name, "argument", label, names, (size_t)s->count);
    return -1;
}

static Item argument(Lower *lw, const Builtin *row, const Param *param, const Expr *e) {
    if (takes_function(param->name)) {
        if (e->kind == EXPR_FUNCTION) return (Item){.kind = ITEM_FUNCTION, .loc = e->loc, .function = e};
        return item_fail(lw, FRAX_TYPE, "%s: %s takes a function, as in w => (0, w)", row->name, param->name);
    }
    if (!takes_word(param->name) || (e->kind == EXPR_NAME && is_reserved(e->text))) return lower_expr(lw, e);
    if (e->kind != EXPR_NAME)
        return item_fail(lw, FRAX_TYPE, "%s: %s= takes a word, such as %s", row->name, param->name,
                         param->value ? param->value : "f32");
    return (Item){.kind = ITEM_WORD, .loc = e->loc, .word = e->text};
}

static void bind(Lower *lw, const Expr *e, const Signature *s, Args *args) {
    const Builtin *row = args->builtin;
    for (size_t i = 0; i < e->count && !failed(lw); i++) {
        const Name *label = &e->labels[i];
        lw->g->loc = label->text ? label->loc : e->items[i]->loc;
        int at = label->text ? find_param(lw, row, s, label->text) : (int)MIN(i, (size_t)MAX_PARAMS);
        if (failed(lw)) break;
        if (at >= s->count)
            lower_fail(lw, FRAX_TYPE, "%s takes at most %d argument%s, got %zu: %s(%s)", row->name, s->count,
                       s->count == 1 ? "" : "s", e->count, row->name, row->params);
        else if (args->given[at])
            lower_fail(lw, FRAX_TYPE, "argument %s of %s is given twice", s->params[at].name, row->name);
        if (failed(lw)) break;
        args->items[at] = argument(lw, row, &s->params[at], e->items[i]);
        args->items[at].loc = e->items[i]->loc;
        args->given[at] = args->items[at].kind != ITEM_NOTHING; /* none stands for the absent argument */
    }
    lw->g->loc = e->loc;
    for (int i = 0; i < s->count && !failed(lw); i++) {
        if (args->given[i]) continue;
        args->items[i] = default_item(&s->params[i]);
        args->items[i].loc = e->loc;
        if (!s->params[i].optional)
            lower_fail(lw, FRAX_TYPE, "%s lacks its argument %s: %s(%s)", row->name, s->params[i].name,
                       row->name, row->params);
    }
}

/* Names a user may have meant: built-ins and the file's own functions. */
static Item unknown_function(Lower *lw, const Expr *e) {
    const char *names[256];
    size_t n = builtin_names(names, COUNT(names));
    for (size_t i = 0; i < lw->model->file.nfns && n < COUNT(names); i++)
        names[n++] = lw->model->file.fns[i].name.text;
    const char *near = nearest_name(e->text, names, n);
    return item_fail(lw, FRAX_NAME, "unknown function '%s'%s%s%s", e->text, near ? "; did you mean '" : "",
                     near ? near : "", near ? "'?" : "");
}

Item lower_builtin(Lower *lw, const Expr *e) {
    const Builtin *row = find_builtin(e->text);
    if (!row) return unknown_function(lw, e);
    struct {
        Args args;
        Signature signature;
    } *call = mem_calloc(1, sizeof *call); /* not on the stack: calls nest */
    if (!call) return item_fail(lw, FRAX_MEMORY, "out of memory while building model %s", lw->g->name);
    call->args.builtin = row;
    call->args.loc = e->loc;
    read_signature(row, &call->signature);
    bind(lw, e, &call->signature, &call->args);
    if (!failed(lw)) lw->g->loc = e->loc;
    lw->builtin = row->name;
    Item result = failed(lw) ? (Item){0} : row->rule(lw, &call->args);
    mem_free(call);
    return result;
}

/* ---- Reading arguments ---- */

void arg_name(const Args *args, int i, char name[64]) {
    Signature s;
    read_signature(args->builtin, &s);
    snprintf(name, 64, "%s: %s", args->builtin->name, s.params[i].name);
}

Value arg_fail(Lower *lw, const Args *args, int i, FraxStatus status, const char *fmt, ...) {
    char name[64], message[512];
    va_list ap;
    if (failed(lw)) return NO_VALUE;
    arg_name(args, i, name);
    va_start(ap, fmt);
    vsnprintf(message, sizeof message, fmt, ap);
    va_end(ap);
    if (args->items[i].loc.line) lw->g->loc = args->items[i].loc;
    return lower_fail(lw, status, "%s %s", name, message);
}

Value array_arg(Lower *lw, const Args *args, int i) {
    const Item *item = &args->items[i];
    if (!failed(lw) && item->kind != ITEM_VALUE && !is_number(item))
        return arg_fail(lw, args, i, FRAX_TYPE, "must be an array or a number");
    return any_value(lw, *item);
}

Value float_arg(Lower *lw, const Args *args, int i) {
    Value v = array_arg(lw, args, i);
    char text[176];
    if (v != NO_VALUE && !dtype_is_float(graph_type(lw->g, v)->dtype))
        return arg_fail(lw, args, i, FRAX_TYPE,
                        "is %s, expected a floating dtype; convert it with cast(x, f32)",
                        type_text(graph_type(lw->g, v), text));
    return v;
}

int whole_item(Lower *lw, const Item *item, const char *what, int64_t *result) {
    char text[32];
    if (failed(lw)) return 0;
    if (item->kind != ITEM_NUMBER)
        lower_fail(lw, FRAX_TYPE, "%s must be a whole number that is known when the model is compiled", what);
    else if (!item->number.whole && fabs(item->number.value) >= 9007199254740992.0)
        lower_fail(lw, FRAX_VALUE, "%s overflows 64 bits", what);
    else if (!item->number.whole)
        lower_fail(lw, FRAX_VALUE, "%s is %s, expected a whole number", what,
                   double_text(item->number.value, text));
    *result = item->number.integer;
    return !failed(lw);
}

int64_t whole_arg(Lower *lw, const Args *args, int i) {
    char name[64];
    int64_t result = 0;
    arg_name(args, i, name);
    if (!failed(lw) && args->items[i].loc.line) lw->g->loc = args->items[i].loc;
    whole_item(lw, &args->items[i], name, &result);
    if (!failed(lw)) lw->g->loc = args->loc;
    return result;
}

double number_arg(Lower *lw, const Args *args, int i) {
    if (args->items[i].kind != ITEM_NUMBER)
        arg_fail(lw, args, i, FRAX_TYPE, "must be a number that is known when the model is compiled");
    return args->items[i].number.value;
}

bool truth_arg(Lower *lw, const Args *args, int i) {
    if (args->items[i].kind != ITEM_TRUTH) arg_fail(lw, args, i, FRAX_TYPE, "must be true or false");
    return args->items[i].number.value != 0;
}

static const char *word_arg(const Args *args, int i) {
    return args->items[i].kind == ITEM_WORD ? args->items[i].word : NULL;
}

int choice_arg(Lower *lw, const Args *args, int i, const char *const *names, size_t n) {
    const char *word = word_arg(args, i);
    Signature s;
    if (failed(lw)) return -1;
    for (size_t k = 0; word && k < n; k++)
        if (!strcmp(names[k], word)) return (int)k;
    read_signature(args->builtin, &s);
    if (args->items[i].loc.line) lw->g->loc = args->items[i].loc;
    fail_unknown(lw, args->builtin->name, s.params[i].name, word ? word : "?", names, n);
    return -1;
}

FraxDType dtype_arg(Lower *lw, const Args *args, int i) {
    const char *names[FRAX_BOOL + 1];
    for (FraxDType d = FRAX_F64; d <= FRAX_BOOL; d++) names[d] = frax_dtype_name(d);
    int choice = choice_arg(lw, args, i, names, COUNT(names));
    return choice < 0 ? FRAX_F64 : (FraxDType)choice;
}

static int resolve_axis(Lower *lw, const Args *args, int i, const Item *item, int rank) {
    int64_t axis = 0;
    if (item->kind != ITEM_NUMBER || !item->number.whole)
        arg_fail(lw, args, i, FRAX_TYPE, "must be a whole number%s",
                 args->items[i].kind == ITEM_TUPLE ? "s" : "");
    axis = item->number.integer;
    if (!failed(lw) && (axis < -rank || axis >= rank))
        arg_fail(lw, args, i, FRAX_SHAPE, "is %lld, which an array of rank %d does not have", (long long)axis,
                 rank);
    return failed(lw) ? 0 : (int)(axis < 0 ? axis + rank : axis);
}

int axis_arg(Lower *lw, const Args *args, int i, int rank) {
    return failed(lw) ? 0 : resolve_axis(lw, args, i, &args->items[i], rank);
}

uint32_t axes_arg(Lower *lw, const Args *args, int i, int rank) {
    const Item *item = &args->items[i];
    uint32_t axes = 0;
    if (failed(lw)) return 0;
    if (item->kind == ITEM_NOTHING) return (1u << rank) - 1;
    if (item->kind != ITEM_TUPLE) return 1u << resolve_axis(lw, args, i, item, rank);
    for (int k = 0; k < item->count && !failed(lw); k++) {
        uint32_t axis = 1u << resolve_axis(lw, args, i, &item->items[k], rank);
        if (axes & axis) arg_fail(lw, args, i, FRAX_SHAPE, "names an axis twice");
        axes |= axis;
    }
    return axes;
}

Shape shape_arg(Lower *lw, const Args *args, int i) {
    const Item *item = &args->items[i];
    Shape shape = {.rank = item->kind == ITEM_TUPLE ? item->count : 1};
    char name[64], text[160];
    arg_name(args, i, name);
    if (!failed(lw) && shape.rank > MAX_RANK)
        arg_fail(lw, args, i, FRAX_SHAPE, "has %d axes, the limit is %d", shape.rank, MAX_RANK);
    if (failed(lw)) return SCALAR;
    lw->g->loc = item->loc;
    for (int k = 0; k < shape.rank; k++)
        if (!whole_item(lw, item->kind == ITEM_TUPLE ? &item->items[k] : item, name, &shape.dims[k]))
            return SCALAR;
    for (int k = 0; k < shape.rank; k++)
        if (shape.dims[k] < 0) {
            arg_fail(lw, args, i, FRAX_SHAPE, "is %s; sizes are 0 or more", shape_text(&shape, text));
            return SCALAR;
        }
    if (shape_overflows(&shape)) arg_fail(lw, args, i, FRAX_SHAPE, "overflows: %s", shape_text(&shape, text));
    lw->g->loc = args->loc;
    return failed(lw) ? SCALAR : shape;
}
