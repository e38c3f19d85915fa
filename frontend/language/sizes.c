/* sizes.c — size symbols: collecting them from declared shapes, writing sizes, and solving for symbols.
 *
 * A model's symbols are the names in the shapes of its inputs and params, in order of appearance. Binding
 * reads each dimension of a given input as an equation; one that is linear in its only unknown symbol is
 * solved, and the others wait until their symbols are known and are then checked.
 */
#include "lower.h"
#include <string.h>

/* ---- Writing ---- */

static int precedence(const Expr *e) {
    if (e->kind == EXPR_BINARY) return strchr("+-", e->text[0]) ? 1 : 2;
    return e->kind == EXPR_UNARY ? 3 : 4;
}

static void operand_text(const Expr *e, int least, Text *out) {
    bool brackets = precedence(e) < least;
    if (brackets) text_printf(out, "(");
    size_text(e, out);
    if (brackets) text_printf(out, ")");
}

void size_text(const Expr *e, Text *out) {
    int level = precedence(e);
    switch (e->kind) {
    case EXPR_NUMBER: text_printf(out, "%lld", (long long)e->number.integer); break;
    case EXPR_UNARY:
        text_printf(out, "%s", e->text);
        operand_text(e->items[0], level, out);
        break;
    case EXPR_BINARY:
        operand_text(e->items[0], level, out);
        text_printf(out, "%s", e->text);
        operand_text(e->items[1], level + 1, out); /* from the left: a-(b-c) keeps its brackets */
        break;
    default: text_printf(out, "%s", e->text);
    }
}

/* ---- Collecting ---- */

typedef struct Collect {
    FraxModel *model;
    NameMap known;
    size_t capacity;
    bool failed;
} Collect;

static void collect_symbols(Collect *c, const Expr *e) {
    FraxModel *m = c->model;
    for (size_t i = 0; (e->kind == EXPR_UNARY || e->kind == EXPR_BINARY) && i < e->count; i++)
        collect_symbols(c, e->items[i]);
    if (e->kind != EXPR_NAME || names_find(&c->known, e->text) || c->failed) return;
    if (m->nsizes == c->capacity) {
        size_t grown = MAX(2 * c->capacity, (size_t)8);
        const char **names = arena_alloc(&m->arena, grown * sizeof *names);
        Loc *locs = arena_alloc(&m->arena, grown * sizeof *locs);
        c->failed = !names || !locs;
        if (c->failed) return;
        if (m->nsizes) {
            memcpy(names, m->sizes, m->nsizes * sizeof *names);
            memcpy(locs, m->size_locs, m->nsizes * sizeof *locs);
        }
        m->sizes = names;
        m->size_locs = locs;
        c->capacity = grown;
    }
    c->failed = !names_add(&c->known, e->text, (int)m->nsizes);
    m->sizes[m->nsizes] = e->text;
    m->size_locs[m->nsizes++] = e->loc;
}

/* f32[8*N,10], as declared */
static const char *declared_type(FraxModel *m, const TypeExpr *type) {
    Text text = {0};
    text_printf(&text, "%s[", frax_dtype_name(type->dtype));
    for (int i = 0; i < type->rank; i++) {
        if (i) text_printf(&text, ",");
        size_text(type->dims[i], &text);
    }
    text_printf(&text, "]");
    const char *copy = text.failed ? NULL : arena_strndup(&m->arena, text.data, text.len);
    text_free(&text);
    return copy;
}

static void declare_list(Collect *c, const Decl *decls, size_t n, FraxRole role) {
    FraxModel *m = c->model;
    m->types[role] = arena_alloc(&m->arena, sizeof(char *) * (n + 1));
    c->failed |= !m->types[role];
    for (size_t i = 0; i < n && !c->failed; i++) {
        for (int k = 0; k < decls[i].type.rank; k++) collect_symbols(c, decls[i].type.dims[k]);
        m->types[role][i] = declared_type(m, &decls[i].type);
        c->failed |= !m->types[role][i];
    }
}

FraxStatus model_declare(FraxModel *model, FraxError *err) {
    Collect c = {.model = model};
    const ModelDecl *decl = model->decl;
    declare_list(&c, decl->inputs, decl->ninputs, FRAX_INPUT);
    if (!c.failed) declare_list(&c, decl->params, decl->nparams, FRAX_PARAM);
    names_free(&c.known);
    return c.failed ? fail_memory(err, "reading a model") : FRAX_OK;
}

/* ---- Solving ---- */

enum { UNKNOWN = -1 };

/* (a + b u) / d for the one unknown u; d > 0. */
typedef struct Linear {
    int64_t a, b, d;
    int unknown; /* position of u among the symbols, or UNKNOWN: none */
    enum { SOLVABLE, NONLINEAR, OVERFLOWS, DIVIDES_BY_ZERO } state;
} Linear;

static Linear reduce_fraction(Linear l) {
    int64_t x = l.a, y = l.b, g = l.d;
    while (x) {
        int64_t t = g % x;
        g = x;
        x = t;
    }
    while (y) {
        int64_t t = g % y;
        g = y;
        y = t;
    }
    if (g == 0) return l;
    if ((g < 0) != (l.d < 0)) g = -g;
    l.a /= g;
    l.b /= g;
    l.d /= g;
    return l;
}

