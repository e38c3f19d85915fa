"""Models on NumPy arrays and DLPack tensors: values against closed forms and the reference target, what is refused."""
import copy
import os
import pickle
import signal
import tempfile
import threading
import unittest
import warnings

import numpy as np

import frax
from models import CUBIC, FILTER, MANY, SAME


class Stub:
    """A tensor of a framework that only knows DLPack."""

    def __init__(self, array, device=1):
        self.array, self.device, self.exports = array, device, 0

    def __dlpack_device__(self):
        return (self.device, 0)

    def __dlpack__(self, **options):
        capsule = self.array.__dlpack__(**options)
        self.exports += 1
        return capsule

    shape = property(lambda self: self.array.shape)


class Bare(Stub):
    """With nothing but what DLPack asks for."""

    shape = property()


X = np.array([1, -2, 0.5])
LOSS = 8 * -6.875 / 3 + 0.25


class RandomNumbers(unittest.TestCase):
    TEXT = "model m(k: key) {\n param p: f64 = 0\n u = random_uniform(k, [1000])\n loss = p * u[0]\n return loss, u\n}\n"

    def test_keys(self):
        model = frax.parse(self.TEXT)
        u = model(k=frax.key(3)).u
        self.assertTrue(((0 < u) & (u < 1)).all() and abs(u.mean() - 0.5) < 5 / np.sqrt(12 * 1000))
        np.testing.assert_array_equal(u, model(k=frax.key(3)).u)
        self.assertFalse((u == model(k=frax.key(3 + 2**32)).u).any())
        self.assertEqual(frax.key(2**64 - 1).tolist(), [-1, -1])
        for seed in (-1, 2**64):
            with self.assertRaises(ValueError):
                frax.key(seed)

    def test_steps_draw_anew(self):
        model = frax.parse(self.TEXT)
        trainer = frax.Trainer(model, k=frax.key(5), optimizer="sgd", lr=1)
        places = [0.0]
        for _ in range(3):
            trainer.step(k=frax.key(5))
            places.append(float(trainer.params["p"]))
        self.assertEqual(len(set(np.diff(places))), 3)


class Strides(unittest.TestCase):
    """Layouts that are compiled in from examples."""

    TEXT = ("model m(x: f64[R, C], w: f64[C]) {\n param b: f64[C] = uniform(1, 2)\n y = x * w + b\n"
            " loss = sum(y^2)\n return loss, y\n}\n")

    def setUp(self):
        self.model = frax.parse(self.TEXT)
        rng = np.random.default_rng(5)
        self.x, self.w = rng.standard_normal((6, 4)), rng.standard_normal(4)

    def test_in_place(self):
        z = np.zeros((4, 6, 2))
        x, y = z[..., 0].T, z[..., 1].T[::-1]  # woven into each other
        gap = np.full((4, 3), 7.0)
        x[...] = self.x
        w = np.broadcast_to(2.0, 4)
        like = {"x": x, "w": w, "y": y, "b": (16,), "grad.b": gap[:, 1]}
        exe = self.model.compile(x, like=like, grad=True)
        plain = self.model.compile(x, grad=True)
        expected = plain(self.x, np.full(4, 2.0))
        out = exe(x, w, out={"y": y, "grad.b": gap[:, 1]})
        for got, right in zip(out, expected):
            np.testing.assert_allclose(got, right, rtol=1e-14)
        self.assertIs(out.y, y)
        np.testing.assert_array_equal(x, self.x)
        np.testing.assert_array_equal(gap[:, ::2], 7)
        np.testing.assert_array_equal(exe.initial(3)["b"], plain.initial(3)["b"])
        new = exe(x, w)
        self.assertEqual(new.y.strides, y.strides)
        np.testing.assert_array_equal(new.y, expected.y)
        np.testing.assert_array_equal(exe(self.x, w).y, expected.y)  # a copy with the compiled strides
        tensor = Stub(x)
        np.testing.assert_array_equal(exe(tensor, w).y, expected.y)
        self.assertEqual(tensor.exports, 1)

    def test_refused(self):
        x = np.asfortranarray(self.x)
        exe = self.model.compile(x, like={"x": x, "w": (0,), "y": x})
        with self.assertRaisesRegex(frax.ValueError, r"w: got strides \(8,\), but \(0,\) were compiled in"):
            exe(x, self.w)
        windows = np.lib.stride_tricks.sliding_window_view(np.arange(9.0), 4)
        slide = self.model.compile(windows, like={"x": windows})
        np.testing.assert_array_equal(slide(windows, self.w).y, self.model(windows.copy(), self.w).y)
        with self.assertRaisesRegex(frax.ValueError, r"\(8, 8\) were compiled in"):
            slide(self.x, self.w)
        w = np.broadcast_to(1.0, 4)
        with self.assertRaisesRegex(frax.UsageError, r"y: the array to write to must be .* with strides \(8, 48\)"):
            exe(x, w, out={"y": self.x.copy()})
        with self.assertRaisesRegex(frax.UsageError, "output y overlaps that of x"):
            exe(x, w, out={"y": x})
        with self.assertRaisesRegex(frax.NameError, "no output z"):
            self.model.compile(x, like={"z": x})
        with self.assertRaisesRegex(frax.ShapeError, "rank 1"):
            self.model.compile(x, like={"x": self.w})


