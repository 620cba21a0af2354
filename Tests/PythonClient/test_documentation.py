"""The examples of the documentation do what it says."""

import os
import re
import unittest

from daemon import REPOSITORY
from pages import run_page


class DocumentationTests(unittest.TestCase):
    def check(self, name):
        self.assertGreater(run_page(os.path.join(REPOSITORY, "docs", name)), 0, "the page has no examples")

    def test_live_backup(self):
        self.check("live-backup.md")

    def test_incremental_backup(self):
        self.check("incremental-backup.md")

    def test_backing_chains(self):
        self.check("backing-chains.md")

    def test_command_line(self):
        self.check("command-line.md")

    def test_drivers(self):
        self.check("drivers.md")

    def test_links(self):
        folder = os.path.join(REPOSITORY, "docs")
        pages = [os.path.join(folder, name) for name in os.listdir(folder) if name.endswith(".md")]
        pages += [os.path.join(REPOSITORY, name) for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")]
        for page in pages:
            for target in re.findall(r"\]\(([^)\s]+)\)", read(page)):
                with self.subTest(page=page, link=target):
                    self.assert_link(page, target)

    def assert_link(self, page, target):
        if "://" in target:
            return
        path, _, anchor = target.partition("#")
        path = os.path.join(os.path.dirname(page), path) if path else page
        self.assertTrue(os.path.exists(path), "there is no such file")
        if anchor:
            headings = re.findall(r"^#+ (.*)$", read(path), re.M)
            self.assertIn(anchor, [re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings])


def read(path):
    with open(path, encoding="utf-8") as file:
        return file.read()
