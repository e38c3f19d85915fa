"""Fitting from Python: the trainer's results, its progress, how it ends."""
import os
import unittest

import numpy as np

import frax

EXAMPLES = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "examples")

# The least squares line through (t, y).
LINE = """model line(t: f64[N], y: f64[N]) {
    param a: f64 = 0
    param b: f64 = 0
    loss = mean((a * t + b - y)^2)
    return loss
}
"""

RISE = """model rise(x: f64[N]) {
    param d: f64 = 0.5
    loss = -sum(guard(d, 0, 1) * x)
    return loss
}
"""


class Fitting(unittest.TestCase):
    def setUp(self):
        self.t = np.linspace(0, 1, 20)
        self.y = 3 * self.t - 1
        self.model = frax.parse(LINE)

    def test_nile(self):
        model = frax.load(os.path.join(EXAMPLES, "nile.frax"))
        x = np.load(os.path.join(EXAMPLES, "data", "nile.npy"))
        fit = model.fit(x, optimizer="lbfgs", steps=50)
        self.assertTrue(fit.converged)
        self.assertEqual(fit.outcome, "the gradient is below the tolerance")
        self.assertAlmostEqual(float(model(x, params=fit.params).loss), fit.loss, delta=1e-9 * fit.loss)
        self.assertLess(abs(model.grad(x, params=fit.params)["d"]), 1)

    def test_every_optimizer(self):
        for optimizer, options in (("sgd", {"lr": 0.3, "momentum": 0.8}), ("adam", {"lr": 0.1}),
                                   ("adamw", {"lr": 0.1, "weight_decay": 0}), ("lbfgs", {})):
            fit = self.model.fit(self.t, self.y, optimizer=optimizer, steps=600, **options)
            self.assertAlmostEqual(float(fit.params["a"]), 3, delta=1e-3)
            self.assertAlmostEqual(float(fit.params["b"]), -1, delta=1e-3)

    def test_progress(self):
        seen = []
        fit = self.model.fit(t=self.t, y=self.y, steps=50, progress=lambda *what: seen.append(what) or len(seen) == 7)
        self.assertEqual([step for step, _, _ in seen], list(range(1, 8)))
        self.assertEqual(fit.steps, 7)
        self.assertFalse(fit.converged)
        self.assertEqual(fit.loss, seen[-1][2])

    def test_an_exception_in_progress_ends_the_fit(self):
        def progress(step, evaluations, loss):
            if step == 3:
                raise KeyboardInterrupt

        trainer = frax.Trainer(self.model, self.t, self.y, steps=50, progress=progress)
        with self.assertRaises(KeyboardInterrupt):
            trainer.run()
        self.assertEqual(trainer.steps, 3)

    def test_steps_one_by_one(self):
        trainer = frax.Trainer(self.model, self.t, self.y, optimizer="sgd", lr=0.25, params={"b": -1.0})
        self.assertEqual(trainer.params["b"], -1)
        loss = trainer.step()
        self.assertAlmostEqual(loss, np.mean((3 * self.t) ** 2))
        self.assertAlmostEqual(float(trainer.params["a"]), 0.25 * 2 * np.mean(3 * self.t**2))
        trainer.set_params({"a": 3})
        self.assertAlmostEqual(trainer.step(self.t, 3 * self.t + trainer.params["b"]), 0)
        trainer.step(y=self.y, t=self.t)

    def test_batches(self):
        fits = [self.model.fit(self.t, self.y, batch=5, steps=400, lr=0.05, seed=seed) for seed in (1, 1, 2)]
        self.assertEqual(fits[0].params["a"], fits[1].params["a"])
        self.assertNotEqual(fits[0].params["a"], fits[2].params["a"])
        self.assertAlmostEqual(float(fits[0].params["a"]), 3, delta=0.1)

    def test_some_params(self):
        fit = self.model.fit(self.t, self.y, optimizer="lbfgs", steps=50, wrt=["a"], params={"b": -1})
        self.assertEqual(fit.params["b"], -1)
        self.assertAlmostEqual(float(fit.params["a"]), 3, delta=1e-6)

    def test_the_end_of_a_range(self):
        with self.assertRaisesRegex(frax.ValueError, "step") as caught:
            frax.parse(RISE).fit(np.ones(3), optimizer="sgd", lr=0.1, steps=100)
        self.assertTrue(0.5 < caught.exception.params["d"] <= 1)

    def test_what_is_refused(self):
        for options, error, says in (({"optimizer": "newton"}, frax.ValueError, "one of sgd"),
                                     ({"stepz": 3}, frax.UsageError, "no option or input stepz"),
                                     ({"params": {"c": 1}}, frax.NameError, "no param c"),
                                     ({"wrt": ["t"]}, frax.NameError, "only params can be fitted"),
                                     ({"lr": -1}, frax.Error, "lr")):
            with self.assertRaisesRegex(error, says):
                self.model.fit(self.t, self.y, **options)
        with self.assertRaises(frax.UsageError):
            self.model.fit(self.t)
        with self.assertRaises(frax.ShapeError):
            frax.Trainer(self.model, self.t, self.y).step(self.t[1:], self.y)


if __name__ == "__main__":
    unittest.main()
