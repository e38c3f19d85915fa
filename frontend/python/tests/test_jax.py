"""frax.jax: gradients of first and second order by finite differences and against the same model in JAX, under jit."""
import logging
import unittest

import numpy as np

import frax
from models import CUBIC, FILTER, SAME

try:
    import jax
    import frax.jax
    import jax.numpy as jnp
    from jax.test_util import check_grads
except ImportError:
    jax = None

ROWS = """model rows(x: f32[B, N], mask: bool[B]) {
    param a: f32[N] = normal(1)
    y = where(mask[:, none], sin(a * x), 0)
    return y
}
"""


def noise(*shape, seed=1):
    return jnp.asarray(np.random.default_rng(seed).standard_normal(shape))


@unittest.skipUnless(jax, "needs JAX")
class Function(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.x64 = jax.config.jax_enable_x64
        jax.config.update("jax_enable_x64", True)

    @classmethod
    def tearDownClass(cls):
        jax.config.update("jax_enable_x64", cls.x64)

    def test_first_and_second_order_by_finite_differences(self):
        f = frax.jax.function(frax.parse(FILTER), threads=1)
        call = jax.jit(lambda x, d, w: tuple(f(x, d=d, w=w)))
        check_grads(call, (noise(2, 6), jnp.asarray(0.3), noise(6, seed=2)), order=2, modes=["rev"])

    def test_outputs_of_all_kinds(self):
        f = frax.jax.function(frax.parse(SAME))
        check_grads(lambda x: tuple(f(x)), (noise(3),), order=2, modes=["rev"])
        f, x, k = frax.jax.function(frax.parse(CUBIC)), noise(3), jnp.asarray(4, jnp.int32)
        outputs = jax.jit(f)(x, k)
        self.assertEqual(outputs.big, 5)
        slope = jax.grad(lambda x: f(x, k).loss)(x)
        np.testing.assert_allclose(slope, 8 * x**2, rtol=1e-14)
        params = frax.jax.initial(frax.parse(CUBIC), x, k)
        slopes = jax.grad(lambda p: f(x, k, params=p).loss)(params)
        np.testing.assert_allclose(slopes["a"], 4 * jnp.sum(x**3), rtol=1e-13)
        by_number = jax.grad(lambda a: f(x, k, params={"a": a}).loss)(2.0)  # JAX has a class of its own for those
        np.testing.assert_allclose(by_number, 4 * jnp.sum(x**3), rtol=1e-13)

    def test_a_penalty_on_the_gradient(self):
        f, x, a = frax.jax.function(frax.parse(ROWS)), noise(4, 3).astype("f"), noise(3, seed=2).astype("f")
        mask = jnp.asarray([True, False, True, True])
        plain = lambda x, mask, a: jnp.where(mask[:, None], jnp.sin(a * x), 0)
        results = []
        for g in (f, plain):
            slope = jax.grad(lambda x, a: jnp.sum(g(x, mask, a=a) ** 2))
            results.append(jax.jit(jax.grad(lambda a: jnp.sum(slope(x, a) ** 2)))(a))
        np.testing.assert_allclose(*results, rtol=2e-5)

    def test_other_shapes_and_vmap(self):
        f = jax.jit(frax.jax.function(frax.parse(ROWS)))
        for b in (1, 5):
            x = noise(b, 3).astype("f")
            np.testing.assert_allclose(f(x, jnp.ones(b, bool), a=jnp.ones(3, "f")), jnp.sin(x), rtol=1e-6)
        x = noise(7, 2, 3).astype("f")
        y = jax.vmap(lambda x: f(x, jnp.ones(2, bool), a=jnp.ones(3, "f")))(x)
        np.testing.assert_allclose(y, jnp.sin(x), rtol=1e-6)
        cubed = frax.jax.function(frax.parse("model m(x: f64[N]) {\n y = sum(x^3)\n return y\n}\n"))
        x = noise(3)
        np.testing.assert_allclose(jax.jacrev(jax.jacrev(cubed))(x), jnp.diag(6 * x), atol=1e-14)

    def test_wrt(self):
        f = frax.jax.function(frax.parse(ROWS), wrt="a")
        x, a, mask = noise(4, 3).astype("f"), jnp.ones(3, "f"), jnp.ones(4, bool)
        by_x, by_a = jax.grad(lambda x, a: jnp.sum(f(x, mask, a=a)), (0, 1))(x, a)
        self.assertFalse(by_x.any())
        np.testing.assert_allclose(by_a, jnp.sum(x * jnp.cos(x), 0), rtol=1e-5)

    def test_large_arrays_in_jit(self):
        f = jax.jit(lambda x: frax.jax.function(frax.parse(ROWS))(jnp.sin(x), jnp.ones(1024, bool)) + 1)
        x = noise(1024, 1024).astype("f")
        self.assertTrue(np.isfinite(f(x)).all())

    def test_what_is_refused(self):
        f = frax.jax.function(frax.parse(ROWS))
        x, mask = noise(4, 3).astype("f"), jnp.ones(4, bool)
        for arguments, named, error, says in (
                ((x.astype("f8"), mask), {}, frax.TypeError, r"x: got f64\[4,3\], expected f32\[B,N\]"),
                ((x[0], mask), {}, frax.ShapeError, "x"),
                ((x, mask), {"a": jnp.ones(2, "f")}, frax.ShapeError, r"a: got f32\[2\], expected f32\[3\]"),
                ((x,), {}, frax.UsageError, "mask: bool.B. is missing"),
                ((x, mask), {"b": x}, frax.NameError, "no input or param b")):
            with self.assertRaisesRegex(error, says):
                f(*arguments, **named)
        with self.assertRaisesRegex(frax.NameError, "no floating input or param mask"):
            frax.jax.function(frax.parse(ROWS), wrt=["mask"])
        jax.config.update("jax_enable_x64", False)
        try:
            with self.assertRaisesRegex(frax.TypeError, "jax_enable_x64"):
                frax.jax.function(frax.parse(FILTER))(np.ones((2, 3)))
        finally:
            jax.config.update("jax_enable_x64", True)

    def test_a_value_out_of_its_range(self):
        f = frax.jax.function(frax.parse("model m(x: f64[]) {\n y = guard(x, 0, 1)\n return y\n}\n"))
        logging.disable(logging.CRITICAL)  # JAX logs what a callback raises
        try:
            with self.assertRaisesRegex(Exception, "expected 0 <= x <= 1"):
                jax.block_until_ready(jax.jit(f)(2.0))
        finally:
            logging.disable(logging.NOTSET)


if __name__ == "__main__":
    unittest.main()
