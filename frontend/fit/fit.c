/* fit.c — numbers that vary with the sizes of a model, written as expressions of its size symbols.
 *
 * A number known at several points is matched with c + p/q m, then with c + p/q m + r/s n, where m and n are
 * products of up to three symbols; failing that, with c + p/q m where m may also have factors like (N+1) or
 * N/G that stand in the model's text. Coefficients come from as many points as there are unknowns; all
 * further points verify them.
 */
#include "fit.h"
#include <string.h>

enum { MOST_SYMBOLS = 12, MOST_ATOMS = 20, MOST_PURE = 120, MOST_MONOMIALS = 1200, LARGEST_FACTOR = 1000000 };

/* ---- Atoms ---- */

static int symbol_index(const FraxModel *m, const char *name) {
    for (size_t i = 0; i < m->nsizes; i++)
        if (!strcmp(m->sizes[i], name)) return (int)i;
    return -1;
}

static bool is_size(const FraxModel *m, const Expr *e) {
    if (e->kind == EXPR_NUMBER) return e->number.whole;
    if (e->kind == EXPR_NAME) return symbol_index(m, e->text) >= 0;
    if (e->kind != EXPR_BINARY || e->text[1] || !strchr("+-*/", e->text[0])) return false;
    return is_size(m, e->items[0]) && is_size(m, e->items[1]);
}

static bool size_at(const FraxModel *m, const Expr *e, int64_t (*sizes)[FIT_POINTS], int k, Number *value) {
    Number a, b;
    if (e->kind == EXPR_NUMBER) {
        *value = e->number;
        return true;
    }
    if (e->kind == EXPR_NAME) {
        *value = number_whole(sizes[symbol_index(m, e->text)][k]);
        return true;
    }
    return size_at(m, e->items[0], sizes, k, &a) && size_at(m, e->items[1], sizes, k, &b) &&
           number_binary(e->text, a, b, value) && value->whole;
}

static void add_atom(Fitter *f, const FraxModel *m, const Expr *e, int64_t (*sizes)[FIT_POINTS]) {
    Atom atom = {.sum = e->kind == EXPR_BINARY && strchr("+-", e->text[0])};
    Text text = {0};
    for (int k = 0; k < f->points; k++) {
        Number value;
        if (!size_at(m, e, sizes, k, &value)) return;
        atom.values[k] = value.integer;
    }
    size_text(e, &text);
    f->failed |= text.failed;
    atom.text = text.data;
    for (int i = 0; i < f->natoms && !text.failed; i++)
        if (!strcmp(f->atoms[i].text, text.data)) text.failed = true; /* known already */
    if (text.failed)
        text_free(&text);
    else
        f->atoms[f->natoms++] = atom;
}

/* The largest size expressions within e. */
static void collect_atoms(Fitter *f, const FraxModel *m, const Expr *e, int64_t (*sizes)[FIT_POINTS]) {
    if (!e || f->natoms == MOST_ATOMS) return;
    if (e->kind == EXPR_BINARY && is_size(m, e)) {
        add_atom(f, m, e, sizes);
        return;
    }
    for (size_t i = 0; i < e->count; i++) collect_atoms(f, m, e->items[i], sizes);
}

static void collect_declared(Fitter *f, const FraxModel *m, const Decl *decls, size_t n,
                             int64_t (*sizes)[FIT_POINTS]) {
    for (size_t i = 0; i < n; i++)
        for (int k = 0; k < decls[i].type.rank; k++) collect_atoms(f, m, decls[i].type.dims[k], sizes);
}

