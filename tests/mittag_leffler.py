"""Writes tests/data/mittag_leffler.txt: points (alpha, beta, z), orders (n, m) and the value of the n-th derivative in z
and m-th in beta of E_{alpha,beta}(z), rounded to f64.

Run by hand (python3 tests/mittag_leffler.py > tests/data/mittag_leffler.txt; needs mpmath, some minutes); the table is
kept in the repository. Values are sums of the power series, with as many digits as its cancellation takes, or, where
|z|^(1/alpha) is large, of the asymptotic series with the exponential terms (Haubold, Mathai & Saxena 2011, eq. 6.4 to
6.11). Every 25th is confirmed by the inverse Laplace transform, by quadrature with 40 digits.
"""
import random
import sys

from mpmath import mp, mpc, mpf

SERIES_LIMIT = 60  # of |z|^(1/alpha): beyond it the asymptotic series is exact to e^-60
LARGEST = 690  # of the exponent of the result


def reciprocal_gamma(x, m):
    return mp.rgamma(x) if m == 0 else mp.diff(mp.rgamma, x, m)


def power_series(alpha, beta, z, n, m):
    pole = abs(z) ** (1 / alpha)
    mp.dps = 40 + int(pole / 2.3) + 6 * (n + m) + (30 if m else 0)
    total, k, power = mpf(0), n, mpf(1)
    while True:
        term = mp.ff(k, n) * power * reciprocal_gamma(alpha * k + beta, m)
        total += term
        power *= z
        k += 1
        if z == 0 or (alpha * k + beta > 2 * pole + 5 and abs(term) < mpf(10) ** -38 * max(abs(total), mpf(10) ** -20)):
            return total


def residues(alpha, beta, z):
    pole = abs(z) ** (1 / alpha)
    if z > 0:
        return pole ** (1 - beta) * mp.exp(pole) / alpha
    if alpha <= 1:
        return mpf(0)
    pole = pole * mp.expjpi(1 / alpha)
    return 2 * (pole ** (1 - beta) * mp.exp(pole)).real / alpha


def asymptotic(alpha, beta, z):
    mp.dps = 60
    total = residues(alpha, beta, z)
    for k in range(1, int((abs(z) ** (1 / alpha) + beta) / alpha)):
        total -= mp.rgamma(beta - alpha * k) / z ** k
        if k * alpha > beta and mp.gamma(alpha * k - beta + 1) / abs(z) ** k < mpf(10) ** -40:
            break
    return total


def exact(alpha, beta, z, n=0, m=0):
    alpha, beta, z = mpf(alpha), mpf(beta), mpf(z)
    mp.dps = 40
    if abs(z) ** (1 / alpha) < SERIES_LIMIT:
        return power_series(alpha, beta, z, n, m)
    assert n == m == 0
    return asymptotic(alpha, beta, z)


def by_contour(alpha, beta, z, n, m):
    """The trapezoidal rule on a parabola around all poles, in high precision."""
    mp.dps = 50
    alpha, beta, z = mpf(alpha), mpf(beta), mpf(z)
    rho = mpf(0)
    if z > 0 or (z < 0 and alpha > 1):
        angle = mpf(0) if z > 0 else mp.pi / alpha
        rho = mp.sqrt(abs(z) ** (1 / alpha)) * mp.cos(angle / 2)
    mu = rho ** 2 + 10
    a = 60 / (1 - rho / mp.sqrt(mu)) + mu + mp.sqrt(mu * mu + 100 * mu)
    h, total = mp.pi / a, mpf(0)
    for k in range(int(mp.sqrt(100 / mu) / h) + 1):
        point = mu * mpc(1, k * h) ** 2
        f = mp.exp(point) * point ** (alpha - beta) * mpc(1, k * h) * (-mp.log(point)) ** m
        f *= mp.factorial(n) / (point ** alpha - z) ** (n + 1)
        total += f.real if k else f.real / 2
    return 2 * mu * h / mp.pi * total


def confirm(point, value):
    alpha, beta, z, n, m = point
    if abs(z) ** (1 / alpha) > 200:
        return
    other = by_contour(*point)
    if abs(other - value) > mpf(10) ** -20 * max(1, abs(value)):
        sys.exit(f"{point}: {mp.nstr(value, 20)} by series, {mp.nstr(other, 20)} by quadrature")


def overflows(alpha, z):
    return z > 0 and z ** (1 / alpha) > LARGEST


random.seed(1903)
signed = lambda lo, hi: random.choice((-1, 1)) * 10 ** random.uniform(lo, hi)
short = lambda x, digits=5: float(f"{x:.{digits}g}")

ALPHAS = (
    lambda: short(random.uniform(0.05, 2), 4),
    lambda: short(random.uniform(0.02, 0.2), 3),
    lambda: random.choice((0.02, 0.25, 0.5, 0.75, 0.9, 1.0, 1.25, 1.5, 1.75, 2.0)),
    lambda: 1 + short(signed(-9, -1), 2),
    lambda: 2 - short(10 ** random.uniform(-9, -1), 2),
    lambda: short(random.uniform(0.3, 1.2), 4),
)
BETAS = (
    lambda alpha: short(random.uniform(0.05, 10), 4),
    lambda alpha: short(random.uniform(0.05, 2), 3),
    lambda alpha: random.choice((0.05, 0.5, 1.0, 1.0, 2.0, 3.0, 10.0)),
    lambda alpha: alpha,
    lambda alpha: alpha + 1,
)
ZS = (
    lambda: short(random.uniform(-100, 10)),
    lambda: short(random.uniform(-10, 10)),
    lambda: short(random.uniform(-3, 3)),
    lambda: short(signed(-12, 0), 3),
    lambda: -short(10 ** random.uniform(0, 2), 4),
    lambda: short(random.uniform(0, 2)),
    lambda: random.choice((0.0, -100.0, -1.0, 1.0, 10.0, -5.0)),
)


def points():
    made = 0
    while made < 4900:
        alpha, z = random.choice(ALPHAS)(), random.choice(ZS)()
        if not overflows(alpha, z):
            made += 1
            yield alpha, random.choice(BETAS)(alpha), z, 0, 0
    for _ in range(100):  # far out on the negative axis
        alpha = random.choice(ALPHAS)()
        yield alpha, random.choice(BETAS)(alpha), -short(10 ** random.uniform(2, 6), 3), 0, 0
    made = 0
    while made < 500:
        alpha, z = short(random.uniform(0.2, 2), 3), short(random.choice((signed(-6, 0), random.uniform(-60, 6))), 4)
        if abs(z) ** (1 / alpha) < 40:
            made += 1
            n, m = random.choice(((1, 0), (0, 1), (1, 1), (2, 0), (2, 1), (0, 2), (1, 2), (2, 2), (3, 1), (3, 3)))
            yield alpha, short(random.uniform(0.1, 5), 3), z, n, m


print("# alpha beta z n m value; written by mittag_leffler.py")
for i, point in enumerate(points()):
    value = exact(*point)
    if i % 25 == 0:
        confirm(point, value)
    print(*(f"{x:g}" if x == float(f"{x:g}") else repr(x) for x in point[:3]), *point[3:], repr(float(value)))
