/* lower.c — from the tree of a model to its graph, for given sizes.
 *
 * Types and shapes are inferred by building: each expression is lowered to an item by the builder's calls,
 * and the builder's rules are the type rules. Functions are inlined where they are called. Faults stick to
 * the graph; on the way up, every function call in progress adds a "called from" line. Two budgets keep
 * hostile models small: the depth of nested expressions through calls, and the number of expressions lowered
 * in all.
 */
#include "lower.h"
#include <float.h>
#include <math.h>
#include <string.h>

enum { DEEPEST = 1200, MOST_EXPRESSIONS = 500000 };

/* The functions being inlined, innermost first. */
typedef struct Call {
    const Fn *fn;
    const struct Call *outer;
} Call;

/* ---- Scopes ---- */

static void scope_free(Scope *scope) {
    names_free(&scope->names);
    mem_free(scope->items);
}

static const Item *scope_find(const Scope *scope, const char *name) {
    for (; scope; scope = scope->outer) {
        int *position = names_find(&scope->names, name);
        if (position) return &scope->items[*position];
    }
    return NULL;
}

static size_t scope_size(const Scope *scope) {
    size_t n = 0;
    for (; scope; scope = scope->outer) n += scope->count;
    return n;
}

static void scope_bind(Lower *lw, Scope *scope, Name name, Item item) {
    if (failed(lw)) return;
    lw->g->loc = name.loc;
    const Item *known = scope_find(scope, name.text);
    if (known && known->loc.line)
        lower_fail(lw, FRAX_NAME, "'%s' is already bound in line %d; names are bound once", name.text,
                   known->loc.line);
    else if (known)
        lower_fail(lw, FRAX_NAME, "'%s' is a size of this model; names are bound once", name.text);
    else if (!mem_grow(&scope->items, &scope->capacity, scope->count + 1, sizeof *scope->items) ||
             !names_add(&scope->names, name.text, (int)scope->count))
        lower_fail(lw, FRAX_MEMORY, "out of memory while building model %s", lw->g->name);
    if (failed(lw)) return;
    item.loc = name.loc;
    scope->items[scope->count++] = item;
}

/* ---- Names ---- */

static Item unknown_name(Lower *lw, const char *name) {
    const Scope *scope = lw->scope;
    const char *near = NULL;
    for (size_t i = 0; i < lw->model->nsizes; i++)
        if (!strcmp(lw->model->sizes[i], name))
            return item_fail(lw, FRAX_NAME,
                             "size '%s' is not known inside a function; pass it as an argument", name);
    if (find_builtin(name))
        return item_fail(lw, FRAX_NAME, "'%s' is a function; expected a call, as in %s(x)", name, name);
    const char **names = lower_alloc(lw, sizeof *names * (scope_size(scope) + 1));
    if (!names) return (Item){0};
    size_t n = 0;
    for (; scope; scope = scope->outer)
        for (size_t i = 0; i < scope->names.capacity; i++)
            if (scope->names.keys[i]) names[n++] = scope->names.keys[i];
    near = nearest_name(name, names, n);
    return item_fail(lw, FRAX_NAME, near ? "unknown name '%s'; did you mean '%s'?" : "unknown name '%s'",
                     name, near);
}

static Item lower_name(Lower *lw, const Expr *e) {
    const Item *known = scope_find(lw->scope, e->text);
    if (known) return *known;
    if (!strcmp(e->text, "true") || !strcmp(e->text, "false"))
        return (Item){.kind = ITEM_TRUTH, .number = number_whole(e->text[0] == 't')};
    if (!strcmp(e->text, "none")) return (Item){0};
    if (!strcmp(e->text, "pi")) return item_number(number_real(M_PI));
    return unknown_name(lw, e->text);
}

/* ---- Operators and tuples ---- */