static Linear bad(Linear l, int state) {
    l.state = state;
    return l;
}

static Linear add_linear(Linear x, Linear y, int64_t sign) {
    Linear r = {.unknown = x.unknown == UNKNOWN ? y.unknown : x.unknown};
    int64_t p[4];
    if (x.unknown != UNKNOWN && y.unknown != UNKNOWN && x.unknown != y.unknown) return bad(r, NONLINEAR);
    bool over = mul_overflows(x.a, y.d, &p[0]) || mul_overflows(y.a, x.d, &p[1]) ||
                mul_overflows(x.b, y.d, &p[2]) || mul_overflows(y.b, x.d, &p[3]) ||
                mul_overflows(x.d, y.d, &r.d) || mul_overflows(p[1], sign, &p[1]) ||
                mul_overflows(p[3], sign, &p[3]) || __builtin_add_overflow(p[0], p[1], &r.a) ||
                __builtin_add_overflow(p[2], p[3], &r.b);
    return over ? bad(r, OVERFLOWS) : reduce_fraction(r);
}

static Linear multiply_linear(Linear x, Linear y) {
    Linear r = {.unknown = x.unknown == UNKNOWN ? y.unknown : x.unknown};
    int64_t p, q;
    if (x.b && y.b) return bad(r, NONLINEAR);
    bool over = mul_overflows(x.a, y.a, &r.a) || mul_overflows(x.a, y.b, &p) || mul_overflows(x.b, y.a, &q) ||
                __builtin_add_overflow(p, q, &r.b) || mul_overflows(x.d, y.d, &r.d);
    return over ? bad(r, OVERFLOWS) : reduce_fraction(r);
}

static Linear divide_linear(Linear x, Linear y) {
    if (y.b) return bad(x, NONLINEAR);
    if (y.a == 0) return bad(x, DIVIDES_BY_ZERO);
    Linear inverse = {.a = y.a < 0 ? -y.d : y.d, .d = y.a < 0 ? -y.a : y.a, .unknown = UNKNOWN};
    if (y.a == INT64_MIN) return bad(x, OVERFLOWS);
    return multiply_linear(x, inverse);
}

static int symbol_position(const FraxModel *m, const char *name) {
    int i = 0;
    while (strcmp(m->sizes[i], name)) i++;
    return i;
}

static Linear linear_form(const FraxModel *m, const Expr *e, const int64_t *values) {
    Linear r = {.d = 1, .unknown = UNKNOWN};
    if (e->kind == EXPR_NUMBER) {
        r.a = e->number.integer;
    } else if (e->kind == EXPR_NAME) {
        int i = symbol_position(m, e->text);
        r.unknown = values[i] < 0 ? i : UNKNOWN;
        r.a = values[i] < 0 ? 0 : values[i];
        r.b = values[i] < 0;
    } else {
        Linear x = linear_form(m, e->items[0], values);
        if (x.state) return x;
        if (e->kind == EXPR_UNARY) return e->text[0] == '-' ? add_linear(r, x, -1) : x;
        Linear y = linear_form(m, e->items[1], values);
        if (y.state) return y;
        switch (e->text[0]) {
        case '+': return add_linear(x, y, 1);
        case '-': return add_linear(x, y, -1);
        case '*': return multiply_linear(x, y);
        default: return divide_linear(x, y);
        }
    }
    return r;
}

/* ---- Binding ---- */

typedef struct Binding {
    const FraxModel *model;
    int64_t *values; /* −1: not known yet */
    char (*source)[96];
    FraxError *err;
} Binding;

static FraxStatus bind_given(Binding *b, const FraxSize *size) {
    const FraxModel *m = b->model;
    if (!size->name) return fail(b->err, FRAX_USAGE, "a size is given without a name: its name is NULL");
    for (size_t i = 0; i < m->nsizes; i++) {
        if (strcmp(m->sizes[i], size->name)) continue;
        if (size->value < 0)
            return fail(b->err, FRAX_SHAPE, "size %s is given as %lld, expected 0 or more", size->name,
                        (long long)size->value);
        if (b->values[i] >= 0 && b->values[i] != size->value)
            return fail(b->err, FRAX_SHAPE, "size %s is given twice, as %lld and as %lld", size->name,
                        (long long)b->values[i], (long long)size->value);
        b->values[i] = size->value;
        snprintf(b->source[i], sizeof b->source[i], "as given");
        return FRAX_OK;
    }
    const char *near = nearest_name(size->name, m->sizes, m->nsizes);
    return fail(b->err, FRAX_NAME,
                near ? "model %s has no size '%s'; did you mean '%s'?" : "model %s has no size '%s'",
                m->decl->name.text, size->name, near);
}

/* "; N = 128 from axis 1 of input x", for the symbols of a size. */
static void write_sources(const Binding *b, const Expr *e, Text *out) {
    if (e->kind == EXPR_UNARY || e->kind == EXPR_BINARY)
        for (size_t i = 0; i < e->count; i++) write_sources(b, e->items[i], out);
    if (e->kind != EXPR_NAME) return;
    int i = symbol_position(b->model, e->text);
    if (b->values[i] >= 0)
        text_printf(out, "%s %s = %lld %s", out->len ? "," : ";", e->text, (long long)b->values[i],
                    b->source[i]);
}