class Values(unittest.TestCase):
    def setUp(self):
        self.model = frax.parse(CUBIC, "cubic.frax")

    def test_signature(self):
        self.assertEqual(self.model.name, "cubic")
        self.assertEqual(self.model.inputs, {"x": "f64[N]", "k": "i32[]"})
        self.assertEqual(self.model.params, {"a": "f64[]", "b": "f64[1]"})
        self.assertEqual(self.model.outputs, {"loss": "f64[]", "y": "f64[N]", "big": "i32[]"})
        exe = self.model.compile(sizes={"N": 3})
        self.assertEqual(exe.inputs, {"x": "f64[3]", "k": "i32[]"})
        self.assertGreaterEqual(exe.memory["kernels"], 1)

    def test_every_target(self):
        for target in ("cpu", "eager", "reference"):
            exe = self.model.compile(X, target=target)
            loss, y, big = exe(X, 41, b=[0.25])
            self.assertAlmostEqual(float(loss), LOSS, delta=1e-13)
            np.testing.assert_array_equal(y, [2, -4, 1])
            self.assertEqual(big, 42)

    def test_results_by_name(self):
        results = self.model(X, 41, params={"b": np.array([0.25])})
        self.assertEqual(results.names, ("loss", "y", "big"))
        self.assertIs(results.y, results["y"])
        self.assertIs(results[1], results.y)
        self.assertEqual(set(results.asdict()), {"loss", "y", "big"})
        again = pickle.loads(pickle.dumps(results))
        np.testing.assert_array_equal(again.y, results.y)
        with self.assertRaises(AttributeError):
            results.z

    def test_one_output_is_an_array(self):
        y = frax.parse("model m(x: f32[N]) {\n y = 2 * x\n return y\n}\n")(np.ones(4, np.float32))
        self.assertIsInstance(y, np.ndarray)
        self.assertEqual(y.dtype, np.float32)

    def test_inputs_by_name_and_initial_values(self):
        one = self.model(k=41, x=X)
        other = self.model(X, 41, a=2, b=self.model.compile(X).initial()["b"])
        self.assertEqual(one.loss, other.loss)
        initial = self.model.compile(X, seed=3).initial(5)
        self.assertEqual(initial["a"], 2)
        self.assertNotEqual(initial["b"], self.model.compile(X).initial(6)["b"])

    def test_gradient(self):
        gradient = self.model.grad(X, 41)
        self.assertEqual(list(gradient), ["a", "b"])
        self.assertAlmostEqual(float(gradient["a"]), 4 * -6.875, delta=1e-12)
        np.testing.assert_allclose(self.model.grad(X, 41, wrt="x")["x"], 8 * X**2, rtol=1e-14)
        results = self.model.compile(X, grad=True)(X, 41)
        self.assertEqual(results["grad.a"], gradient["a"])

    def test_tangents_and_cotangents(self):
        exe = self.model.compile(X, mode="jvp", wrt=["a"])
        np.testing.assert_allclose(exe(X, 41, tangents={"a": 3})["tangent.y"], 3 * X)
        exe = self.model.compile(X, mode="hvp", wrt=["a"])
        self.assertAlmostEqual(float(exe(X, 41, tangents={"a": 1})["hvp.a"]), 4 * -6.875, delta=1e-12)
        exe = self.model.compile(X, mode="vjp", wrt=["x"])
        h = np.array([1.0, 2, 3])
        np.testing.assert_allclose(exe(X, 41, cotangents={"loss": 0, "y": h}), 2 * h)
        with self.assertRaisesRegex(frax.UsageError, "cotangent.y: f64.3. is missing"):
            exe(X, 41, cotangents={"loss": 0})

    def test_cotangents_of_all_kinds_of_outputs(self):
        model = frax.parse(SAME)  # returns x itself, one value twice, and one without x
        exe = model.compile((3,), mode="vjp", wrt=["x"])
        ones = np.ones(3)
        grad = exe(X, cotangents={"x": ones, "y": 2 * ones, "z": 3 * ones, "c": 1})
        np.testing.assert_allclose(grad, 1 + 5 * 2 * X)

    def test_fractional_values_agree_with_the_reference(self):
        model, x = frax.parse(FILTER), np.random.default_rng(1).standard_normal((5, 100))
        cotangents = {"y": np.cos(x), "power": np.arange(5.0)}
        for options in ({}, {"mode": "vjp", "cotangents": cotangents}):
            exe, reference = (
                model.compile(x, mode=options.get("mode", "forward"), wrt=["x", "d", "w"], target=target)
                for target in ("cpu", "reference"))
            given = {"cotangents": options.get("cotangents")}
            for got, expected in zip(exe(x, **given), reference(x, **given)):
                np.testing.assert_allclose(got, expected, rtol=1e-11, atol=1e-11)


