"""Fitting from Python: the trainer's results, its progress, how it ends."""
import json
import os
import subprocess
import tempfile
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

    def test_params_in_files(self):
        params = {"a": np.array(3.0), "w": np.arange(6, dtype="f").reshape(2, 3).T, "m": np.array([True, False]),
                  "h": np.ones(2, np.float16), "i": np.arange(3, dtype=np.int32)}
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "p.safetensors")
            frax.save_params(path, params)
            again = frax.load_params(path)
            self.assertEqual(list(again), list(params))
            for name, array in params.items():
                self.assertEqual(again[name].dtype, array.dtype)
                np.testing.assert_array_equal(again[name], array)
            with open(path, "rb") as file:
                data = file.read()
            for cut in list(range(0, len(data), 7)) + [len(data) - 1]:
                with open(path, "wb") as file:
                    file.write(data[:cut])
                with self.assertRaises(frax.FileError):
                    frax.load_params(path)
            with self.assertRaises(frax.TypeError):
                frax.save_params(path, {"a": np.arange(3)})

    @unittest.skipUnless(os.environ.get("FRAX_PROGRAM"), "needs the program frax")
    def test_params_of_the_command_line(self):
        model, data = os.path.join(EXAMPLES, "nile.frax"), os.path.join(EXAMPLES, "data", "nile.npy")
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "p.safetensors")
            frax.save_params(path, {"d": 0.25})
            command = [os.environ["FRAX_PROGRAM"], "run", model, "--in", "x=" + data, "--load", path, "--json"]
            run = subprocess.run(command, check=True, capture_output=True, text=True)
            loss = json.loads(run.stdout)["outputs"]["loss"]["data"][0]
            self.assertAlmostEqual(loss, float(frax.load(model)(np.load(data), d=0.25).loss), delta=1e-9 * loss)
            command[1:2] = ["fit"]
            subprocess.run(command[:-3] + ["--steps", "3", "--save", path], check=True, capture_output=True)
            self.assertEqual(list(frax.load_params(path)), ["d"])

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
