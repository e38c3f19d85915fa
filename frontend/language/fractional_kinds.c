/* fractional_kinds.c — the one table of fractional operators: every kind with its schemes.
 *
 * A row names the builder, the orders it is defined for, the arguments and engines that apply, and what the
 * help and the README say of it. The first row of a kind whose range holds a constant order is the default
 * scheme; for a learnable order it is the first row.
 */
#include "fractional.h"
#include <math.h>

#define BIT(arg) (1u << (arg))

/* Ranges of orders, all of them finite: [lo, hi], (lo, hi], (lo, hi), [lo, inf). */
#define CLOSED(lo, hi)                                                                                       \
    { lo, hi, false, false }
#define ABOVE(lo, hi)                                                                                        \
    { lo, hi, true, false }
#define BETWEEN(lo, hi)                                                                                      \
    { lo, hi, true, true }
#define FROM(lo)                                                                                             \
    { lo, INFINITY, false, true }
#define ANY_ORDER BETWEEN(-INFINITY, INFINITY)
#define NO_SOE    CLOSED(1, 0)

/* The weights of integrals are differences of n^(alpha + 1), which are to stay in f64 for 1e9 samples. */
enum { MOST_POWER = 30 };

#define PERIODIC (BIT(ENGINE_AUTO) | BIT(ENGINE_FFT))
#define CAUSAL   (BIT(ENGINE_COUNT) - 1)
#define BY_SOE   (CAUSAL | BIT(ENGINE_SOE))

