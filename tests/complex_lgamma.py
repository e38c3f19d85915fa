"""Writes tests/data/complex_lgamma.txt: points x, y, orders n and the n-th derivative of log Gamma at x + iy (real and
imaginary part), rounded to f64.

Run by hand (python3 tests/complex_lgamma.py > tests/data/complex_lgamma.txt; needs mpmath); the table is kept in the
repository.
"""
import random

from mpmath import loggamma, mp, mpc, psi

mp.dps = 40
random.seed(1729)
short = lambda x, digits=5: float(f"{x:.{digits}g}")


def coordinate():
    x = short(random.uniform(-25, 30))
    if random.random() < 0.25:  # at and beside whole numbers, where the poles are
        x = round(x) + random.choice((0, 0, 1, -1)) * short(10 ** random.uniform(-9, -2), 2)
    return x


def height():
    return random.choice((0.0, short(random.uniform(-1, 1)), short(random.uniform(-40, 40)),
                          random.choice((-1, 1)) * short(10 ** random.uniform(-9, 4), 3)))


def value(x, y, n):
    f = loggamma(mpc(x, y)) if n == 0 else psi(n - 1, mpc(x, y))
    if y:
        return f
    # On the negative axis log Gamma is continued from above.
    return mpc(f.real, -abs(f.imag) if n == 0 else 0)


print("# x y n re im; written by complex_lgamma.py")
made = 0
while made < 1500:
    x, y, n = coordinate(), height(), random.choice((0, 0, 0, 1, 2, 3, 4, 5))
    if y or x > 0 or x != int(x):
        made += 1
        f = value(x, y, n)
        print(*(f"{q:g}" if q == float(f"{q:g}") else repr(q) for q in (x, y)), n, repr(float(f.real)),
              repr(float(f.imag)))
