/* check.c — typing a model for sizes in general.
 *
 * The model is lowered several times with different large sizes, and each time its types, or its fault, are
 * written as text. Texts that agree but for their numbers are one text about symbols: every number that
 * varies is replaced by the expression of the symbols that fits it (fit.c), or by ? where none does.
 *
 * The sizes are multiples of every literal divisor in the model, so that exact divisions succeed; if symbols
 * divide each other, families of sizes in which they do are tried too. A last, odd assignment verifies that
 * an expression does not owe its success to those multiples: x[::2] has not N/2 elements in general.
 */
#include "fit.h"
#include <string.h>

enum { ASSIGNMENTS = FIT_POINTS - 1 }; /* regular ones; the odd one comes last */

/* ---- Sizes ---- */

/* Distinct symbols are independent of each other, each divides the next, or each divides the one before. */
typedef enum Family { INDEPENDENT, ASCENDING, DESCENDING, FAMILIES } Family;

static int64_t gcd(int64_t a, int64_t b) {
    while (b) {
        int64_t t = a % b;
        a = b;
        b = t;
    }
    return a < 0 ? -a : a;
}

/* lcm of all literal divisors in an expression, while it stays small */
static int64_t divisors(const Expr *e, int64_t scale) {
    if (!e) return scale;
    for (size_t i = 0; i < e->count; i++) scale = divisors(e->items[i], scale);
    if (e->kind != EXPR_BINARY || e->text[0] != '/' || e->items[1]->kind != EXPR_NUMBER) return scale;
    const Number *n = &e->items[1]->number;
    if (!n->whole || n->integer < 1 || n->integer > 1024) return scale;
    int64_t grown = scale / gcd(scale, n->integer) * n->integer;
    return grown <= 100000 ? grown : scale;
}

static int64_t body_divisors(const Body *body, int64_t scale) {
    for (size_t i = 0; i < body->nstmts; i++) scale = divisors(body->stmts[i].value, scale);
    for (size_t i = 0; i < body->nreturns; i++) scale = divisors(body->returns[i], scale);
    return scale;
}

static int64_t model_divisors(const FraxModel *m, int64_t scale) {
    scale = body_divisors(&m->decl->body, scale);
    for (size_t i = 0; i < m->decl->ninputs; i++)
        for (int k = 0; k < m->decl->inputs[i].type.rank; k++)
            scale = divisors(m->decl->inputs[i].type.dims[k], scale);
    for (size_t i = 0; i < m->decl->nparams; i++)
        for (int k = 0; k < m->decl->params[i].type.rank; k++)
            scale = divisors(m->decl->params[i].type.dims[k], scale);
    for (size_t i = 0; i < m->file.nfns; i++) scale = body_divisors(&m->file.fns[i].body, scale);
    return scale;
}

/* The k-th assignment of the i-th of n symbols. Primes keep products of different symbols apart. */
static int64_t assign(Family family, size_t n, int64_t scale, int k, size_t i) {
    static const int primes[] = {11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71};
    int64_t size = scale;
    if (family == INDEPENDENT)
        return scale * primes[(i * 5 + (size_t)k * 3) % COUNT(primes)] + scale * (int64_t)i;
    size_t factors = family == ASCENDING ? i : n - 1 - i;
    for (size_t f = 0; f <= factors && size < 1000000; f++)
        size *= 2 + primes[(f + (size_t)k) % COUNT(primes)] % 5;
    return size;
}

/* ---- One lowering as text ---- */

typedef struct Trial {
    FraxStatus status;
    FraxError err;
    Text text, trace; /* of a fault: its raw message; else one type for each line */
} Trial;

static void run_trial(const FraxModel *m, const int64_t *values, Trial *trial) {
    Graph *g;
    trial->status = lower_model(m, values, SIZES_GENERIC, &g, &trial->trace, &trial->err);
    if (trial->status) {
        text_printf(&trial->text, "%s", trial->err.message);
        return;
    }
    for (size_t i = 0; i < g->noutputs; i++) {
        char type[176];
        text_printf(&trial->text, "%s\n", type_text(graph_type(g, g->outputs[i].value), type));
    }
    graph_destroy(g);
}

static void free_trials(Trial *trials, int n) {
    for (int k = 0; k < n; k++) {
        text_free(&trials[k].text);
        text_free(&trials[k].trace);
    }
}

