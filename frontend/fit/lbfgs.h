/* lbfgs.h — limited-memory BFGS around a function that gives a value and its gradient. */
#ifndef FRAX_LBFGS_H
#define FRAX_LBFGS_H

#include "base.h"

/* Writes f(x) and its gradient. Either may come out non-finite, or FRAX_VALUE say that x is outside the
   domain: the line search then steps back. */
typedef FraxStatus Objective(void *context, const double *x, double *value, double *gradient, FraxError *err);

/* Why a minimisation goes on or has ended. */
#define LBFGS_OUTCOMES(X)                                                                                    \
    X(LBFGS_RUNNING, "steps remain")                                                                         \
    X(LBFGS_GRADIENT, "the gradient is below the tolerance")                                                 \
    X(LBFGS_STEP, "the step is below rounding")                                                              \
    X(LBFGS_FLAT, "no lower point along the search direction")                                               \
    X(LBFGS_BOUND, "a guarded value has reached the end of its range")

typedef enum LbfgsOutcome {
#define X(code, text) code,
    LBFGS_OUTCOMES(X)
#undef X
} LbfgsOutcome;

const char *lbfgs_outcome_text(LbfgsOutcome outcome);

typedef struct LbfgsOptions {
    Objective *objective;
    void *context;
    double tolerance; /* ends when all |g_i| · max(1, |x_i|) ≤ tolerance · max(1, |f|) */
    double rounding;  /* relative error of a computed value: the epsilon of the objective's arithmetic */
} LbfgsOptions;

typedef struct Lbfgs Lbfgs;

/* NULL when out of memory. x has n entries. */
Lbfgs *lbfgs_create(size_t n, const double *x, const LbfgsOptions *options);
void lbfgs_destroy(Lbfgs *lbfgs);
/* Moves the current point; forgets what was learnt about the curvature. */
void lbfgs_restart(Lbfgs *lbfgs, const double *x);
/* One direction and its line search; does nothing once ended. FRAX_DIVERGED if the value or the gradient is
   not finite at the current point; *bad is then the entry of the gradient, or n for the value. */
FraxStatus lbfgs_step(Lbfgs *lbfgs, size_t *bad, FraxError *err);

LbfgsOutcome lbfgs_outcome(const Lbfgs *lbfgs);
const double *lbfgs_point(const Lbfgs *lbfgs);
double lbfgs_value(const Lbfgs *lbfgs); /* at lbfgs_point */
int64_t lbfgs_evaluations(const Lbfgs *lbfgs);

#endif