static void list_atoms(Fitter *f, const FraxModel *m, int64_t (*sizes)[FIT_POINTS]) {
    f->nsymbols = (int)MIN(m->nsizes, (size_t)MOST_SYMBOLS);
    for (int i = 0; i < f->nsymbols; i++) {
        Expr symbol = {.kind = EXPR_NAME, .text = m->sizes[i]};
        add_atom(f, m, &symbol, sizes);
    }
    collect_declared(f, m, m->decl->inputs, m->decl->ninputs, sizes);
    collect_declared(f, m, m->decl->params, m->decl->nparams, sizes);
    for (size_t i = 0; i < m->decl->body.nstmts; i++)
        collect_atoms(f, m, m->decl->body.stmts[i].value, sizes);
}

/* ---- Monomials ---- */

static void add_monomial(Fitter *f, int limit, const int *atoms, int degree) {
    if (f->count >= limit) return;
    Monomial *m = &f->monomials[f->count];
    *m = (Monomial){.degree = degree};
    memcpy(m->atoms, atoms, sizeof *atoms * (size_t)degree);
    for (int k = 0; k < f->points; k++) {
        m->values[k] = 1;
        for (int d = 0; d < degree; d++)
            if (mul_overflows(m->values[k], f->atoms[atoms[d]].values[k], &m->values[k]) ||
                m->values[k] > (int64_t)1 << 52 || m->values[k] < -((int64_t)1 << 52))
                return; /* beyond what the fits below can hold */
    }
    f->count++;
}

/* All products of up to three of the first n atoms, of which the last has at least index `least`. */
static void list_monomials(Fitter *f, int limit, int least, int n) {
    for (int i = least; i < n; i++) add_monomial(f, limit, (int[]){i}, 1);
    for (int j = least; j < n; j++)
        for (int i = 0; i <= j; i++) add_monomial(f, limit, (int[]){i, j}, 2);
    for (int k = least; k < n; k++)
        for (int i = 0; i <= k; i++)
            for (int j = i; j <= k; j++) add_monomial(f, limit, (int[]){i, j, k}, 3);
}

bool fitter_create(Fitter *f, const FraxModel *model, int64_t (*sizes)[FIT_POINTS], int points) {
    *f = (Fitter){.points = points};
    f->atoms = mem_calloc(MOST_ATOMS, sizeof *f->atoms);
    f->monomials = mem_calloc(MOST_MONOMIALS, sizeof *f->monomials);
    f->failed = !f->atoms || !f->monomials;
    if (f->failed) return false;
    list_atoms(f, model, sizes);
    if (f->failed) return false;
    list_monomials(f, MOST_PURE, 0, f->nsymbols);
    f->npure = f->count;
    list_monomials(f, MOST_MONOMIALS, f->nsymbols, f->natoms);
    return true;
}

void fitter_free(Fitter *f) {
    for (int i = 0; i < f->natoms; i++) mem_free(f->atoms[i].text);
    mem_free(f->atoms);
    mem_free(f->monomials);
}

/* ---- Fits: constant + Σ p_i/q_i m_i ---- */

typedef struct Fit {
    int64_t constant, p[2], q[2];
    const Monomial *m[2];
    int terms;
} Fit;

/* Σ p_i/q_i m_i at point k, times q_0 q_1 */
static __int128 fit_sum(const Fit *fit, int k, __int128 *scale) {
    __int128 sum = 0;
    *scale = 1;
    for (int t = 0; t < fit->terms; t++) *scale *= fit->q[t];
    for (int t = 0; t < fit->terms; t++) sum += *scale / fit->q[t] * fit->p[t] * fit->m[t]->values[k];
    return sum;
}

static bool fit_holds(const Fitter *f, const Fit *fit, const int64_t *d) {
    for (int k = 0; k < f->points; k++) {
        __int128 scale, sum = fit_sum(fit, k, &scale);
        if ((d[k] - (__int128)fit->constant) * scale != sum) return false;
    }
    return true;
}

