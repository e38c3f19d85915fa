"""Models that several tests use."""

# loss = sum (a x)^3 / 3 + b: d/da = sum a^2 x^3, d/dx = a^3 x^2, d/db = 1.
CUBIC = """model cubic(x: f64[N], k: i32[]) {
    param a: f64 = 2
    param b: f64[1] = normal(0.5)
    y    = a * x
    loss = sum(y^3) / 3 + b[0]
    big  = k + 1
    return loss, y, big
}
"""

# Rows with an order and weights to learn; no output is a scalar.
FILTER = """model filter(x: f64[B, T]) {
    param d: f64 = 0.3
    param w: f64[T] = normal(1)
    y     = tanh(frac(x, d, kind=grunwald)) * w
    power = mean(frac(y, 0.5 * d, kind=weyl)^2, axis=-1)
    return y, power
}
"""

SAME = """model same(x: f64[N]) {
    y = x^2
    z = x^2
    c = 3 * sum(zeros([2]))
    return x, y, z, c
}
"""

MANY = "model many(%s) {\n s = %s\n return s\n}\n" % (
    ", ".join("x%d: f64[]" % i for i in range(150)), " + ".join("%d * x%d" % (i, i) for i in range(150)))
