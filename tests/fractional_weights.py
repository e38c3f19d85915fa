#!/usr/bin/env python3
"""Writes fractional_weights.h: weights of causal schemes at long lags, with 40 digits (mpmath)."""
from mpmath import mp, mpf


LAGS = (0, 1, 2, 3, 7, 100, 4096, 262143)
mp.dps = 40


def differences(p, j):
    return mpf(j + 1) ** p - mpf(j) ** p


def l1(a, j):
    return mpf(1) if j == 0 else differences(1 - a, j)


def l2(a, j):
    return mpf(1) if j == 0 else differences(2 - a, j)


def rectangle(a, j):
    return mpf(1) if j == 0 else differences(a, j)


def trapezoid(a, j):
    p = 1 + a
    return mpf(1) if j == 0 else mpf(j + 1) ** p - 2 * mpf(j) ** p + mpf(j - 1) ** p


def l1_2_corrections(a, j):
    ends = mpf(j + 1) ** (1 - a) + (mpf(j) ** (1 - a) if j else 0)
    return differences(2 - a, j) / (2 - a) - ends / 2


def l1_2(a, j):
    return l1(a, j) + l1_2_corrections(a, j) - (l1_2_corrections(a, j - 1) if j else 0)


def bdf2(a, j):
    """Miller's recursion for (1 - 4z/3 + z^2/3)^a."""
    w = [mpf(1), -4 * a / 3]
    for k in range(2, j + 1):
        w.append((4 * (k - 1 - a) * w[k - 1] - (k - 2 - 2 * a) * w[k - 2]) / (3 * k))
    return w[j]


def atangana_baleanu(a, j):
    """The integral of E_a(-a/(1-a) s^a) over [j, j+1], from (Gorenflo & Mainardi 1997)
    E_a(-t^a) = sin(a pi)/pi int_0^inf e^(-r t) r^(a-1) / (r^2a + 2 r^a cos(a pi) + 1) dr."""
    rate = (a / (1 - a)) ** (1 / a)  # the kernel is E_a(-(rate t)^a)

    def spectrum(x):
        r = mp.exp(x)  # in units of rate
        density = mp.sin(a * mp.pi) / mp.pi * r ** a / (r ** (2 * a) + 2 * r ** a * mp.cos(a * mp.pi) + 1)
        decay = r * rate
        return density * mp.exp(-decay * j) * -mp.expm1(-decay) / decay

    # in x = log r the integrand decays both ways, and the trapezoidal rule converges exponentially
    step = mpf(1) / 64
    return step * mp.fsum(spectrum(step * k) for k in range(-64 * 200, 64 * 100))


FAMILIES = (
    (l1, ("0.02", "0.5", "0.97")),
    (l2, ("1.02", "1.5", "1.97")),
    (rectangle, ("0.02", "0.5", "1.3")),
    (trapezoid, ("0.02", "0.5", "1.3", "2.5")),
    (l1_2_corrections, ("0.02", "0.5", "0.97")),
    (l1_2, ("0.02", "0.5", "0.97")),
    (atangana_baleanu, ("0.3", "0.5", "0.9")),
    (bdf2, ("0.5", "-0.7", "1.3")),
)

print("""/* fractional_weights.h — weights of causal schemes, computed with 40 digits. Made by fractional_weights.py. */
static const struct WeightRow {
    FracWeights *weights;
    const char *name;
    double alpha;
    int64_t lag;
    double value;
} weight_rows[] = {""")
for family, alphas in FAMILIES:
    for alpha in alphas:
        for lag in LAGS[:-1] if family is bdf2 else LAGS:
            # the order is the double that a program gets
            value = family(mpf(float(alpha)), lag)
            function = family.__name__ + ("" if family is l1_2_corrections else "_weights")
            print("    {%s, \"%s\", %s, %d, %s}," % (function, family.__name__, alpha, lag, mp.nstr(value, 20)))
print("};")
