"""captures/ and its manifest agree: every file is listed, and is the one that was listed."""
import unittest

import captures

LIMIT = 60 << 20  # what the repository may hold


class Manifest(unittest.TestCase):
    def test_every_file_is_listed(self):
        there = {str(file.relative_to(captures.FOLDER)) for file in captures.FOLDER.rglob("*")
                 if file.is_file() and file.suffix not in (".md", ".json")}
        self.assertEqual(there, {entry["file"] for entry in captures.manifest()})

    def test_hashes(self):
        for entry in captures.manifest():
            self.assertEqual(captures.sha256(captures.FOLDER / entry["file"]), entry["sha256"], entry["file"])

    def test_size(self):
        self.assertLess(sum((captures.FOLDER / entry["file"]).stat().st_size for entry in captures.manifest()), LIMIT)


if __name__ == "__main__":
    unittest.main()
