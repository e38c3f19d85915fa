"""What the README shows of Python is true; its examples of a framework are tried where that is installed."""
import doctest
import importlib.util
import os
import re
import unittest

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
README = os.path.join(ROOT, "README.md")


@unittest.skipUnless(os.path.exists(README), "needs the README of the repository")
class Readme(unittest.TestCase):
    def test_examples(self):
        with open(README, encoding="utf-8") as file:
            blocks = re.findall(r"```python\n(.*?)```", file.read(), re.S)
        self.assertGreaterEqual(len(blocks), 2)
        needed = [re.findall(r"^>>> import (torch|jax)", block) for block in blocks]
        text = "".join(block for block, names in zip(blocks, needed) if all(map(importlib.util.find_spec, names)))
        example = doctest.DocTestParser().get_doctest(text, {}, "README", README, 0)
        folder = os.getcwd()
        os.chdir(ROOT)
        try:
            result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example)
        finally:
            os.chdir(folder)
        self.assertEqual(result.failed, 0)


if __name__ == "__main__":
    unittest.main()
