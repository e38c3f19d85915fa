"""The structures and numbers in frax._library are those of include/frax.h: a program in C prints what they are."""
import ctypes
import os
import shutil
import subprocess
import tempfile
import unittest

from frax import _errors, _library

ROOT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "..")
COMPILER = shutil.which(os.environ.get("CC", "cc"))
STRUCTURES = {"FraxError": _library.Error, "FraxTensor": _library.Tensor, "FraxView": _library.View,
              "FraxLayout": _library.Layout, "FraxSize": _library.Size,
              "FraxOptions": _library.Options, "FraxMemory": _library.Memory, "FraxStream": _library.Stream,
              "FraxFitOptions": _library.FitOptions}
NUMBERS = [("FRAX_" + name.upper(), i) for names in (_library.MODES, _library.TARGETS, _library.OPTIMIZERS,
                                                     _library.DTYPES, ("INPUT", "PARAM", "OUTPUT"))
           for i, name in enumerate(names)] + [("FRAX_MAX_RANK", _library.MAX_RANK)]


def fields(structure):
    return [name for name, _ in structure._fields_ if name != "_room"]


def program():
    lines = ["#include <frax.h>", "#include <stdio.h>", "int main(void) {"]
    for name, structure in STRUCTURES.items():
        lines.append('printf("%s %%zu\\n", sizeof(%s));' % (name, name))
        for field in fields(structure):
            lines.append('printf("%s.%s %%zu %%zu\\n", offsetof(%s, %s), sizeof((%s){0}.%s));'
                         % (name, field, name, field, name, field))
    lines += ['printf("%s %%d\\n", %s);' % (name, name) for name, _ in NUMBERS]
    lines += ["#define X(code, exit_status, meaning) printf(\"status \" #code \" %d\\n\", code);",
              "FRAX_STATUSES(X)", "return 0; }"]
    return "\n".join(lines)


@unittest.skipUnless(COMPILER and os.path.exists(os.path.join(ROOT, "include")), "needs a C compiler and frax.h")
class Interface(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        with tempfile.TemporaryDirectory() as folder:
            source, binary = os.path.join(folder, "probe.c"), os.path.join(folder, "probe")
            with open(source, "w") as file:
                file.write(program())
            subprocess.run([COMPILER, source, "-I", os.path.join(ROOT, "include"), "-o", binary], check=True)
            output = subprocess.run([binary], check=True, capture_output=True, text=True).stdout
        cls.header = {}
        for line in output.splitlines():
            name, _, numbers = line.rpartition(" ") if line.startswith("status") else line.partition(" ")
            cls.header[name] = [int(n) for n in numbers.split()]

    def test_structures(self):
        for name, structure in STRUCTURES.items():
            for field in fields(structure):
                known = getattr(structure, field)
                self.assertEqual(self.header["%s.%s" % (name, field)], [known.offset, known.size], (name, field))
            grows = hasattr(structure, "_room")
            size = ctypes.sizeof(structure)
            self.assertTrue(self.header[name][0] <= size if grows else self.header[name][0] == size, name)

    def test_numbers(self):
        for name, value in NUMBERS:
            self.assertEqual(self.header[name], [value], name)

    def test_statuses(self):
        statuses = {key: numbers[0] for key, numbers in self.header.items() if key.startswith("status ")}
        self.assertEqual(len(statuses), len(_errors._classes))
        for key, number in statuses.items():
            name = key[len("status FRAX_"):].title().replace("_", "") + "Error"
            expected = "Error" if name == "OkError" else name
            self.assertEqual(_errors._classes[number].__name__, expected)
            self.assertEqual(_errors._classes[number].status, number)

    def test_dtype_names(self):
        for i, name in enumerate(_library.DTYPES):
            self.assertEqual(_library.lib.dtype_name(i).decode(), name)


if __name__ == "__main__":
    unittest.main()