static Item lower_unary(Lower *lw, const Expr *e) {
    Item x = lower_expr(lw, e->items[0]);
    lw->g->loc = e->loc;
    if (!strcmp(e->text, "not")) return pointwise(lw, "'not'", OP_not, &x, 1);
    if (x.kind == ITEM_NUMBER && x.number.whole && x.number.integer != INT64_MIN)
        return e->text[0] == '-' ? item_number(number_whole(-x.number.integer)) : x;
    if (e->text[0] == '-') return pointwise(lw, "'-'", OP_neg, &x, 1);
    any_value(lw, x); /* + is for numbers, as - is */
    return x;
}

static Item lower_binary(Lower *lw, const Expr *e) {
    Item a = lower_expr(lw, e->items[0]);
    Item b = lower_expr(lw, e->items[1]);
    lw->g->loc = e->loc;
    return binary_operator(lw, e->text, a, b);
}

static Item lower_tuple(Lower *lw, const Expr *e) {
    Item tuple = {.kind = ITEM_TUPLE, .count = (int)e->count};
    tuple.items = lower_alloc(lw, sizeof *tuple.items * MAX(e->count, (size_t)1));
    for (size_t i = 0; i < e->count && !failed(lw); i++) {
        tuple.items[i] = lower_expr(lw, e->items[i]);
        tuple.items[i].loc = e->items[i]->loc;
    }
    return failed(lw) ? (Item){0} : tuple;
}

/* ---- Functions ---- */

static const Fn *find_fn(const Lower *lw, const char *name) {
    for (size_t i = 0; i < lw->model->file.nfns; i++)
        if (!strcmp(lw->model->file.fns[i].name.text, name)) return &lw->model->file.fns[i];
    return NULL;
}

static void bind_results(Lower *lw, Scope *scope, const Stmt *stmt, Item value) {
    if (stmt->nnames == 1) {
        if (value.kind == ITEM_NOTHING && !failed(lw))
            lower_fail(lw, FRAX_TYPE, "none cannot be bound to '%s'", stmt->names[0].text);
        scope_bind(lw, scope, stmt->names[0], value);
        return;
    }
    lw->g->loc = stmt->names[0].loc;
    if (value.kind != ITEM_TUPLE || (size_t)value.count != stmt->nnames)
        lower_fail(lw, FRAX_TYPE, "%zu names on the left, %d results on the right", stmt->nnames,
                   value.kind == ITEM_TUPLE ? value.count : 1);
    for (size_t i = 0; i < stmt->nnames && !failed(lw); i++)
        scope_bind(lw, scope, stmt->names[i], value.items[i]);
}

static void lower_statements(Lower *lw, const Body *body, Scope *scope) {
    for (size_t i = 0; i < body->nstmts && !failed(lw); i++)
        bind_results(lw, scope, &body->stmts[i], lower_expr(lw, body->stmts[i].value));
}

/* The results of a function's body: one item, or a tuple. */
static Item lower_body(Lower *lw, const Body *body, Scope *scope) {
    const Scope *outer = lw->scope;
    lw->scope = scope;
    lower_statements(lw, body, scope);
    Item tuple = {.kind = ITEM_TUPLE, .count = (int)body->nreturns};
    tuple.items = failed(lw) ? NULL : lower_alloc(lw, sizeof *tuple.items * body->nreturns);
    for (size_t i = 0; i < body->nreturns && !failed(lw); i++)
        tuple.items[i] = lower_expr(lw, body->returns[i]);
    lw->scope = outer;
    if (failed(lw)) return (Item){0};
    return body->nreturns == 1 ? tuple.items[0] : tuple;
}

static Item run_body(Lower *lw, const Body *body, const Name *const names[2], const Item *const items[2],
                     size_t n) {
    Scope scope = {0};
    for (int list = 0; list < 2; list++)
        for (size_t i = 0; names[list] && i < n; i++) scope_bind(lw, &scope, names[list][i], items[list][i]);
    Item result = failed(lw) ? (Item){0} : lower_body(lw, body, &scope);
    scope_free(&scope);
    return result;
}

static bool is_float_value(const Lower *lw, const Item *item) {
    return item->kind == ITEM_VALUE && dtype_is_float(graph_type(lw->g, item->value)->dtype);
}

typedef struct Tangents {
    Item *items;         /* per parameter: a hole, or the number 0 where nothing can vary */
    Value *args, *holes; /* the parameters that vary, and their holes */
    int n;
} Tangents;