const FracKind frac_kinds[] = {
    {"weyl", "liouville", NULL, ARG_X, weyl, ANY_ORDER, NO_SOE, BIT(ARG_STEP), PERIODIC, 1, "K = (i w)^alpha",
     "spectral", "Samko, Kilbas & Marichev 1993"},
    {"riesz", NULL, NULL, ARG_X, riesz, ANY_ORDER, NO_SOE, BIT(ARG_STEP), PERIODIC, 1,
     "K = |w|^alpha, as (-d^2/dt^2)^(alpha/2); the Riesz derivative is often its negative", "spectral",
     "Riesz 1949"},
    {"riesz_feller", NULL, NULL, ARG_X, riesz_feller, CLOSED(0, 2), NO_SOE, BIT(ARG_STEP) | BIT(ARG_THETA),
     PERIODIC, 1, "K = w^alpha e^(i pi theta / 2); |theta| <= min(alpha, 2 - alpha)", "spectral",
     "Feller 1952; Mainardi, Luchko & Pagnini 2001"},
    {"laplacian", NULL, NULL, ARG_X, laplacian, ANY_ORDER, NO_SOE, BIT(ARG_STEP), PERIODIC, 3,
     "K = (w1^2 + w2^2 + ...)^(alpha/2), along axes=(...)", "spectral", "Kwasnicki 2017"},
    {"tempered", NULL, NULL, ARG_X, tempered, ANY_ORDER, NO_SOE,
     BIT(ARG_STEP) | BIT(ARG_LAMBDA) | BIT(ARG_CENTERED) | BIT(ARG_CAUSAL), PERIODIC, 1,
     "K = (lambda + i w)^alpha; centered=true: less lambda^alpha", "spectral",
     "Sabzikar, Meerschaert & Chen 2015"},
    {"tempered", NULL, NULL, ARG_CAUSAL, tempered_causal, ANY_ORDER, CLOSED(-0.95, 2),
     BIT(ARG_STEP) | BIT(ARG_LAMBDA) | BIT(ARG_CENTERED) | BIT(ARG_CAUSAL), BY_SOE, 1,
     "h^-alpha sum of w[j] e^(-lambda j h) x[n-j]; centered=true: less lambda^alpha x", "1",
     "Sabzikar, Meerschaert & Chen 2015"},
    {"mellin", NULL, NULL, ARG_X, mellin, BETWEEN(-INFINITY, 5), NO_SOE, BIT(ARG_STEP), PERIODIC, 1,
     "t^alpha D^alpha on samples at t = e^u, step = du: K = Gamma(1 + i w) / Gamma(1 + i w - alpha)",
     "spectral", "Podlubny 1999"},
    {"hadamard", NULL, NULL, ARG_X, grunwald, ANY_ORDER, CLOSED(-0.95, 2), BIT(ARG_STEP), BY_SOE, 1,
     "(t d/dt)^alpha on samples at t = e^u, step = du: grunwald in u", "1", "Hadamard 1892"},
    {"grunwald", NULL, NULL, ARG_X, grunwald, ANY_ORDER, CLOSED(-0.95, 2), BIT(ARG_STEP), BY_SOE, 1,
     "h^-alpha sum of w[j] x[n-j], (1 - z)^alpha = sum of w[j] z^j", "1", "Podlubny 1999"},
    {"riemann_liouville", NULL, "gl", ARG_X, grunwald, ANY_ORDER, CLOSED(-0.95, 2), BIT(ARG_STEP), BY_SOE, 1,
     "as grunwald", "1", "Podlubny 1999"},
    {"riemann_liouville", NULL, "bdf2", ARG_X, bdf2, FROM(-6), CLOSED(-0.95, 2), BIT(ARG_STEP), BY_SOE, 1,
     "h^-alpha sum of w[j] x[n-j], (3/2 - 2z + z^2/2)^alpha = sum of w[j] z^j", "2 where x starts from 0",
     "Lubich 1986"},
    {"caputo", NULL, "l1", ARG_X, caputo_l1, ABOVE(0, 1), CLOSED(0.05, 1), BIT(ARG_STEP), BY_SOE, 1,
     "h^-alpha / Gamma(2-alpha) sum of b[j] (x[n-j] - x[n-j-1]), b[j] = (j+1)^(1-alpha) - j^(1-alpha); y[0] "
     "= 0",
     "2 - alpha", "Lin & Xu 2007", true},
    {"caputo", NULL, "l1", ARG_TIMES, caputo_times, ABOVE(0, 1), NO_SOE, BIT(ARG_TIMES),
     BIT(ENGINE_AUTO) | BIT(ENGINE_DENSE), 1, "l1 on samples at the increasing times=t[N]", "2 - alpha",
     "Zhang, Sun & Liao 2014", true},
    {"caputo", NULL, "l2", ARG_X, caputo_l2, ABOVE(1, 2), CLOSED(1.05, 2), BIT(ARG_STEP) | BIT(ARG_SLOPE),
     BY_SOE, 1,
     "l1 of order alpha - 1 for the slopes (x[k] - x[k-1]) / h; y[n] stands at (n - 1/2) h, y[0] = 0; slope "
     "= x'(0)",
     "3 - alpha", "Sun & Wu 2006", true},
    {"caputo", NULL, "l1_2", ARG_X, caputo_l1_2, ABOVE(0, 1), NO_SOE, BIT(ARG_STEP), CAUSAL, 1,
     "x by parabolas through three samples, in the first step by a line; y[0] = 0", "3 - alpha",
     "Gao, Sun & Zhang 2014", true},
    {"caputo", NULL, "gl", ARG_X, caputo_gl, ABOVE(0, 2), ABOVE(0, 2), BIT(ARG_STEP) | BIT(ARG_SLOPE), BY_SOE,
     1, "grunwald of x - x[0], and where alpha > 1 of x - x[0] - slope t", "1", "Podlubny 1999"},
    {"integral", NULL, "trapezoid", ARG_X, integral_trapezoid, ABOVE(0, MOST_POWER), ABOVE(0, 0.95),
     BIT(ARG_STEP), BY_SOE, 1, "integral of order alpha, x by lines between the samples; y[0] = 0", "2",
     "Diethelm, Ford & Freed 2002"},
    {"integral", NULL, "rectangle", ARG_X, integral_rectangle, ABOVE(0, MOST_POWER), ABOVE(0, 0.95),
     BIT(ARG_STEP), BY_SOE, 1, "h^alpha / Gamma(alpha+1) sum of ((n-k)^alpha - (n-k-1)^alpha) x[k], k < n",
     "1", "Diethelm, Ford & Freed 2002"},
    {"integral", NULL, "gl", ARG_X, integral_gl, BETWEEN(0, INFINITY), ABOVE(0, 0.95), BIT(ARG_STEP), BY_SOE,
     1, "grunwald of order -alpha", "1", "Podlubny 1999"},
    {"caputo_fabrizio", NULL, NULL, ARG_X, caputo_fabrizio, BETWEEN(0, 1), NO_SOE, BIT(ARG_STEP),
     BIT(ENGINE_AUTO), 1,
     "y[n] = r y[n-1] + (1 - r) / (alpha h) (x[n] - x[n-1]), r = e^(-alpha h / (1-alpha)); y[0] = 0, O(n)",
     "2", "Caputo & Fabrizio 2015", true},
    {"atangana_baleanu", NULL, NULL, ARG_X, atangana_baleanu, BETWEEN(0, 1), NO_SOE, BIT(ARG_STEP), CAUSAL, 1,
     "kernel E_alpha(-alpha t^alpha / (1-alpha)) / (1-alpha) on x' for x by lines between the samples; y[0] "
     "= 0",
     "2", "Atangana & Baleanu 2016", true},
};
const size_t frac_kind_count = COUNT(frac_kinds);

