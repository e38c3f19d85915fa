/* lbfgs.c — L-BFGS: two-loop recursion and a line search for the strong Wolfe conditions.
 *
 * Nocedal & Wright, Numerical Optimization, 2nd ed. 2006: algorithms 7.4 (two loops), 3.5 (bracketing)
 * and 3.6 (zoom, with the cubic of eq. 3.59). Two things are added. A trial point that is not finite counts
 * as too high, so that the search steps back from it. And values that differ by less than their rounding
 * count as equal, so that the search does not fail where a minimum is flat to the last digit.
 *
 * All vectors live in one allocation; `trial_*` always hold the point that was evaluated last.
 */
#include "lbfgs.h"
#include <math.h>
#include <string.h>

enum { HISTORY = 10, MAX_TRIALS = 24 };
static const double SUFFICIENT_DECREASE = 1e-4, CURVATURE = 0.9, LONGEST_GROWTH = 10;

struct Lbfgs {
    LbfgsOptions options;
    size_t n;
    double *storage;
    double *x, *gradient, *trial_x, *trial_gradient, *direction;
    double *s[HISTORY],
        *y[HISTORY];     /* steps and changes of the gradient; pair k stands in slot k % HISTORY */
    double rho[HISTORY]; /* 1 / (y·s) */
    size_t pairs;        /* seen so far; the last HISTORY of them are kept */
    double value;
    bool evaluated; /* value and gradient belong to x */
    bool outside;   /* a trial of this line search left the domain */
    int64_t evaluations;
    LbfgsOutcome outcome;
};

/* A point on the search line: step length, value, slope along the direction. */
typedef struct Point {
    double step, value, slope;
} Point;

const char *lbfgs_outcome_text(LbfgsOutcome outcome) {
    static const char *const texts[] = {
#define X(code, text) text,
        LBFGS_OUTCOMES(X)
#undef X
    };
    return texts[outcome];
}

/* ---- Vectors ---- */

static double dot(const double *a, const double *b, size_t n) {
    double sum = 0;
    for (size_t i = 0; i < n; i++) sum += a[i] * b[i];
    return sum;
}

static void add_scaled(double *x, double factor, const double *v, size_t n) {
    for (size_t i = 0; i < n; i++) x[i] += factor * v[i];
}

static double largest(const double *v, size_t n) {
    double max = 0;
    for (size_t i = 0; i < n; i++) max = fmax(max, fabs(v[i]));
    return max;
}

static size_t first_non_finite(const double *v, size_t n) {
    size_t i = 0;
    while (i < n && isfinite(v[i])) i++;
    return i;
}

static void swap_pointers(double **a, double **b) {
    double *t = *a;
    *a = *b;
    *b = t;
}

/* ---- Direction ---- */

/* direction = −H·gradient, H the inverse Hessian that the kept pairs describe. */
static void find_direction(Lbfgs *l) {
    double alpha[HISTORY], *q = l->direction;
    size_t kept = MIN(l->pairs, (size_t)HISTORY);
    for (size_t i = 0; i < l->n; i++) q[i] = -l->gradient[i];
    for (size_t k = l->pairs; k-- > l->pairs - kept;) {
        size_t slot = k % HISTORY;
        alpha[slot] = l->rho[slot] * dot(l->s[slot], q, l->n);
        add_scaled(q, -alpha[slot], l->y[slot], l->n);
    }
    if (kept) {
        size_t last = (l->pairs - 1) % HISTORY;
        double scale = 1 / (l->rho[last] * dot(l->y[last], l->y[last], l->n)); /* eq. 7.20 */
        for (size_t i = 0; i < l->n; i++) q[i] *= scale;
    }
    for (size_t k = l->pairs - kept; k < l->pairs; k++) {
        size_t slot = k % HISTORY;
        double beta = l->rho[slot] * dot(l->y[slot], q, l->n);
        add_scaled(q, alpha[slot] - beta, l->s[slot], l->n);
    }
}

/* Takes the trial point as the current one, and learns from the step if the curvature along it is positive.
 */
static void accept_trial(Lbfgs *l, double value) {
    size_t slot = l->pairs % HISTORY;
    for (size_t i = 0; i < l->n; i++) {
        l->s[slot][i] = l->trial_x[i] - l->x[i];
        l->y[slot][i] = l->trial_gradient[i] - l->gradient[i];
    }
    double sy = dot(l->s[slot], l->y[slot], l->n), yy = dot(l->y[slot], l->y[slot], l->n);
    if (sy > l->options.rounding * yy && isfinite(yy)) {
        l->rho[slot] = 1 / sy;
        l->pairs++;
    }
    swap_pointers(&l->x, &l->trial_x);
    swap_pointers(&l->gradient, &l->trial_gradient);
    l->value = value;
}