class Arrays(unittest.TestCase):
    def setUp(self):
        self.model = frax.parse("model m(x: f64[A, B]) {\n param s: f64 = 2\n y = s * x\n return y\n}\n")
        self.x = np.arange(12.0).reshape(3, 4)
        self.exe = self.model.compile(self.x)

    def test_not_contiguous_is_copied(self):
        for x in (np.asfortranarray(self.x), np.repeat(self.x, 2, 1)[:, ::2], self.x[::-1, ::-1],
                  np.broadcast_to(np.float64(7), (3, 4))):
            np.testing.assert_array_equal(self.exe(x), 2 * x)
            np.testing.assert_array_equal(self.exe(Stub(np.array(x, order="K", subok=True))), 2 * x)

    def test_not_aligned_is_copied(self):
        x = np.frombuffer(b"\0" + self.x.tobytes(), np.uint8)[1:].view(np.float64).reshape(3, 4)
        self.assertFalse(x.flags.aligned)
        np.testing.assert_array_equal(self.exe(x), 2 * self.x)

    def test_read_only_is_read(self):
        self.x.flags.writeable = False
        np.testing.assert_array_equal(self.exe(self.x), 2 * self.x)

    def test_out(self):
        y = np.empty((3, 4))
        self.assertIs(self.exe(self.x, out=y), y)
        np.testing.assert_array_equal(y, 2 * self.x)
        model = frax.parse(CUBIC)
        results = model(X, 1, out={"y": np.empty(3)})
        np.testing.assert_array_equal(results.y, 2 * X)
        y = np.empty(3)
        self.assertIs(model(X, 1, out=[None, y, None])[1], y)
        tensor = Stub(np.zeros((3, 4)))
        self.exe(self.x, out=tensor)
        np.testing.assert_array_equal(tensor.array, 2 * self.x)

    def test_refused_out(self):
        frozen = np.empty((3, 4))
        frozen.flags.writeable = False
        for out, error in ((np.empty((4, 3)), frax.ShapeError), (np.empty((3, 4), "f"), frax.TypeError),
                           (np.empty((3, 8))[:, ::2], frax.UsageError), (frozen, frax.UsageError),
                           (self.x, frax.UsageError), ([self.x, self.x], frax.UsageError), ([[1.0]], frax.TypeError),
                           ({"z": self.x}, frax.NameError), (Stub(np.empty((3, 8))[:, ::2]), frax.UsageError)):
            with self.assertRaises(error):
                self.exe(self.x, out=out)
        with self.assertRaisesRegex(frax.UsageError, "output y overlaps that of x"):
            self.exe(self.x, out=self.x)

    def test_dlpack_is_not_copied(self):
        tensor = Stub(self.x)
        np.testing.assert_array_equal(self.model(tensor, s=3), 3 * self.x)
        self.assertEqual(tensor.exports, 1)
        np.testing.assert_array_equal(self.model(Bare(self.x), s=3), 3 * self.x)
        with self.assertRaisesRegex(frax.UnsupportedError, "on a device"):
            self.model(Stub(self.x, device=2))
        with self.assertRaisesRegex(frax.TypeError, r"x: got f32\[3,4\], expected f64\[3,4\]"):
            self.model(Stub(self.x.astype("f")))
        with self.assertRaisesRegex(frax.TypeError, "DLPack dtype"):
            self.model(Stub(self.x.astype(complex)))

    def test_half_precision(self):
        model = frax.parse("model m(x: f16[N], z: bf16[N]) {\n y = x + x\n w = z * z\n return y, w\n}\n")
        z = np.array([0x3F80, 0x4000], np.uint16)  # 1, 2
        y, w = model(np.array([1, 2], np.float16), z.view(model.compile((2,), (2,))._inputs[1].dtype))
        np.testing.assert_array_equal(y, np.array([2, 4], np.float16))
        np.testing.assert_array_equal(w.view(np.uint16), [0x3F80, 0x4080])

    def test_bool_and_numbers(self):
        model = frax.parse("model m(x: f64[N], m: bool[N]) {\n y = where(m, x, 0)\n return y\n}\n")
        np.testing.assert_array_equal(model([1, 2], [True, False]), [1, 0])
        for bad in ([1.0, 2.0], "ab", [None, None]):
            with self.assertRaises(frax.TypeError):
                model([1, 2], bad)

    def test_many_values(self):
        model = frax.parse(MANY)
        self.assertEqual(model(*range(150)), sum(i * i for i in range(150)))