static bool ratio(__int128 num, __int128 den, int64_t *p, int64_t *q) {
    __int128 a = num < 0 ? -num : num, b = den < 0 ? -den : den;
    if (num == 0 || den == 0) return false;
    while (b) {
        __int128 t = a % b;
        a = b;
        b = t;
    }
    num /= den < 0 ? -a : a;
    den /= den < 0 ? -a : a;
    if (num > LARGEST_FACTOR || num < -LARGEST_FACTOR || den > LARGEST_FACTOR) return false;
    *p = (int64_t)num;
    *q = (int64_t)den;
    return true;
}

/* The constant that makes the first point fit, if it is a whole number. */
static bool settle_constant(Fit *fit, const int64_t *d) {
    __int128 scale, sum = fit_sum(fit, 0, &scale);
    if (sum % scale) return false;
    __int128 constant = d[0] - sum / scale;
    if (constant > LARGEST_FACTOR || constant < -LARGEST_FACTOR) return false;
    fit->constant = (int64_t)constant;
    return true;
}

static bool fit_one(const Fitter *f, const int64_t *d, int from, int to, Fit *fit) {
    for (int i = from; i < to; i++) {
        const int64_t *m = f->monomials[i].values;
        *fit = (Fit){.m = {&f->monomials[i]}, .terms = 1};
        if (ratio((__int128)d[1] - d[0], (__int128)m[1] - m[0], &fit->p[0], &fit->q[0]) &&
            settle_constant(fit, d) && fit_holds(f, fit, d))
            return true;
    }
    return false;
}

/* Cramer's rule on the differences of three points. */
static bool fit_two(const Fitter *f, const int64_t *d, Fit *fit) {
    __int128 d1 = d[1] - d[0], d2 = d[2] - d[0];
    for (int i = 0; i < f->npure; i++)
        for (int j = i + 1; j < f->npure; j++) {
            const int64_t *m = f->monomials[i].values, *n = f->monomials[j].values;
            __int128 m1 = m[1] - m[0], m2 = m[2] - m[0], n1 = n[1] - n[0], n2 = n[2] - n[0];
            __int128 det = m1 * n2 - m2 * n1;
            *fit = (Fit){.m = {&f->monomials[i], &f->monomials[j]}, .terms = 2};
            if (ratio(d1 * n2 - d2 * n1, det, &fit->p[0], &fit->q[0]) &&
                ratio(m1 * d2 - m2 * d1, det, &fit->p[1], &fit->q[1]) && settle_constant(fit, d) &&
                fit_holds(f, fit, d))
                return true;
        }
    return false;
}

static void write_term(const Fitter *f, const Fit *fit, int t, Text *out) {
    const Monomial *m = fit->m[t];
    int64_t p = fit->p[t], size = p < 0 ? -p : p;
    bool alone = m->degree == 1 && p == 1 && fit->q[t] == 1 && t == 0;
    text_printf(out, "%s", p < 0 ? "-" : t ? "+" : "");
    if (size != 1) text_printf(out, "%lld*", (long long)size);
    for (int i = 0; i < m->degree; i++) {
        const Atom *atom = &f->atoms[m->atoms[i]];
        text_printf(out, atom->sum && !alone ? "%s(%s)" : "%s%s", i ? "*" : "", atom->text);
    }
    if (fit->q[t] != 1) text_printf(out, "/%lld", (long long)fit->q[t]);
}

void fit_number(const Fitter *f, const int64_t *d, Text *out) {
    bool constant = true, small = true;
    Fit fit;
    for (int k = 0; k < f->points; k++) {
        constant = constant && d[k] == d[0];
        small = small && d[k] < (int64_t)1 << 60;
    }
    if (constant) {
        text_printf(out, "%lld", (long long)d[0]);
    } else if (small && (fit_one(f, d, 0, f->npure, &fit) || fit_two(f, d, &fit) ||
                         fit_one(f, d, f->npure, f->count, &fit))) {
        for (int t = 0; t < fit.terms; t++) write_term(f, &fit, t, out);
        if (fit.constant) text_printf(out, "%+lld", (long long)fit.constant);
    } else {
        text_printf(out, "?");
    }
}
