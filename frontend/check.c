/* check.c — typing a model for sizes in general.
 *
 * The model is lowered several times with different large sizes, and each time its types, or its fault, are
 * written as text. Texts that agree but for their numbers are one text about symbols: every number that
 * varies is matched with c + p/q m, then with c + p/q m + r/s n, over monomials m, n of the symbols, and
 * replaced by that expression. A number that no such expression explains is printed as ?.
 *
 * The sizes are multiples of every literal divisor in the model, so that exact divisions succeed; if symbols
 * divide each other, families of sizes in which they do are tried too. A last, odd assignment verifies that
 * an expression does not owe its success to those multiples: x[::2] has not N/2 elements in general.
 */
#include "lower.h"
#include <string.h>

enum { ASSIGNMENTS = 6, MOST_MONOMIALS = 120, LARGEST_FACTOR = 1000000 };

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

static int64_t model_divisors(const FraxModel *m) {
    int64_t scale = body_divisors(&m->decl->body, m->nsizes <= 4 ? 720 : 60);
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
    trial->status = lower_model(m, values, &g, &trial->trace, &trial->err);
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

/* ---- Numbers as expressions of symbols ---- */

typedef struct Monomial {
    int symbols[3], degree;
    int64_t values[ASSIGNMENTS + 1];
} Monomial;

typedef struct Fitter {
    const FraxModel *model;
    int n, nodd; /* assignments, and those of them with the odd one */
    Monomial *monomials;
    int count;
} Fitter;

static void add_monomial(Fitter *f, int64_t (*sizes)[ASSIGNMENTS + 1], const int *symbols, int degree) {
    if (f->count == MOST_MONOMIALS) return;
    Monomial *m = &f->monomials[f->count];
    *m = (Monomial){.degree = degree};
    for (int k = 0; k < f->nodd; k++) {
        m->values[k] = 1;
        for (int d = 0; d < degree; d++) {
            m->symbols[d] = symbols[d];
            if (mul_overflows(m->values[k], sizes[symbols[d]][k], &m->values[k]) || m->values[k] > (int64_t)1
                                                                                                       << 52)
                return; /* beyond what the fits below can hold */
        }
    }
    f->count++;
}

static void list_monomials(Fitter *f, int64_t (*sizes)[ASSIGNMENTS + 1]) {
    int n = (int)MIN(f->model->nsizes, (size_t)12);
    for (int i = 0; i < n; i++) add_monomial(f, sizes, (int[]){i}, 1);
    for (int i = 0; i < n; i++)
        for (int j = i; j < n; j++) add_monomial(f, sizes, (int[]){i, j}, 2);
    for (int i = 0; i < n; i++)
        for (int j = i; j < n; j++)
            for (int k = j; k < n; k++) add_monomial(f, sizes, (int[]){i, j, k}, 3);
}

/* constant + Σ p_i/q_i m_i */
typedef struct Fit {
    int64_t constant, p[2], q[2];
    const Monomial *m[2];
    int terms;
} Fit;

static bool fit_holds(const Fitter *f, const Fit *fit, const int64_t *d) {
    for (int k = 0; k < f->nodd; k++) {
        __int128 left = d[k] - fit->constant, right = 0, q = 1;
        for (int t = 0; t < fit->terms; t++) q *= fit->q[t];
        for (int t = 0; t < fit->terms; t++) right += q / fit->q[t] * fit->p[t] * fit->m[t]->values[k];
        if (left * q != right) return false;
    }
    return true;
}

static bool ratio(__int128 num, __int128 den, int64_t *p, int64_t *q) {
    if (den == 0) return false;
    __int128 a = num < 0 ? -num : num, b = den < 0 ? -den : den;
    while (b) {
        __int128 t = a % b;
        a = b;
        b = t;
    }
    if (a == 0) return false;
    num /= a;
    den /= a;
    if (den < 0) num = -num, den = -den;
    if (num > LARGEST_FACTOR || num < -LARGEST_FACTOR || den > LARGEST_FACTOR) return false;
    *p = (int64_t)num;
    *q = (int64_t)den;
    return true;
}

/* The constant that makes the first assignment fit, if it is a whole number. */
static bool settle_constant(Fit *fit, const int64_t *d) {
    __int128 q = 1, sum = 0;
    for (int t = 0; t < fit->terms; t++) q *= fit->q[t];
    for (int t = 0; t < fit->terms; t++) sum += q / fit->q[t] * fit->p[t] * fit->m[t]->values[0];
    if (sum % q) return false;
    __int128 constant = d[0] - sum / q;
    if (constant > LARGEST_FACTOR || constant < -LARGEST_FACTOR) return false;
    fit->constant = (int64_t)constant;
    return true;
}

static bool fit_one(const Fitter *f, const int64_t *d, Fit *fit) {
    for (int i = 0; i < f->count; i++) {
        const int64_t *m = f->monomials[i].values;
        *fit = (Fit){.m = {&f->monomials[i]}, .terms = 1};
        if (ratio((__int128)d[1] - d[0], (__int128)m[1] - m[0], &fit->p[0], &fit->q[0]) && fit->p[0] &&
            settle_constant(fit, d) && fit_holds(f, fit, d))
            return true;
    }
    return false;
}

/* Cramer's rule on the differences of three assignments. */
static bool fit_two(const Fitter *f, const int64_t *d, Fit *fit) {
    __int128 d1 = d[1] - d[0], d2 = d[2] - d[0];
    for (int i = 0; i < f->count; i++)
        for (int j = i + 1; j < f->count; j++) {
            const int64_t *m = f->monomials[i].values, *n = f->monomials[j].values;
            __int128 m1 = m[1] - m[0], m2 = m[2] - m[0], n1 = n[1] - n[0], n2 = n[2] - n[0];
            __int128 det = m1 * n2 - m2 * n1;
            *fit = (Fit){.m = {&f->monomials[i], &f->monomials[j]}, .terms = 2};
            if (ratio(d1 * n2 - d2 * n1, det, &fit->p[0], &fit->q[0]) &&
                ratio(m1 * d2 - m2 * d1, det, &fit->p[1], &fit->q[1]) && fit->p[0] && fit->p[1] &&
                settle_constant(fit, d) && fit_holds(f, fit, d))
                return true;
        }
    return false;
}

static void write_term(const Fitter *f, const Fit *fit, int t, Text *out) {
    int64_t p = fit->p[t], size = p < 0 ? -p : p;
    text_printf(out, "%s", p < 0 ? "-" : t ? "+" : "");
    if (size != 1) text_printf(out, "%lld*", (long long)size);
    for (int i = 0; i < fit->m[t]->degree; i++)
        text_printf(out, "%s%s", i ? "*" : "", f->model->sizes[fit->m[t]->symbols[i]]);
    if (fit->q[t] != 1) text_printf(out, "/%lld", (long long)fit->q[t]);
}

static void write_number(const Fitter *f, const int64_t *d, Text *out) {
    bool constant = true;
    Fit fit;
    for (int k = 1; k < f->nodd; k++) constant = constant && d[k] == d[0];
    if (constant) {
        text_printf(out, "%lld", (long long)d[0]);
    } else if (fit_one(f, d, &fit) || fit_two(f, d, &fit)) {
        for (int t = 0; t < fit.terms; t++) write_term(f, &fit, t, out);
        if (fit.constant) text_printf(out, "%+lld", (long long)fit.constant);
    } else {
        text_printf(out, "?");
    }
}

/* ---- Texts that differ in their numbers ---- */

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool read_number(const char **at, int64_t *value) {
    *value = 0;
    if (!is_digit(**at)) return false;
    for (; is_digit(**at); ++*at)
        if (mul_overflows(*value, 10, value) || __builtin_add_overflow(*value, **at - '0', value))
            return false;
    return true;
}

/* Writes the texts as one; false if they differ in more than numbers. */
static bool merge_texts(const Fitter *f, const Trial *trials, Text *out) {
    const char *at[ASSIGNMENTS + 1];
    int64_t d[ASSIGNMENTS + 1];
    for (int k = 0; k < f->nodd; k++) at[k] = trials[k].text.data ? trials[k].text.data : "";
    for (;;) {
        bool number = is_digit(*at[0]);
        for (int k = 1; k < f->nodd; k++)
            if (is_digit(*at[k]) != number || (!number && *at[k] != *at[0])) return false;
        if (!number) {
            if (!*at[0]) return true;
            text_append(out, at[0], 1);
            for (int k = 0; k < f->nodd; k++) at[k]++;
            continue;
        }
        for (int k = 0; k < f->nodd; k++)
            if (!read_number(&at[k], &d[k])) return false;
        write_number(f, d, out);
    }
}

/* ---- Checking ---- */

typedef struct Check {
    FraxModel *model;
    int64_t (*sizes)[ASSIGNMENTS + 1]; /* per symbol */
    int64_t *values;
    Monomial *monomials;
    Trial trials[ASSIGNMENTS + 1]; /* the last one has odd sizes */
} Check;

static void run_family(Check *c, Family family, int64_t scale) {
    size_t n = c->model->nsizes;
    free_trials(c->trials, ASSIGNMENTS + 1);
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

/* The message or types of all trials as one text about symbols. */
static bool merge_trials(Check *c, Text *out) {
    Fitter f = {.model = c->model, .n = ASSIGNMENTS, .nodd = ASSIGNMENTS, .monomials = c->monomials};
    if (c->model->nsizes == 0) f.nodd = 1;
    for (int k = 1; k < f.nodd; k++)
        if (c->trials[k].status != c->trials[0].status) return false;
    /* Odd sizes may be impossible, as where the model halves one; then they verify nothing. */
    if (f.nodd > 1 && c->trials[ASSIGNMENTS].status == c->trials[0].status) f.nodd++;
    list_monomials(&f, c->sizes);
    if (merge_texts(&f, c->trials, out)) return true;
    if (f.nodd <= ASSIGNMENTS) return false;
    text_free(out);
    f.nodd = ASSIGNMENTS;
    return c->trials[0].status && merge_texts(&f, c->trials, out);
}

static FraxStatus report_fault(Check *c, FraxError *err) {
    Trial *trial = &c->trials[0];
    Text message = {0};
    *err = trial->err;
    if (err->status != FRAX_MEMORY && merge_trials(c, &message) && message.data)
        snprintf(err->message, sizeof err->message, "%s", message.data);
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
    if (merge_trials(c, &types) && !types.failed)
        status = keep_types(c->model, types.data ? types.data : "", err);
    else if (types.failed)
        status = fail_memory(err, "checking a model");
    else
        status = fail(err, FRAX_SHAPE, "%s: the types of model %s's outputs depend on its sizes",
                      c->model->source.file, c->model->decl->name.text);
    text_free(&types);
    return status;
}

static FraxStatus run_check(Check *c, FraxError *err) {
    int64_t scale = model_divisors(c->model);
    run_family(c, INDEPENDENT, scale);
    for (Family family = ASCENDING; family < FAMILIES && c->trials[0].status == FRAX_VALUE; family++)
        run_family(c, family, scale);
    if (c->trials[0].status == FRAX_VALUE && c->model->nsizes) run_family(c, INDEPENDENT, scale);
    for (int k = 0; k <= ASSIGNMENTS; k++)
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
                    model_value_type(m, role, i));
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
    c->monomials = mem_calloc(MOST_MONOMIALS, sizeof *c->monomials);
    if (c->sizes && c->values && c->monomials)
        status = run_check(c, err);
    else
        fail_memory(err, "checking a model");
    free_trials(c->trials, ASSIGNMENTS + 1);
    mem_free(c->sizes);
    mem_free(c->values);
    mem_free(c->monomials);
    mem_free(c);
    if (!status && signature) {
        write_signature(model, signature);
        if (signature->failed) status = fail_memory(err, "writing a signature");
    }
    return status;
}
