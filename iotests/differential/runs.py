"""Directives that run the program to its end and show what it said."""

import json
import re

import daemon


class RunSteps:
    """Mixed into the runner; uses its `program`, `directory`, `normaliser`, `words`, `lines` and `stdin`."""

    def do_input(self, text):
        self.stdin = text.encode().decode("unicode_escape").encode("latin-1")

    def run(self, text, timeout=daemon.PATIENCE):
        stdin, self.stdin = self.stdin, b""
        return daemon.run_to_exit(self.program, self.words(text), self.directory, stdin, timeout)

    def do_run(self, text, timeout=daemon.PATIENCE):
        status, output, errors = self.run(text, timeout)
        self.lines.append(status)
        for name, each in (("stdout", output), ("stderr", errors)):
            for line in self.normaliser.program_text(each).splitlines():
                self.lines.append(f"{name}: {self.output_line(line)}")

    def do_run_on(self, text):
        self.do_run(text, timeout=1.0)

    def output_line(self, line):
        """A QMP line on stdout is shown as a message; of a pretty one only the version is masked."""
        line = re.sub(r'^( +"(?:major|minor|micro)": )\d+', r"\1N", line)
        line = re.sub(r'^( +"package": ).*?(,?)$', r"\1TEXT\2", line)
        try:
            value = json.loads(line)
        except ValueError:
            return line
        return json.dumps(self.normaliser.message(value), sort_keys=True) if isinstance(value, dict) else line

    def do_run_shape(self, text):
        status, output, errors = self.run(text)
        self.lines.append(f"{status}, {bool(output)} output, {bool(errors)} errors")

    def do_run_lines(self, text):
        """Only those of the wanted words that are a line of their own count."""
        wanted, arguments = text.split(" -- ", 1)
        status, output, errors = self.run(arguments)
        found = {line.strip() for line in output.splitlines()}
        self.lines += [status, " ".join(word for word in self.words(wanted) if word in found)]
        self.lines += [f"stderr: {line}" for line in self.normaliser.program_text(errors).splitlines()]

    def do_run_help(self, text):
        status, output, errors = self.run(text)
        self.lines.append(status)
        self.lines.append("options: " + " ".join(sorted(set(re.findall(r"(?m)^ +(?:-\w, )?(--[a-z][a-z-]*)", output)))))
        self.lines += [f"stderr: {line}" for line in self.normaliser.program_text(errors).splitlines()]
