"""The examples of the documentation do what it says."""

import os
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

    def test_command_line(self):
        self.check("command-line.md")

    def test_drivers(self):
        self.check("drivers.md")