/* ---- What rows say ---- */

bool in_range(const Range *range, double v) {
    return (range->lo_open ? v > range->lo : v >= range->lo) &&
           (range->hi_open ? v < range->hi : v <= range->hi);
}

const char *range_text(const Range *range, const char *name, char buffer[96]) {
    char lo[48] = "", hi[48] = "", number[32];
    if (isfinite(range->lo))
        snprintf(lo, sizeof lo, isfinite(range->hi) ? "%s %s " : "%s %s", double_text(range->lo, number),
                 range->lo_open ? "<" : "<=");
    if (isfinite(range->hi))
        snprintf(hi, sizeof hi, " %s %s", range->hi_open ? "<" : "<=", double_text(range->hi, number));
    if (isfinite(range->lo) && !isfinite(range->hi))
        snprintf(buffer, 96, "%s %s %s", name, range->lo_open ? ">" : ">=", double_text(range->lo, number));
    else
        snprintf(buffer, 96, "%s%s%s%s", *lo || *hi ? "" : "any ", lo, name, hi);
    return buffer;
}

/* ", scheme=l1" and what else asks for the row */
static const char *choice_text(const FracKind *kind, char buffer[64]) {
    const char *variant = kind->variant == ARG_CAUSAL  ? "causal=true"
                          : kind->variant == ARG_TIMES ? "times"
                                                       : "";
    snprintf(buffer, 64, "%s%s%s%s", kind->scheme ? "scheme=" : "", kind->scheme ? kind->scheme : "",
             kind->scheme && *variant ? ", " : "", variant);
    return buffer;
}

const char *kind_text(const FracKind *kind, char buffer[96]) {
    char choice[64];
    choice_text(kind, choice);
    snprintf(buffer, 96, "kind=%s%s%s", kind->name, *choice ? ", " : "", choice);
    return buffer;
}

bool frac_kind_info(size_t i, FracKindInfo *info) {
    if (i >= COUNT(frac_kinds)) return false;
    const FracKind *kind = &frac_kinds[i];
    *info = (FracKindInfo){.name = kind->name,
                           .alias = kind->alias,
                           .formula = kind->formula,
                           .order = kind->order,
                           .reference = kind->reference};
    choice_text(kind, info->choice);
    range_text(&kind->alpha, "alpha", info->domain);
    if (kind->engines >> ENGINE_SOE & 1) range_text(&kind->soe, "alpha", info->soe);
    return true;
}