/* ---- Texts that differ in their numbers ---- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool same_digits(const char *a, const char *b) {
    size_t n = strspn(a, "0123456789");
    return n == strspn(b, "0123456789") && !memcmp(a, b, n);
}

/* False if the number is too large; *at stands behind it in any case. */
static bool read_number(const char **at, int64_t *value) {
    bool fits = true;
    for (*value = 0; is_digit(**at); ++*at)
        fits =
            fits && !mul_overflows(*value, 10, value) && !__builtin_add_overflow(*value, **at - '0', value);
    return fits;
}

/* Writes the texts as one; false if they differ in more than numbers. */
static bool merge_texts(const Fitter *f, const Trial *trials, Text *out) {
    const char *at[FIT_POINTS];
    int64_t d[FIT_POINTS];
    for (int k = 0; k < f->points; k++) at[k] = trials[k].text.data ? trials[k].text.data : "";
    for (;;) {
        bool number = is_digit(*at[0]);
        for (int k = 1; k < f->points; k++)
            if (is_digit(*at[k]) != number || (!number && *at[k] != *at[0])) return false;
        if (!number) {
            if (!*at[0]) return true;
            text_append(out, at[0], 1);
            for (int k = 0; k < f->points; k++) at[k]++;
            continue;
        }
        const char *start = at[0];
        bool same = true; /* then the digits stay as they are, as the zeros in 1.05 */
        for (int k = 1; k < f->points; k++) same = same && same_digits(start, at[k]);
        for (int k = 0; k < f->points; k++)
            if (!read_number(&at[k], &d[k]) && !same) return false;
        if (same) {
            text_append(out, start, (size_t)(at[0] - start));
            continue;
        }
        fit_number(f, d, out);
    }
}

/* ---- Checking ---- */

typedef struct Check {
    FraxModel *model;
    int64_t (*sizes)[FIT_POINTS]; /* per symbol */
    int64_t *values;
    Trial trials[FIT_POINTS]; /* the last one has odd sizes */
} Check;

static void run_family(Check *c, Family family, int64_t scale) {
    size_t n = c->model->nsizes;
    free_trials(c->trials, FIT_POINTS);
    memset(c->trials, 0, sizeof c->trials);
    for (int k = 0; k <= ASSIGNMENTS; k++) {
        if (n == 0 && k > 0) break;
        bool odd = k == ASSIGNMENTS;
        for (size_t i = 0; i < n; i++)
            c->values[i] = c->sizes[i][k] =
                odd ? assign(family, n, scale, 0, i) + 1 : assign(family, n, scale, k, i);
        run_trial(c->model, c->values, &c->trials[k]);
        if (c->trials[k].status == FRAX_MEMORY) return;
    }
}

/* The message or types of all trials as one text about symbols. Odd sizes may be impossible, as where the
   model halves one; then they verify nothing. FRAX_SHAPE, with *err untouched, if the texts do not agree. */
static FraxStatus merge_trials(Check *c, Text *out) {
    FraxStatus status = c->trials[0].status;
    for (int k = 1; k < ASSIGNMENTS && c->model->nsizes; k++)
        if (c->trials[k].status != status) return FRAX_SHAPE;
    bool odd = c->trials[ASSIGNMENTS].status == status, merged = false;
    for (int points = ASSIGNMENTS + odd; points >= ASSIGNMENTS && !merged; points--) {
        Fitter f;
        text_free(out);
        if (fitter_create(&f, c->model, c->sizes, c->model->nsizes ? points : 1))
            merged = merge_texts(&f, c->trials, out);
        bool starved = f.failed || out->failed;
        fitter_free(&f);
        if (starved) return FRAX_MEMORY;
        if (!status) break; /* types that differ for odd sizes are not types in general */
    }
    return merged ? FRAX_OK : FRAX_SHAPE;
}

static FraxStatus report_fault(Check *c, FraxError *err) {
    Trial *trial = &c->trials[0];
    Text message = {0};
    *err = trial->err;
    FraxStatus merged = merge_trials(c, &message);
    if (merged == FRAX_MEMORY) fail_memory(err, "checking a model");
    if (merged == FRAX_OK && message.data) snprintf(err->message, sizeof err->message, "%s", message.data);
    locate_fault(c->model, &trial->trace, err);
    text_free(&message);
    return err->status;
}