/* ---- Line search ---- */

static FraxStatus evaluate_trial(Lbfgs *l, double step, Point *point, FraxError *err) {
    for (size_t i = 0; i < l->n; i++) l->trial_x[i] = l->x[i] + step * l->direction[i];
    *point = (Point){.step = step};
    l->evaluations++;
    FraxStatus status =
        l->options.objective(l->options.context, l->trial_x, &point->value, l->trial_gradient, err);
    if (status == FRAX_VALUE) {
        point->value = INFINITY;
        l->outside = true;
        return FRAX_OK;
    }
    point->slope = dot(l->trial_gradient, l->direction, l->n);
    if (!isfinite(point->value) || !isfinite(point->slope)) point->value = INFINITY;
    return status;
}

/* The minimum of the cubic through two points and their slopes, kept a tenth of the interval from its ends.
 */
static double interpolate(const Point *a, const Point *b) {
    double lo = fmin(a->step, b->step), width = fabs(b->step - a->step), middle = lo + width / 2;
    if (!isfinite(a->value) || !isfinite(b->value)) return isfinite(a->value) ? lo + width / 10 : middle;
    double d1 = a->slope + b->slope - 3 * (a->value - b->value) / (a->step - b->step);
    double square = d1 * d1 - a->slope * b->slope;
    if (!(square >= 0)) return middle;
    double d2 = copysign(sqrt(square), b->step - a->step);
    double step = b->step - (b->step - a->step) * (b->slope + d2 - d1) / (b->slope - a->slope + 2 * d2);
    if (!isfinite(step)) return middle;
    return fmin(fmax(step, lo + width / 10), lo + width * 9 / 10);
}

/* Value below the line of sufficient decrease, but for rounding. */
static bool low_enough(const Lbfgs *l, const Point *start, const Point *p) {
    double slack = 4 * l->options.rounding * fabs(start->value);
    return p->value <= start->value + SUFFICIENT_DECREASE * p->step * start->slope + slack;
}

static bool flat_enough(const Point *start, const Point *p) {
    return fabs(p->slope) <= -CURVATURE * start->slope;
}

/* Algorithm 3.6. A minimum lies between low and high; *found becomes a point that meets both conditions, or
   the lowest one seen; `trial_*` belong to it. */
static FraxStatus zoom(Lbfgs *l, const Point *start, Point low, Point high, Point *found, FraxError *err) {
    for (int i = 0; i < MAX_TRIALS; i++) {
        double width = fabs(high.step - low.step);
        if (width * largest(l->direction, l->n) <= l->options.rounding * (1 + largest(l->x, l->n))) break;
        Point p;
        FraxStatus status = evaluate_trial(l, interpolate(&low, &high), &p, err);
        if (status) return status;
        if (!low_enough(l, start, &p) || p.value > low.value) {
            high = p;
            continue;
        }
        *found = p;
        if (flat_enough(start, &p)) return FRAX_OK;
        if (p.slope * (high.step - low.step) >= 0) high = low;
        low = p;
    }
    return evaluate_trial(l, low.step, found, err);
}

/* Algorithm 3.5: walks outward until an interval holds a minimum, and zooms into it. */
static FraxStatus line_search(Lbfgs *l, const Point *start, double first, Point *found, FraxError *err) {
    Point previous = *start, p;
    double step = first;
    for (int i = 0; i < MAX_TRIALS; i++) {
        FraxStatus status = evaluate_trial(l, step, &p, err);
        if (status) return status;
        *found = p;
        if (!low_enough(l, start, &p) || (i > 0 && p.value >= previous.value))
            return zoom(l, start, previous, p, found, err);
        if (flat_enough(start, &p)) return FRAX_OK;
        if (p.slope >= 0) return zoom(l, start, p, previous, found, err);
        step = p.step * LONGEST_GROWTH;
        previous = p;
    }
    return FRAX_OK;
}

/* ---- Public ---- */