static bool make_tangents(Lower *lw, const Item *args, size_t n, Tangents *t) {
    t->items = lower_alloc(lw, sizeof *t->items * (n + 1));
    t->args = failed(lw) ? NULL : lower_alloc(lw, sizeof *t->args * (n + 1));
    t->holes = failed(lw) ? NULL : lower_alloc(lw, sizeof *t->holes * (n + 1));
    for (size_t i = 0; i < n && !failed(lw); i++) {
        t->items[i] = item_number(number_whole(0));
        if (!is_float_value(lw, &args[i])) continue;
        t->args[t->n] = args[i].value;
        t->holes[t->n] = g_hole(lw->g, *graph_type(lw->g, args[i].value), lw->holes++);
        t->items[i] = item_value(t->holes[t->n++]);
    }
    return !failed(lw);
}

/* One result with its given tangent. Numbers broadcast; arrays must have the result's type. */
static Item with_tangent(Lower *lw, const Fn *fn, Item y, Item dy, const Tangents *t) {
    if (failed(lw) || t->n == 0 || is_number(&y)) return y;
    if (!is_float_value(lw, &y))
        return item_fail(lw, FRAX_TYPE, "'%s' has a derivative but no floating result", fn->name.text);
    Type type = *graph_type(lw->g, y.value);
    Value tangent = to_value(lw, dy, type.dtype);
    if (is_number(&dy)) tangent = g_broadcast_to(lw->g, tangent, type.shape);
    return item_value(g_custom(lw->g, y.value, t->args, t->holes, t->n, tangent));
}

static Item apply_derivative(Lower *lw, const Fn *fn, const Item *args, Item y) {
    Tangents t = {0};
    if (failed(lw) || !make_tangents(lw, args, fn->nparams, &t)) return (Item){0};
    const Name *names[2] = {fn->params, fn->tangents};
    const Item *items[2] = {args, t.items};
    Item dy = run_body(lw, fn->derivative, names, items, fn->nparams);
    lw->g->loc = fn->derivative->return_loc;
    int ny = y.kind == ITEM_TUPLE ? y.count : 1, ndy = dy.kind == ITEM_TUPLE ? dy.count : 1;
    if (!failed(lw) && ny != ndy)
        return item_fail(lw, FRAX_TYPE, "'%s' returns %d results, its derivative %d", fn->name.text, ny, ndy);
    if (failed(lw) || y.kind != ITEM_TUPLE) return with_tangent(lw, fn, y, dy, &t);
    for (int i = 0; i < ny; i++) y.items[i] = with_tangent(lw, fn, y.items[i], dy.items[i], &t);
    return y;
}

static size_t param_index(Lower *lw, const Fn *fn, const char *label) {
    const char **names = lower_alloc(lw, sizeof *names * (fn->nparams + 1));
    for (size_t i = 0; names && i < fn->nparams; i++) {
        names[i] = fn->params[i].text;
        if (!strcmp(names[i], label)) return i;
    }
    if (names) fail_unknown(lw, fn->name.text, "argument", label, names, fn->nparams);
    return 0;
}

static Item *bind_args(Lower *lw, const Fn *fn, const Expr *e) {
    Item *args = lower_alloc(lw, sizeof *args * (fn->nparams + 1));
    bool *given = failed(lw) ? NULL : lower_alloc(lw, fn->nparams + 1);
    for (size_t i = 0; i < e->count && !failed(lw); i++) {
        const Name *label = &e->labels[i];
        lw->g->loc = label->text ? label->loc : e->items[i]->loc;
        size_t at = label->text ? param_index(lw, fn, label->text) : i;
        if (failed(lw)) break;
        if (at >= fn->nparams)
            lower_fail(lw, FRAX_TYPE, "'%s' takes %zu arguments, got %zu", fn->name.text, fn->nparams,
                       e->count);
        else if (given[at])
            lower_fail(lw, FRAX_TYPE, "argument '%s' of '%s' is given twice", fn->params[at].text,
                       fn->name.text);
        if (failed(lw)) break;
        args[at] = lower_expr(lw, e->items[i]);
        given[at] = true;
    }
    lw->g->loc = e->loc;
    for (size_t i = 0; i < fn->nparams && !failed(lw); i++)
        if (!given[i])
            lower_fail(lw, FRAX_TYPE, "'%s' lacks its argument '%s'", fn->name.text, fn->params[i].text);
    return args;
}

