"""That check_docs.py finds what it looks for: each kind of lie in a document of its own."""
import pathlib
import tempfile
import unittest

import check_docs


class CheckDocsTest(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory()
        self.addCleanup(self.directory.cleanup)
        self.root = pathlib.Path(self.directory.name).resolve()
        self.write("docs/other.md", "# Two words, `code`\n")
        self.write("lib/Expr/Ir.h", "")

    def write(self, name, text):
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def text(self, readme):
        self.write("README.md", readme)
        return "\n".join(check_docs.check_text(self.root))

    def console(self, *lines):
        self.write("README.md", "\n".join(["```console", *lines, "```"]))
        return "\n".join(check_docs.check_console(self.root, self.root)[0])

    def test_links(self):
        self.assertEqual("", self.text("[a](docs/other.md) [b](docs/other.md#two-words-code) [c](https://example.org/x) `[d](nowhere)`"))
        self.assertIn("README.md:2: the link to 'docs/gone.md'", self.text("\n[a](docs/gone.md)"))
        self.assertIn("no heading '#three'", self.text("[a](docs/other.md#three)"))

    def test_paths(self):
        self.assertEqual("", self.text("`lib/Expr/Ir.h` `lib/Expr` `lib/Expr/*.h` `lib/Expr/{Ir}.h:12` `test/<name>` `docs/other.md --flag`"))
        self.assertIn("'lib/Expr/Lexer.h' does not exist", self.text("see `lib/Expr/Lexer.h`"))
        self.assertIn("'lib/Expr/{Ir,Gone}.h' does not exist", self.text("see `lib/Expr/{Ir,Gone}.h`"))

    def test_examples(self):
        self.write("docs/examples/a.cpp", "// docs/examples/a.cpp: one\nint a;\n")
        self.assertIn("no document shows this example", self.text("nothing"))
        self.assertEqual("", self.text("```cpp\n// docs/examples/a.cpp: one\nint a;\n```\n"))
        self.assertIn("README.md:3: the block differs", self.text("```cpp\n// docs/examples/a.cpp: one\nint b;\n```\n"))
        self.assertIn("README.md:3: the block differs", self.text("```cpp\n// docs/examples/a.cpp: one\n```\n"))
        self.assertIn("'docs/examples/b.cpp' does not exist", self.text("```cpp\n// docs/examples/b.cpp\n```\n"))
        self.write("docs/examples/c.c", "/* docs/examples/c.c: one */\nint c;\n")
        self.assertIn("docs/examples/c.c: no document shows this example", self.text(""))
        self.assertIn("README.md:3: the block differs", self.text("```c\n/* docs/examples/c.c: one */\nint b;\n```\n"))

    def test_console_passes(self):
        self.assertEqual("", self.console("$ echo one; echo two; echo 3.5 ms", "one", "... ms", "$ echo four \\", "  five", "four five"))
        self.assertEqual("", self.console("$ echo gone >&2; exit 3", "gone", "(exit status 3)"))
        self.assertEqual("", self.console("$ tools/demo.sh", "whatever"))
        self.assertEqual(0, check_docs.check_console(self.root, self.root)[1])
        self.assertEqual("", self.console("$ echo $XDG_CACHE_HOME > file", "$ cat file", "/.../cache"))

    def test_console_fails(self):
        self.assertIn("exit status 1, not 0", self.console("$ false"))
        self.assertIn("exit status 0, not 1", self.console("$ true", "(exit status 1)"))
        self.assertIn("this line does not come:\n  one", self.console("$ echo one; echo two", "two", "one"))
        self.assertIn("README.md:3:", self.console("$ true", "$ echo x", "y"))


if __name__ == "__main__":
    unittest.main()