Lbfgs *lbfgs_create(size_t n, const double *x, const LbfgsOptions *options) {
    Lbfgs *l = mem_calloc(1, sizeof *l);
    enum { VECTORS = 5 + 2 * HISTORY };
    double *storage = mem_calloc(MAX(n, 1), VECTORS * sizeof *storage);
    if (!l || !storage) {
        mem_free(storage);
        mem_free(l);
        return NULL;
    }
    l->options = *options;
    l->n = n;
    l->storage = storage;
    double **vectors[] = {&l->x, &l->gradient, &l->trial_x, &l->trial_gradient, &l->direction};
    for (size_t i = 0; i < COUNT(vectors); i++, storage += n) *vectors[i] = storage;
    for (size_t i = 0; i < HISTORY; i++, storage += 2 * n) {
        l->s[i] = storage;
        l->y[i] = storage + n;
    }
    lbfgs_restart(l, x);
    return l;
}

void lbfgs_destroy(Lbfgs *l) {
    if (!l) return;
    mem_free(l->storage);
    mem_free(l);
}

void lbfgs_restart(Lbfgs *l, const double *x) {
    if (l->n) memcpy(l->x, x, l->n * sizeof *x);
    l->pairs = 0;
    l->evaluated = false;
    l->outcome = LBFGS_RUNNING;
}

/* Value and gradient at the current point, unless they are known. */
static FraxStatus evaluate_point(Lbfgs *l, size_t *bad, FraxError *err) {
    if (l->evaluated) return FRAX_OK;
    l->evaluations++;
    FraxStatus status = l->options.objective(l->options.context, l->x, &l->value, l->gradient, err);
    if (status) return status;
    *bad = isfinite(l->value) ? first_non_finite(l->gradient, l->n) : l->n;
    if (*bad < l->n || !isfinite(l->value)) return fail(err, FRAX_DIVERGED, "the start is not finite");
    l->evaluated = true;
    return FRAX_OK;
}

/* The relative gradient (Dennis and Schnabel 1996, section 7.2): the change of the loss, relative to it, for
   a relative change of an entry. A loss that falls for ever as x grows does not pass it. */
static bool is_converged(const Lbfgs *l) {
    double largest_change = 0;
    for (size_t i = 0; i < l->n; i++)
        largest_change = fmax(largest_change, fabs(l->gradient[i]) * fmax(1, fabs(l->x[i])));
    return largest_change <= l->options.tolerance * fmax(1, fabs(l->value));
}

/* Length of the first trial: the Newton-like step once curvature is known, else a move of length 1 at most,
   so that the scale of the loss does not matter. */
static double first_step(const Lbfgs *l) {
    return l->pairs ? 1 : fmin(1, 1 / sqrt(dot(l->gradient, l->gradient, l->n)));
}

FraxStatus lbfgs_step(Lbfgs *l, size_t *bad, FraxError *err) {
    if (l->outcome != LBFGS_RUNNING) return FRAX_OK;
    FraxStatus status = evaluate_point(l, bad, err);
    if (status) return status;
    if (is_converged(l)) {
        l->outcome = LBFGS_GRADIENT;
        return FRAX_OK;
    }
    Point start = {.value = l->value}, found = {0};
    find_direction(l);
    start.slope = dot(l->gradient, l->direction, l->n);
    if (!(start.slope < 0)) { /* rounding spoilt the pairs: steepest descent is always downhill */
        l->pairs = 0;
        find_direction(l);
        start.slope = dot(l->gradient, l->direction, l->n);
    }
    l->outside = false;
    status = line_search(l, &start, first_step(l), &found, err);
    if (status) return status;
    double moved = fabs(found.step) * largest(l->direction, l->n);
    bool usable = low_enough(l, &start, &found) && found.step > 0;
    if (!usable && l->pairs) { /* try once more, next time, without what was learnt */
        l->pairs = 0;
        return FRAX_OK;
    }
    if (usable) accept_trial(l, found.value);
    if (usable && is_converged(l))
        l->outcome = LBFGS_GRADIENT;
    else if (!usable || moved <= l->options.rounding * (1 + largest(l->x, l->n)))
        l->outcome = l->outside ? LBFGS_BOUND : usable ? LBFGS_STEP : LBFGS_FLAT;
    return FRAX_OK;
}

LbfgsOutcome lbfgs_outcome(const Lbfgs *l) {
    return l->outcome;
}

const double *lbfgs_point(const Lbfgs *l) {
    return l->x;
}

double lbfgs_value(const Lbfgs *l) {
    return l->value;
}

int64_t lbfgs_evaluations(const Lbfgs *l) {
    return l->evaluations;
}
