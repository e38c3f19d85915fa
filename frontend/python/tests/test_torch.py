"""frax.torch: gradients of first and second order by finite differences, against the same model in PyTorch, as a
module, with DistributedDataParallel."""
import copy
import os
import pickle
import tempfile
import unittest

import numpy as np

import frax
from models import CUBIC, FILTER, SAME

try:
    import torch
    import frax.torch
except ImportError:
    torch = None

# A layer with a learnable filter, and the same in PyTorch.
LAYER = """model layer(x: f64[B, N], target: f64[B, C]) {
    param w: f64[N, C] = glorot
    param b: f64[C]    = 0.1
    y    = tanh(x @ w + b)
    loss = mean((y - target)^2)
    return loss, y
}
"""


def torch_layer(x, target, w, b):
    y = torch.tanh(x @ w + b)
    return ((y - target) ** 2).mean(), y


def noise(*shape, seed=1, grad=True):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator).requires_grad_(grad)


@unittest.skipUnless(torch, "needs PyTorch")
class Function(unittest.TestCase):
    def test_first_and_second_order_by_finite_differences(self):
        f = frax.torch.function(frax.parse(FILTER), threads=1)
        x, d, w = noise(2, 6), torch.tensor(0.3, dtype=torch.float64, requires_grad=True), noise(6, seed=2)
        call = lambda x, d, w: tuple(f(x, d=d, w=w))
        self.assertTrue(torch.autograd.gradcheck(call, (x, d, w)))
        self.assertTrue(torch.autograd.gradgradcheck(call, (x, d, w)))

    def test_outputs_of_all_kinds(self):
        f = frax.torch.function(frax.parse(SAME))
        call = lambda x: tuple(f(x))
        self.assertTrue(torch.autograd.gradcheck(call, noise(3)))
        self.assertTrue(torch.autograd.gradgradcheck(call, noise(3)))
        f = frax.torch.function(frax.parse(CUBIC))
        x = noise(3)
        loss, y, big = f(x, torch.tensor(1, dtype=torch.int32), a=torch.tensor(2.0, dtype=torch.float64))
        self.assertFalse(big.requires_grad)
        y.sum().backward()
        torch.testing.assert_close(x.grad, torch.full((3,), 2.0, dtype=torch.float64))

    def test_third_order(self):
        f = frax.torch.function(frax.parse("model m(x: f64[N]) {\n y = x^4\n return y\n}\n"))
        x = noise(3)
        y = f(x)
        for power, factor in ((3, 4), (2, 12), (1, 24)):
            (y,) = torch.autograd.grad(y.sum(), x, create_graph=True)
            torch.testing.assert_close(y, factor * x**power)

    def test_a_penalty_on_the_gradient(self):
        """The derivative by a param of a gradient by an input."""
        f = frax.torch.function(frax.parse(LAYER), threads=1)
        x, target, w, b = noise(3, 4), noise(3, 2, seed=2, grad=False), noise(4, 2, seed=3), noise(2, seed=4)
        results = []
        for call in (lambda: f(x, target, w=w, b=b)[0], lambda: torch_layer(x, target, w, b)[0]):
            loss = call()
            (slope,) = torch.autograd.grad(loss, x, create_graph=True)
            results.append(torch.autograd.grad(loss + (slope**2).sum(), (w, b)))
        torch.testing.assert_close(*results)

    def test_a_derivative_of_ones_own(self):
        """Its Jacobian is no gradient of anything, so that only the reverse of the reverse is right."""
        f = frax.torch.function(frax.parse("""model m(x: f64[N], z: f64[N]) {
    y = straight(x, z)
    return y
}
fn straight(x, z) {
    return floor(x)
} derivative(dx, dz) {
    return x * z * dx
}
"""))
        x, z, g = noise(3), noise(3, seed=2), noise(3, seed=3)
        (slope,) = torch.autograd.grad(f(x, z), x, g, create_graph=True)
        torch.testing.assert_close(slope, x * z * g)
        u = noise(3, seed=4, grad=False)
        for got, expected in zip(torch.autograd.grad(slope, (x, z, g), u), (u * z * g, u * x * g, u * x * z)):
            torch.testing.assert_close(got, expected)

    def test_functional(self):
        f = frax.torch.function(frax.parse("model m(x: f64[N]) {\n param a: f64 = 2\n y = sum(a * x^3)\n return y\n}\n"))
        x, a = noise(3, grad=False), torch.tensor(2.0, dtype=torch.float64)
        torch.testing.assert_close(torch.func.grad(f)(x), 6 * x**2)
        by_a = torch.func.grad(lambda a: torch.func.grad(lambda x: f(x, a=a))(x).sum())
        torch.testing.assert_close(by_a(a), (3 * x**2).sum())
        rows = noise(4, 3, grad=False)
        torch.testing.assert_close(torch.func.vmap(f)(rows), 2 * (rows**3).sum(1))
        both = torch.func.vmap(frax.torch.function(frax.parse(SAME)))(rows)
        torch.testing.assert_close(both.z, rows**2)
        torch.testing.assert_close(torch.func.jacrev(torch.func.jacrev(f))(x), torch.diag(12 * x))

    def test_not_contiguous(self):
        f = frax.torch.function(frax.parse(LAYER))
        x, target, w = noise(4, 3).t(), noise(1, 2, grad=False).expand(3, 2), noise(2, 4).t()
        b = noise(2)
        for got, expected in zip(f(x, target, w=w, b=b), torch_layer(x, target, w, b)):
            torch.testing.assert_close(got, expected)

    def test_half_precision(self):
        f = frax.torch.function(frax.parse("model m(x: bf16[N]) {\n param a: bf16 = 2\n y = a * x\n return y\n}\n"))
        x = torch.tensor([1.0, 2.0], dtype=torch.bfloat16, requires_grad=True)
        y = f(x)
        self.assertEqual(y.dtype, torch.bfloat16)
        y.sum().backward()
        self.assertEqual(x.grad.tolist(), [2, 2])

    def test_what_is_refused(self):
        f = frax.torch.function(frax.parse(LAYER))
        x, target, w = noise(3, 4), noise(3, 2), noise(4, 2)
        for arguments, named, error, says in (
                ((x.float(), target), {}, frax.TypeError, r"x: got f32\[3,4\], expected f64\[B,N\]"),
                ((x.long(), target), {}, frax.TypeError, r"x: got torch.int64\[3,4\]"),
                ((x[0], target), {}, frax.ShapeError, "x"),
                ((x,), {}, frax.UsageError, r"target: f64\[B,C\] is missing"),
                ((x, target), {"w": w.t()}, frax.ShapeError, r"w: got f64\[2,4\], expected f64\[4,2\]"),
                ((x, target), {"v": w}, frax.NameError, "no input or param v"),
                ((x.to("meta"), target), {}, frax.UnsupportedError, "x: the tensor is on meta; frax runs on the CPU"),
                ((x.to_sparse(), target), {}, frax.UnsupportedError, "frax takes dense ones")):
            with self.assertRaisesRegex(error, says):
                f(*arguments, **named)