class Faults(unittest.TestCase):
    def test_of_the_text(self):
        with self.assertRaises(frax.SyntaxError) as caught:
            frax.parse("model m(x: f64[]) {\n y = x +\n return y\n}\n", "m.frax")
        self.assertEqual(caught.exception.line, 2)
        self.assertIn("m.frax:2:", str(caught.exception))
        self.assertEqual(caught.exception.meaning, "the model's text is not well formed")
        with self.assertRaisesRegex(frax.NameError, "did you mean"):
            frax.parse("model m(x: f64[]) {\n y = tank(x)\n return y\n}\n")
        with self.assertRaises(frax.FileError):
            frax.load("no/such/file.frax")
        again = pickle.loads(pickle.dumps(caught.exception))
        self.assertEqual((again.line, str(again)), (2, str(caught.exception)))

    def test_of_compiling(self):
        model = frax.parse(CUBIC)
        with self.assertRaisesRegex(frax.UsageError, "size N of model"):
            model.compile()
        with self.assertRaises(frax.ShapeError):
            model.compile((2, 2))
        with self.assertRaises(frax.TypeError):
            model.compile(X, grad=True, wrt=["k"])
        with self.assertRaisesRegex(frax.NameError, "did you mean loss"):
            model.compile(X, grad=True, of="los")
        for options in ({"sizes": {"N": 2**64 + 3}}, {"threads": 2**32 + 1}, {"of": "los\0s"}):
            with self.assertRaises(frax.ValueError):
                model.compile(X, **options)
        with self.assertRaisesRegex(frax.ValueError, "expected one of cpu"):
            model.compile(X, target="tpu")
        with self.assertRaisesRegex(frax.UsageError, "options.device is -1"):
            model.compile(X, target="cuda", device=-1)
        self.assertTrue(issubclass(frax.ShapeError, (frax.Error, ValueError)))

    def test_progress_of_compiling(self):
        model, stages, lines = frax.parse(CUBIC), [], []
        model.compile(X, progress=lambda *what: stages.append(what), log=lines.append)
        self.assertTrue(stages and lines)
        with self.assertRaises(frax.CancelledError):
            model.compile(X, progress=lambda stage, done, total: True)
        with self.assertRaises(KeyError):
            model.compile(X, progress=lambda stage, done, total: {}[stage])

    def test_of_a_call(self):
        model = frax.parse(CUBIC)
        exe = model.compile(X)
        for arguments, named, error, says in (
                ((X[:2], 1), {}, frax.ShapeError, r"x: got f64\[2\], expected f64\[3\]"),
                ((X.astype("f"), 1), {}, frax.TypeError, r"x: got f32\[3\], expected f64\[3\]"),
                ((X.astype(">f8"), 1), {}, frax.TypeError, "x: got >f8"),
                ((X,), {}, frax.UsageError, r"k: i32\[\] is missing"),
                ((X, 1, 2), {}, frax.UsageError, "takes 2 inputs"),
                ((X, 1), {"x": X}, frax.UsageError, "given twice"),
                ((X, 1), {"c": 1}, frax.NameError, "no input or param c; there are x, k, a, b"),
                ((X, 1), {"a": [1, 2]}, frax.ShapeError, "a: got f64"),
                ((X, 1.5), {}, frax.TypeError, "k: got f64"),
                ((np.ma.array(X, mask=[0, 1, 0]), 1), {}, frax.ValueError, "x: elements are masked"),
                ((X, 1), {"params": [1, 2]}, frax.UsageError, "params is a list"),
                ((X, 1), {"params": {1: 1}}, frax.NameError, "no input or param 1")):
            for f in (exe, model):
                if f is model and arguments[0] is not X and error is frax.ShapeError:
                    continue  # another size is another executable
                with self.assertRaisesRegex(error, says):
                    f(*arguments, **named)

    def test_of_numbers(self):
        model = frax.parse("model m(k: i32[N], p: i32[], h: f16[N], s: f32[N], d: f64[N], on: bool[N]) {\n"
                           " param q: f32 = 1\n y = k + p\n z = q * s\n return y, h, z, d, on\n}\n")
        good = {"p": 0, "k": [1, -2**31], "h": [1, 65504], "s": [2**24 + 1, -3e38], "d": [2**70, 1e308],
                "on": [True, False]}
        for f in (model, model.compile(sizes={"N": 2})):
            y, h, s, d, on = f(**good)
            self.assertEqual((y.tolist(), h.tolist(), d.tolist()), ([1, -2**31], [1, 65504], [2.0**70, 1e308]))
            self.assertEqual((s.dtype, on.tolist()), (np.float32, [True, False]))
            self.assertTrue(np.isinf(f(**dict(good, h=[np.inf, -np.inf]))[1]).all())
            for name, values, error, says in (
                    ("k", [1, 2**31], frax.ValueError, "^k: 2147483648 is beyond the range of i32$"),
                    ("k", [-2**31 - 1, 0], frax.ValueError, "k: -2147483649 is beyond"),
                    ("k", [2**40 + 7, 0], frax.ValueError, "beyond the range of i32"),
                    ("k", [2**63, -1], frax.ValueError, "k: 9223372036854775808 is beyond"),
                    ("k", [2**70, 1], frax.ValueError, "k: 1180591620717411303424 is beyond"),
                    ("k", [1, 2.5], frax.TypeError, r"k: got f64\[2\]"),
                    ("k", [1, None], frax.TypeError, "k: got object"),
                    ("p", 2**31, frax.ValueError, "p: 2147483648 is beyond the range of i32"),
                    ("p", np.uint32(2**31), frax.ValueError, "p: 2147483648 is beyond"),
                    ("q", np.longdouble("1e400"), frax.ValueError, "beyond the range of f32"),
                    ("d", np.longdouble("1e400") * np.ones(2), frax.TypeError, "d: got"),
                    ("q", 1e39, frax.ValueError, r"q: 1e\+39 is beyond the range of f32"),
                    ("h", [1, 70000], frax.ValueError, "h: 70000.0 is beyond the range of f16"),
                    ("h", [1, -1e5], frax.ValueError, "h: -100000.0 is beyond the range of f16"),
                    ("s", [1e39, 0], frax.ValueError, r"s: 1e\+39 is beyond the range of f32"),
                    ("d", [10**400, 0], frax.ValueError, "d: 10+ is beyond the range of f64"),
                    ("on", [1, 0], frax.TypeError, "on: got int64"),
                    ("on", [0.5, 1], frax.TypeError, "on: got f64")):
                with self.assertRaisesRegex(error, says), warnings.catch_warnings():
                    warnings.simplefilter("error")
                    f(**dict(good, **{name: values}))

    def test_of_making_objects(self):
        for arguments in ((), (1, 2, 3), (None, "", "")):
            with self.assertRaisesRegex(frax.UsageError, "frax.load.*frax.parse"):
                frax.Model(*arguments)
            with self.assertRaisesRegex(frax.UsageError, "Model.compile"):
                frax.Executable(*arguments)

    def test_of_a_value(self):
        model = frax.parse("model m(x: f64[N]) {\n param d: f64 = 0.5\n y = guard(d, 0, 1) * x\n return y\n}\n")
        with self.assertRaisesRegex(frax.ValueError, "guard: x is 2") as caught:
            model(X, d=2)
        self.assertEqual(caught.exception.line, 3)
        np.testing.assert_array_equal(model(X), X / 2)