static Item cyclic(Lower *lw, const Fn *fn, const Call *call) {
    Text chain = {0};
    for (; call && call->fn != fn; call = call->outer)
        text_printf(&chain, ", called by '%s'", call->fn->name.text);
    Item result = item_fail(lw, FRAX_NAME,
                            "function '%s' calls itself%.400s; functions are inlined, so they cannot recur",
                            fn->name.text, chain.data ? chain.data : "");
    text_free(&chain);
    return result;
}

static Item lower_fn(Lower *lw, const Fn *fn, const Expr *e) {
    for (const Call *call = lw->call; call; call = call->outer)
        if (call->fn == fn) return cyclic(lw, fn, lw->call);
    const Item *args = bind_args(lw, fn, e);
    if (failed(lw)) return (Item){0};
    Call call = {fn, lw->call};
    lw->call = &call;
    Item y = run_body(lw, &fn->body, (const Name *const[2]){fn->params}, (const Item *const[2]){args},
                      fn->nparams);
    if (fn->derivative) y = apply_derivative(lw, fn, args, y);
    lw->call = call.outer;
    if (failed(lw) && lw->trace.len < 256)
        text_printf(&lw->trace, "\nin '%s', called from line %d, column %d", fn->name.text, e->loc.line,
                    e->loc.column);
    return y;
}

/* ---- Expressions ---- */

static Item lower_call(Lower *lw, const Expr *e) {
    const Fn *fn = find_fn(lw, e->text);
    return fn ? lower_fn(lw, fn, e) : lower_builtin(lw, e);
}

static Item lower_number(Lower *lw, const Expr *e) {
    (void)lw;
    return item_number(e->number);
}

Item apply_function(Lower *lw, const Item *function, const Item *args, size_t n, const char *what) {
    if (failed(lw)) return (Item){0};
    const Expr *e = function->function;
    const char *builtin = lw->builtin;
    Scope scope = {.outer = lw->scope};
    size_t names = e->count - 1;
    lw->g->loc = e->loc;
    if (names != n)
        lower_fail(lw, FRAX_TYPE, "%s: the function has %zu name%s, expected %zu: %s", builtin, names,
                   names == 1 ? "" : "s", n, what);
    for (size_t i = 0; i < n && !failed(lw); i++)
        scope_bind(lw, &scope, (Name){e->items[i]->text, e->items[i]->loc}, args[i]);
    lw->scope = &scope;
    Item result = lower_expr(lw, e->items[names]);
    lw->scope = scope.outer;
    lw->builtin = builtin;
    scope_free(&scope);
    return result;
}

static Item lower_stray_function(Lower *lw, const Expr *e) {
    (void)e;
    return item_fail(lw, FRAX_SYNTAX,
                     "a function of this form is an argument of some built-ins only, as in "
                     "spectral_filter(x, w => (0, w)); one with a name is written fn name(w) { return … }");
}

static Item lower_misplaced(Lower *lw, const Expr *e) {
    return item_fail(lw, FRAX_SYNTAX, "%s belongs into a subscript",
                     e->kind == EXPR_RANGE ? "a slice" : "'...'");
}