def train(net, x, target, steps):
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    for _ in range(steps):
        optimizer.zero_grad()
        net(x, target)[0].backward()
        optimizer.step()


@unittest.skipUnless(torch, "needs PyTorch")
class Module(unittest.TestCase):
    def setUp(self):
        self.x, self.target = noise(6, 4, grad=False), noise(6, 2, seed=2, grad=False)
        self.net = frax.torch.Module(frax.parse(LAYER), self.x, self.target, seed=7, threads=1)

    def test_parameters(self):
        shapes = {name: tuple(p.shape) for name, p in self.net.named_parameters()}
        self.assertEqual(shapes, {"w": (4, 2), "b": (2,)})
        expected = frax.parse(LAYER).compile((6, 4), (6, 2)).initial(7)
        np.testing.assert_array_equal(self.net.w.detach().numpy(), expected["w"])
        self.assertIn("layer(x: f64[B,N]", repr(self.net))
        by_sizes = frax.torch.Module(frax.parse(LAYER), sizes={"B": 1, "N": 4, "C": 2})
        self.assertEqual(tuple(by_sizes.w.shape), (4, 2))
        torch.manual_seed(3)
        one, other = (frax.torch.Module(frax.parse(LAYER), (1, 4), (1, 2)) for _ in range(2))
        self.assertFalse(torch.equal(one.w, other.w))

    def test_training_is_that_of_pytorch(self):
        w, b = (p.detach().clone().requires_grad_() for p in self.net.parameters())
        train(self.net, self.x, self.target, 5)
        optimizer = torch.optim.SGD([w, b], lr=0.5)
        for _ in range(5):
            optimizer.zero_grad()
            torch_layer(self.x, self.target, w, b)[0].backward()
            optimizer.step()
        torch.testing.assert_close(self.net.w, w)
        torch.testing.assert_close(self.net.b, b)

    def test_other_batches_and_other_sizes(self):
        self.assertEqual(tuple(self.net(self.x[:2], self.target[:2]).y.shape), (2, 2))
        with self.assertRaisesRegex(frax.ShapeError, "w: got"):
            self.net(self.x[:, :3], self.target)
        with self.assertRaisesRegex(frax.NameError, "no input w"):
            self.net(self.x, self.target, w=self.net.w)

    def test_state_dict_copies_and_pickles(self):
        other = frax.torch.Module(frax.parse(LAYER), self.x, self.target, seed=8)
        other.load_state_dict(self.net.state_dict())
        with torch.no_grad():
            expected = self.net(self.x, self.target).y
            for net in (other, copy.deepcopy(self.net), pickle.loads(pickle.dumps(self.net)),
                        torch.nn.ModuleList([self.net])[0]):
                torch.testing.assert_close(net(self.x, self.target).y, expected, rtol=0, atol=0)
        with self.assertRaises(frax.TypeError):
            copy.deepcopy(self.net).float()(self.x, self.target)

    def test_names_of_attributes(self):
        with self.assertRaisesRegex(frax.NameError, "param half has the name of an attribute"):
            frax.torch.Module(frax.parse("model m(x: f64[]) {\n param half: f64 = 1\n y = half * x\n return y\n}\n"))

    def test_in_a_larger_module(self):
        rows = "model rows(x: f64[B, N]) {\n param d: f64 = 0.4\n y = frac(x, d, kind=weyl)\n return y\n}\n"
        net = torch.nn.Sequential(torch.nn.Linear(4, 8), frax.torch.Module(frax.parse(rows), (6, 8)),
                                  torch.nn.Linear(8, 1)).double()
        net(self.x).square().mean().backward()
        self.assertTrue(all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters()))

    @unittest.skipUnless(torch and torch.distributed.is_available() and torch.distributed.is_gloo_available(),
                         "needs torch.distributed with gloo")
    def test_distributed_data_parallel(self):
        """Two processes with half of the batch each have the gradients of the whole."""
        with tempfile.TemporaryDirectory() as folder:
            context = torch.multiprocessing.get_context("spawn")
            workers = [context.Process(target=distributed_worker, args=(rank, folder)) for rank in range(2)]
            for worker in workers:
                worker.start()
            for worker in workers:
                worker.join(120)
                self.assertEqual(worker.exitcode, 0)
            grads = [torch.load(os.path.join(folder, "grads%d" % rank)) for rank in range(2)]
        self.net(self.x, self.target)[0].backward()
        for name, parameter in self.net.named_parameters():
            for grad in grads:
                torch.testing.assert_close(grad[name], parameter.grad)


def distributed_worker(rank, folder):
    torch.distributed.init_process_group("gloo", init_method="file://%s/store" % folder, rank=rank, world_size=2)
    x, target = noise(6, 4, grad=False), noise(6, 2, seed=2, grad=False)
    net = frax.torch.Module(frax.parse(LAYER), x, target, seed=7 if rank == 0 else 1, threads=1)
    parallel = torch.nn.parallel.DistributedDataParallel(net)  # which takes the parameters of rank 0
    half = slice(3 * rank, 3 * rank + 3)
    parallel(x[half], target[half])[0].backward()
    torch.save({name: p.grad for name, p in net.named_parameters()}, os.path.join(folder, "grads%d" % rank))
    torch.distributed.destroy_process_group()


if __name__ == "__main__":
    unittest.main()