class Running(unittest.TestCase):
    def test_threads(self):
        """Many threads in one executable, each with inputs of its own."""
        model = frax.parse(FILTER)
        rng = np.random.default_rng(2)
        inputs = [rng.standard_normal((4, 64)) for _ in range(8)]
        exe = model.compile(inputs[0], threads=1)
        expected = [exe(x).y.copy() for x in inputs]
        wrong = []

        def work(i):
            for _ in range(300):
                if not np.array_equal(exe(inputs[i]).y, expected[i]):
                    wrong.append(i)

        threads = [threading.Thread(target=work, args=(i,)) for i in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        self.assertEqual(wrong, [])

    def test_several_models_in_a_file(self):
        text = "model one(x: f64[]) {\n return x\n}\nmodel two(x: f64[]) {\n y = x + 1\n return y\n}\n"
        self.assertEqual(frax.parse(text, name="two")(1), 2)
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "both.frax")
            with open(path, "w") as file:
                file.write(text)
            self.assertEqual(frax.load(path).name, "one")
            two = frax.load(path + ":two")
            self.assertEqual(two(1), 2)
            with self.assertRaisesRegex(frax.NameError, "tow"):
                frax.load(path + ":tow")
        self.assertEqual(pickle.loads(pickle.dumps(two))(2), 3)  # without the file

    def test_streaming(self):
        model = frax.parse("model m(x: f64[T]) {\n param a: f64 = 0.4\n"
                           " e = frac(x, a, kind=grunwald, engine=soe)\n s = x[1:] - x[:-1]\n return e, s\n}\n")
        x = np.random.default_rng(3).standard_normal(96)
        whole = model(x)
        exe = model.compile(sizes={"T": 96}, stream="T", chunk=32)
        self.assertEqual(exe.place("s"), (0, 1, 95))
        stream = exe.stream({"a": 0.4})
        for _ in range(2):
            parts = [stream(x[i : i + 32]) for i in range(0, 96, 32)]
            np.testing.assert_allclose(np.concatenate([p.e for p in parts]), whole.e, rtol=1e-12, atol=1e-12)
            np.testing.assert_allclose(np.concatenate([p.s for p in parts])[1:], whole.s, rtol=1e-12)
            stream.reset()

    def test_params_that_nobody_else_holds(self):
        """A file's arrays are made when they are asked for."""
        text = "model q(x: f64[T]) {\n param w: f64[1000] = zeros\n param v: f64[1000] = zeros\n"
        exe = frax.parse(text + " loss = sum(x) * (sum(w) + sum(v))\n return loss\n}\n").compile(np.ones(3))
        with tempfile.TemporaryDirectory() as folder:
            path = os.path.join(folder, "p.npz")
            np.savez(path, w=np.full(1000, 2.0), v=np.full(1000, 3.0))
            with np.load(path) as params:
                for _ in range(5):
                    self.assertEqual(exe(np.ones(3), params=params), 15000)

    def test_threads_of_a_new_executable(self):
        """All of them ask for the initial params at once."""
        params = "".join(" param w%d: f64[64] = ones\n" % i for i in range(40))
        model = frax.parse("model q(x: f64[T]) {\n%s loss = sum(x) + %s\n return loss\n}\n"
                           % (params, " + ".join("sum(w%d)" % i for i in range(40))))
        for _ in range(40):
            exe, results, start = model.compile(np.ones(3)), [], threading.Barrier(6)

            def call():
                start.wait()
                results.extend(float(exe(np.ones(3))) for _ in range(3))

            threads = [threading.Thread(target=call) for _ in range(6)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            self.assertEqual(set(results), {2563.0})

    @unittest.skipUnless(hasattr(os, "fork"), "needs fork")
    def test_after_a_fork(self):
        """The child has none of its parent's threads."""
        exe, x = frax.parse(
            "model q(x: f64[B, T]) {\n e = tanh(frac(x, 0.5, kind=weyl))\n return e\n}\n").compile((64, 4096), threads=2), np.random.default_rng(1).standard_normal((64, 4096))
        expected = exe(x)
        child = os.fork()
        if not child:
            signal.alarm(60)
            os._exit(not np.array_equal(exe(x), expected))
        self.assertEqual(os.waitpid(child, 0)[1], 0)

    def test_no_copies_of_what_holds_a_handle(self):
        model = frax.parse(CUBIC)
        for value in (model.compile(X), frax.Trainer(model, X, 1)):
            for copied in (copy.copy, copy.deepcopy, pickle.dumps):
                with self.assertRaises(frax.UsageError):
                    copied(value)

    def test_params_of_other_types(self):
        model = frax.parse(CUBIC)
        for params, error in (([1], frax.UsageError), ("a", frax.UsageError), (0, frax.UsageError),
                              ({1: 2}, frax.NameError)):
            with self.assertRaises(error):
                model.fit(X, 1, steps=1, params=params)
        with self.assertRaises(frax.UsageError):
            model.compile(X, mode="jvp")(X, 1, tangents=[1])

    def test_empty_tensors(self):
        model = frax.parse("model q(x: f64[N, K]) {\n y = 2 * x\n return y\n}\n")
        for empty in (np.zeros((10, 8))[:0, :3], np.zeros((10, 8))[:, :0].T):
            self.assertEqual(model(Stub(empty)).shape, empty.shape)

    def test_a_state_over_its_own_param(self):
        model = frax.parse("model m(x: f64[T]) {\n s = x[1:] - x[:-1]\n return s\n}\n")
        exe = model.compile(sizes={"T": 12}, stream="T", chunk=4)
        states = {slot.name: slot.empty() for slot in exe.slots[1]}
        for state in states.values():
            state[...] = 0
        x, parts = np.arange(12.0) ** 2, []
        for i in range(0, 12, 4):
            parts.append(exe(x[i : i + 4], params=states, out=dict(states))[0])
        np.testing.assert_array_equal(np.concatenate(parts)[1:], np.diff(x))

    def test_no_growth(self):
        """Executables are freed with their Python objects."""
        model = frax.parse(CUBIC)

        def resident():
            with open("/proc/self/statm") as file:
                return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

        if not os.path.exists("/proc/self/statm"):
            self.skipTest("needs /proc")
        for i in range(300):
            if i == 100:
                before = resident()
            model.compile(X, threads=1)(X, 1)
        self.assertLess(resident() - before, 16 << 20)


if __name__ == "__main__":
    unittest.main()