Item lower_expr(Lower *lw, const Expr *e) {
    static Item (*const rules[])(Lower *, const Expr *) = {
        [EXPR_NUMBER] = lower_number,      [EXPR_NAME] = lower_name,
        [EXPR_UNARY] = lower_unary,        [EXPR_BINARY] = lower_binary,
        [EXPR_CALL] = lower_call,          [EXPR_INDEX] = lower_index,
        [EXPR_TUPLE] = lower_tuple,        [EXPR_RANGE] = lower_misplaced,
        [EXPR_ELLIPSIS] = lower_misplaced, [EXPR_FUNCTION] = lower_stray_function,
    };
    if (failed(lw)) return (Item){0};
    lw->g->loc = e->loc;
    if (lw->depth >= DEEPEST)
        return item_fail(lw, FRAX_SYNTAX, "expressions nest more than %d deep through function calls",
                         DEEPEST);
    if (lw->budget-- <= 0)
        return item_fail(lw, FRAX_SYNTAX, "inlined functions make more than %d expressions",
                         MOST_EXPRESSIONS);
    lw->depth++;
    Item item = rules[e->kind](lw, e);
    lw->depth--;
    item.loc = e->loc;
    return failed(lw) ? (Item){0} : item;
}

/* ---- Declarations ---- */

static int64_t lower_size(Lower *lw, const Decl *decl, int axis) {
    const Expr *e = decl->type.dims[axis];
    Item item = lower_expr(lw, e);
    lw->g->loc = e->loc;
    int64_t size = 0;
    char what[96];
    snprintf(what, sizeof what, "axis %d of '%.60s'", axis, decl->name.text);
    if (whole_item(lw, &item, what, &size) && size < 0)
        lower_fail(lw, FRAX_SHAPE, "%s has size %lld, expected 0 or more", what, (long long)size);
    return size;
}

static Type lower_type(Lower *lw, const Decl *decl) {
    Type type = {.dtype = decl->type.dtype, .shape.rank = decl->type.rank};
    for (int i = 0; i < type.shape.rank && !failed(lw); i++) type.shape.dims[i] = lower_size(lw, decl, i);
    return type;
}

typedef struct InitRule {
    const char *name;
    int arity;
    Init init;
    double value; /* of the constant ones */
} InitRule;

static const InitRule init_rules[] = {{"zeros", 0, INIT_CONSTANT, 0}, {"ones", 0, INIT_CONSTANT, 1},
                                      {"glorot", 0, INIT_GLOROT, 0},  {"he", 0, INIT_HE, 0},
                                      {"normal", 1, INIT_NORMAL, 0},  {"uniform", 2, INIT_UNIFORM, 0}};

static const InitRule *find_init(const Expr *e) {
    if (e->kind != EXPR_NAME && e->kind != EXPR_CALL) return NULL;
    for (size_t i = 0; i < COUNT(init_rules); i++)
        if (!strcmp(init_rules[i].name, e->text)) return &init_rules[i];
    return NULL;
}

static double init_number(Lower *lw, const Expr *e) {
    const char *names[COUNT(init_rules)];
    for (size_t i = 0; i < COUNT(names); i++) names[i] = init_rules[i].name;
    if ((e->kind == EXPR_NAME || e->kind == EXPR_CALL) && !scope_find(lw->scope, e->text) &&
        !find_builtin(e->text) && nearest_name(e->text, names, COUNT(names)))
        fail_unknown(lw, "param", "initial value", e->text, names, COUNT(names));
    Item item = lower_expr(lw, e);
    lw->g->loc = e->loc;
    if (item.kind != ITEM_NUMBER)
        lower_fail(lw, FRAX_TYPE,
                   "expected a constant number, or zeros, ones, glorot, he, normal(std), uniform(lo, hi)");
    return item.number.value;
}

/* Initial values that no draw could have. */
static void check_init(Lower *lw, const Decl *decl, const InitRule *rule, const double *values) {
    if (rule->init == INIT_NORMAL && values[0] < 0)
        lower_fail(lw, FRAX_VALUE, "normal: the standard deviation is %g, expected 0 or more", values[0]);
    if (rule->init == INIT_UNIFORM && values[0] > values[1])
        lower_fail(lw, FRAX_VALUE, "uniform: the range %g to %g is empty", values[0], values[1]);
    if ((rule->init == INIT_GLOROT || rule->init == INIT_HE) && decl->type.rank < 2)
        lower_fail(lw, FRAX_SHAPE, "%s needs two axes, of inputs and of outputs; '%s' has rank %d",
                   rule->name, decl->name.text, decl->type.rank);
}