/* The lines of `types` become the outputs' types. */
static FraxStatus keep_types(FraxModel *m, const char *types, FraxError *err) {
    size_t n = m->decl->body.nreturns;
    const char **kept = arena_alloc(&m->arena, sizeof *kept * (n + 1));
    if (!kept) return fail_memory(err, "checking a model");
    for (size_t i = 0; i < n; i++) {
        size_t length = strcspn(types, "\n");
        kept[i] = arena_strndup(&m->arena, types, length);
        if (!kept[i]) return fail_memory(err, "checking a model");
        types += length + (types[length] == '\n');
    }
    m->types[FRAX_OUTPUT] = kept;
    return FRAX_OK;
}

/* Types agree in everything but numbers whenever lowering succeeds: dtypes and ranks do not depend on sizes.
 */
static FraxStatus learn_types(Check *c, FraxError *err) {
    Text types = {0};
    FraxStatus status;
    FraxStatus merged = merge_trials(c, &types);
    if (merged == FRAX_OK)
        status = keep_types(c->model, types.data ? types.data : "", err);
    else if (merged == FRAX_MEMORY)
        status = fail_memory(err, "checking a model");
    else
        status = fail(err, FRAX_SHAPE, "%s: the types of model %s's outputs depend on its sizes",
                      c->model->source.file, c->model->decl->name.text);
    text_free(&types);
    return status;
}

static void run_families(Check *c, int64_t scale) {
    run_family(c, INDEPENDENT, scale);
    for (Family family = ASCENDING; family < FAMILIES && c->trials[0].status == FRAX_VALUE; family++)
        run_family(c, family, scale);
    if (c->trials[0].status == FRAX_VALUE && c->model->nsizes) run_family(c, INDEPENDENT, scale);
}

/* An array of many axes may overflow by the sizes chosen here alone. */
static bool is_too_large(const Check *c) {
    for (int k = 0; k < FIT_POINTS; k++)
        if (c->trials[k].status == FRAX_SHAPE && strstr(c->trials[k].err.message, "overflows")) return true;
    return false;
}

static FraxStatus run_check(Check *c, FraxError *err) {
    static const int scales[] = {720, 60, 12, 2};
    size_t first = c->model->nsizes > 4;
    for (size_t i = first; i == first || (i < COUNT(scales) && is_too_large(c)); i++)
        run_families(c, model_divisors(c->model, scales[i]));
    if (is_too_large(c)) run_families(c, 2); /* the divisors were none of sizes, perhaps */
    for (int k = 0; k < FIT_POINTS; k++)
        if (c->trials[k].status == FRAX_MEMORY || c->trials[k].text.failed)
            return fail_memory(err, "checking a model");
    for (int k = 1; k < ASSIGNMENTS && !c->trials[0].status; k++)
        if (c->trials[k].status) { /* a fault that only some sizes have is shown with those sizes */
            *err = c->trials[k].err;
            return locate_fault(c->model, &c->trials[k].trace, err);
        }
    return c->trials[0].status ? report_fault(c, err) : learn_types(c, err);
}

/* ---- The signature ---- */

static void write_values(const FraxModel *m, FraxRole role, const char *between, Text *out) {
    for (size_t i = 0; i < model_count(m, role); i++)
        text_printf(out, "%s%s: %s", i ? between : "", model_value_name(m, role, i),
                    role == FRAX_INPUT && model_is_key(m, i) ? "key" : model_value_type(m, role, i));
}

static void write_signature(const FraxModel *m, Text *out) {
    text_printf(out, "model %s(", model_name(m));
    write_values(m, FRAX_INPUT, ", ", out);
    text_printf(out, ")%s", model_count(m, FRAX_PARAM) ? "\n  param " : "");
    write_values(m, FRAX_PARAM, "\n  param ", out);
    text_printf(out, "\n  return ");
    write_values(m, FRAX_OUTPUT, "\n  return ", out);
    text_printf(out, "\n");
}

FraxStatus model_check(FraxModel *model, Text *signature, FraxError *err) {
    FraxError local;
    err = err ? err : &local;
    Check *c = mem_calloc(1, sizeof *c);
    FraxStatus status = FRAX_MEMORY;
    if (!c) return fail_memory(err, "checking a model");
    c->model = model;
    c->sizes = mem_calloc(model->nsizes + 1, sizeof *c->sizes);
    c->values = mem_calloc(model->nsizes + 1, sizeof *c->values);
    if (c->sizes && c->values)
        status = run_check(c, err);
    else
        fail_memory(err, "checking a model");
    free_trials(c->trials, FIT_POINTS);
    mem_free(c->sizes);
    mem_free(c->values);
    mem_free(c);
    if (!status && signature) {
        write_signature(model, signature);
        if (signature->failed) status = fail_memory(err, "writing a signature");
    }
    return status;
}
