"""tools/lint/tidy.py finds what is wrong in one source of a batch, whoever it is that finds it."""
import pathlib
import shutil
import sys
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tools/lint"))
import batches  # noqa: E402
import tidy  # noqa: E402

OPTIONS = ["c++", "-std=gnu++23", "-w"]
CLEAN = "int clean_{0}(int value) {{ return value + {0}; }}\n"
OF_A_CHECK = "#include <string>\nbool found(const std::string& text) { return text.size() == 0; }\n"
OF_THE_ANALYZER = "int found(int* p) {\n    if (p == nullptr) return *p;\n    return *p;\n}\n"
INCOMPLETE = "std::string found() { return {}; }\n"


class Tidy(unittest.TestCase):
    def setUp(self):
        self.folder = ROOT / "build/tidy/probe/proxy"  # a folder whose sources are looked at
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self.addCleanup(shutil.rmtree, self.folder)

    def found(self, *texts):
        """Names of the sources that are not clean, and all that is said of them."""
        sources = {}
        for number, text in enumerate(texts):
            file = self.folder / f"{number}.cpp"
            file.write_text(text.format(number) if text is CLEAN else text)
            sources[str(file)] = OPTIONS
        batch, = batches.make(ROOT, sources, tidy.CONFIGURATIONS)
        results = [*tidy.check(batch).items(), *((source, tidy.read_alone(source, OPTIONS)) for source in sources)]
        return ({pathlib.Path(source).stem for source, (clean, _) in results if not clean},
                "\n".join(text for _, (clean, text) in results if not clean))

    def test_nothing(self):
        self.assertEqual(self.found(CLEAN, CLEAN, CLEAN), (set(), ""))

    def test_a_check(self):
        where, said = self.found(CLEAN, OF_A_CHECK, CLEAN)
        self.assertEqual(where, {"1"})
        self.assertIn("readability-container-size-empty", said)

    def test_the_analyzer(self):
        where, said = self.found(CLEAN, CLEAN, OF_THE_ANALYZER)
        self.assertEqual(where, {"2"})
        self.assertIn("clang-analyzer-core.NullDereference", said)

    def test_a_missing_include(self):
        """That another source of the batch has it does not help."""
        where, said = self.found("#include <string>\nstd::string first() { return {}; }\n", INCOMPLETE)
        self.assertEqual(where, {"1"})
        self.assertIn("string", said)

    def test_sources_that_clash_are_checked_all_the_same(self):
        where, said = self.found("#define LOST 1\nint one() { return LOST; }\n", "int LOST(int);\n", OF_A_CHECK)
        self.assertEqual(where, {"2"})
        self.assertIn("readability-container-size-empty", said)


if __name__ == "__main__":
    unittest.main()