static Value lower_param(Lower *lw, const Decl *decl) {
    const Expr *e = decl->init;
    const InitRule *rule = find_init(e), constant = {"number", 0, INIT_CONSTANT, 0};
    size_t nargs = e->kind == EXPR_CALL ? e->count : 0;
    double values[2] = {0};
    lw->g->loc = e->loc;
    if (rule && nargs != (size_t)rule->arity)
        lower_fail(lw, FRAX_TYPE, "%s takes %d numbers, got %zu", rule->name, rule->arity, nargs);
    if (!rule || rule->arity == 0)
        values[0] = rule ? rule->value : init_number(lw, e);
    else
        for (size_t i = 0; i < nargs && !failed(lw); i++) values[i] = init_number(lw, e->items[i]);
    rule = rule ? rule : &constant;
    Type type = lower_type(lw, decl);
    lw->g->loc = e->loc;
    check_init(lw, decl, rule, values);
    if (!failed(lw)) to_value(lw, item_number(number_real(values[0])), type.dtype); /* in the dtype's range */
    lw->g->loc = decl->name.loc;
    if (!dtype_is_float(type.dtype))
        lower_fail(lw, FRAX_TYPE, "param '%s' is %s; a param is learnable, so it has a floating dtype",
                   decl->name.text, frax_dtype_name(type.dtype));
    return failed(lw) ? NO_VALUE : g_param(lw->g, decl->name.text, type, rule->init, values[0], values[1]);
}

static void lower_declarations(Lower *lw, const ModelDecl *model, Scope *scope) {
    for (size_t i = 0; i < model->ninputs && !failed(lw); i++) {
        Type type = lower_type(lw, &model->inputs[i]);
        lw->g->loc = model->inputs[i].name.loc;
        Value v = failed(lw) ? NO_VALUE : g_input(lw->g, model->inputs[i].name.text, type);
        scope_bind(lw, scope, model->inputs[i].name, item_value(v));
    }
    for (size_t i = 0; i < model->nparams && !failed(lw); i++)
        scope_bind(lw, scope, model->params[i].name, item_value(lower_param(lw, &model->params[i])));
}

/* ---- Models ---- */

static void lower_outputs(Lower *lw, const Body *body) {
    for (size_t i = 0; i < body->nreturns && !failed(lw); i++) {
        const Expr *e = body->returns[i];
        lw->g->loc = e->loc;
        if (e->kind != EXPR_NAME)
            lower_fail(lw, FRAX_NAME,
                       "a model's outputs carry names; bind this expression to one and return that");
        for (size_t j = 0; j < i && !failed(lw); j++)
            if (!strcmp(body->returns[j]->text, e->text))
                lower_fail(lw, FRAX_NAME, "output '%s' is returned twice", e->text);
        Value v = any_value(lw, lower_expr(lw, e));
        if (!failed(lw)) graph_output(lw->g, e->text, v);
    }
}

static void lower_all(Lower *lw, const int64_t *values) {
    const FraxModel *model = lw->model;
    Scope scope = {0};
    for (size_t i = 0; i < model->nsizes; i++) {
        scope_bind(lw, &scope, (Name){model->sizes[i], model->size_locs[i]},
                   item_number(number_whole(values[i])));
        if (!failed(lw))
            scope.items[i].loc.line = 0; /* marks a size, for the message about a second binding */
    }
    lw->scope = &scope;
    lower_declarations(lw, model->decl, &scope);
    lower_statements(lw, &model->decl->body, &scope);
    lower_outputs(lw, &model->decl->body);
    scope_free(&scope);
}

FraxStatus lower_model(const FraxModel *model, const int64_t *values, Sizes sizes, Graph **out, Text *trace,
                       FraxError *err) {
    *out = NULL;
    Graph *g = graph_create(model->decl->name.text, model->source.file);
    if (!g) return fail_memory(err, "building a model");
    Lower lw = {.g = g, .model = model, .sizes = sizes, .budget = MOST_EXPRESSIONS};
    lower_all(&lw, values);
    *trace = lw.trace;
    FraxStatus status = graph_status(g, err);
    if (status)
        graph_destroy(g);
    else
        *out = g;
    return status;
}