static FraxStatus mismatch(const Binding *b, const Decl *input, int axis, int64_t got, const Linear *l) {
    const Expr *e = input->type.dims[axis];
    Text size = {0}, sources = {0};
    char value[32] = "";
    size_text(e, &size);
    write_sources(b, e, &sources);
    bool known = l->state == SOLVABLE && l->unknown == UNKNOWN && l->d == 1;
    if (known && e->kind != EXPR_NUMBER) snprintf(value, sizeof value, " = %lld", (long long)l->a);
    FraxStatus status = fail(b->err, FRAX_SHAPE, "input %s has size %lld on axis %d, %s %s%s%s",
                             input->name.text, (long long)got, axis, known ? "expected" : "which cannot be",
                             size.data ? size.data : "", value, sources.data ? sources.data : "");
    if (size.failed || sources.failed) status = fail_memory(b->err, "binding sizes");
    text_free(&size);
    text_free(&sources);
    return status;
}

/* Solves one dimension, or checks it. *open: it still holds more than can be solved. */
static FraxStatus bind_axis(Binding *b, const Decl *input, int axis, int64_t got, bool *open) {
    Linear l = linear_form(b->model, input->type.dims[axis], b->values);
    int64_t right;
    *open = l.state == NONLINEAR;
    if (*open) return FRAX_OK;
    if (l.state || mul_overflows(got, l.d, &right) || __builtin_sub_overflow(right, l.a, &right))
        return mismatch(b, input, axis, got, &l);
    if (l.b == 0) return right == 0 ? FRAX_OK : mismatch(b, input, axis, got, &l);
    if (right % l.b || right / l.b < 0) return mismatch(b, input, axis, got, &l);
    b->values[l.unknown] = right / l.b;
    snprintf(b->source[l.unknown], sizeof b->source[l.unknown], "from axis %d of input %.60s", axis,
             input->name.text);
    return FRAX_OK;
}

static FraxStatus check_tensor(const Binding *b, const Decl *input, const FraxTensor *tensor,
                               const char *type) {
    if (tensor->dtype != input->type.dtype)
        return fail(b->err, FRAX_TYPE, "input %s is %s, expected %s", input->name.text,
                    frax_dtype_name(tensor->dtype), type);
    if (tensor->rank != input->type.rank)
        return fail(b->err, FRAX_SHAPE, "input %s has rank %d, expected %s", input->name.text, tensor->rank,
                    type);
    return FRAX_OK;
}

/* One pass over all given inputs; *open: some dimension is not settled; *progress: a symbol was found. */
static FraxStatus bind_pass(Binding *b, const FraxTensor *const *inputs, bool *open, bool *progress) {
    const FraxModel *m = b->model;
    *open = *progress = false;
    for (size_t i = 0; i < m->decl->ninputs; i++) {
        const Decl *input = &m->decl->inputs[i];
        if (!inputs[i]) continue;
        FraxStatus status = check_tensor(b, input, inputs[i], m->types[FRAX_INPUT][i]);
        for (int k = 0; k < input->type.rank && !status; k++) {
            size_t before = 0, after = 0;
            bool left;
            for (size_t s = 0; s < m->nsizes; s++) before += b->values[s] >= 0;
            status = bind_axis(b, input, k, inputs[i]->dims[k], &left);
            for (size_t s = 0; s < m->nsizes; s++) after += b->values[s] >= 0;
            *open |= left;
            *progress |= after > before;
        }
        if (status) return status;
    }
    return FRAX_OK;
}

static FraxStatus check_bound(const Binding *b) {
    const FraxModel *m = b->model;
    for (size_t i = 0; i < m->nsizes; i++)
        if (b->values[i] < 0)
            return fail(
                b->err, FRAX_USAGE,
                "size %s of model %s is not known: no given input fixes it; give it a value (--size %s=…)",
                m->sizes[i], m->decl->name.text, m->sizes[i]);
    return FRAX_OK;
}

FraxStatus model_bind(const FraxModel *model, const FraxTensor *const *inputs, const FraxSize *sizes,
                      size_t nsizes, int64_t *values, FraxError *err) {
    Binding b = {.model = model, .values = values, .err = err};
    b.source = mem_calloc(model->nsizes + 1, sizeof *b.source);
    if (!b.source) return fail_memory(err, "binding sizes");
    FraxStatus status = FRAX_OK;
    bool open = true, progress = true;
    for (size_t i = 0; i < model->nsizes; i++) values[i] = -1;
    for (size_t i = 0; i < nsizes && !status; i++) status = bind_given(&b, &sizes[i]);
    while (inputs && open && progress && !status) status = bind_pass(&b, inputs, &open, &progress);
    if (!status) status = check_bound(&b);
    if (!status && inputs && open) status = bind_pass(&b, inputs, &open, &progress); /* all known: a check */
    mem_free(b.source);
    return status;
}
