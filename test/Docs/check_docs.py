#!/usr/bin/env python3
"""Holds README.md, CONTRIBUTING.md and docs/**/*.md to the truth. Each check exits with status 1 after listing what is wrong, by file and line.

  check_docs.py text ROOT              relative links (with their #headings) and paths in backticks exist; each ```cpp or ```c block that begins
                                       with '// docs/examples/NAME.cpp' or '/* docs/examples/NAME.c' is that file, and every example is shown somewhere
  check_docs.py console ROOT BIN       each ```console block does what it shows

A console block: lines that begin with '$ ' are commands for bash (a backslash at the end goes on in the next line). They run with BIN on PATH in a temporary
directory, one per document, with XDG_CACHE_HOME inside. The lines below a command must appear in its output (both streams) in that order; other output
between them is ignored, and '...' stands for anything in a line. A last line '(exit status N)' asks for that status, else it has to be 0. Commands that begin with
tools/ set up or build things and are not run.
"""
import dataclasses
import os
import pathlib
import re
import subprocess
import sys
import tempfile

FENCE = re.compile(r"^(\s*)(`{3,}|~{3,})\s*([^`]*)$")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
CODE_SPAN = re.compile(r"`([^`]+)`")
PATH = re.compile(r"^(?:lib|mlir|include|test|tools|docs)/[^\s:]*")
EXAMPLE = re.compile(r"^(?://|/\*) (docs/examples/[\w/-]+\.(?:cpp|c))\b")
STATUS = re.compile(r"^\(exit status (\d+)\)$")
COMMAND_SECONDS = 300


@dataclasses.dataclass
class Block:
    """A fenced block; `line` is the number of its first line of content."""

    language: str
    line: int
    lines: list


@dataclasses.dataclass
class Command:
    line: int
    text: str
    expected: list = dataclasses.field(default_factory=list)
    status: int = 0


def split_document(text):
    """The fenced blocks, and the other lines as (number, text)."""
    blocks, prose, block, fence = [], [], None, ""
    for number, line in enumerate(text.splitlines(), 1):
        match = FENCE.match(line)
        if block is not None:
            if match and match[2].startswith(fence) and not match[3].strip():
                block = None
            else:
                block.lines.append(line[indent:] if not line[:indent].strip() else line)
        elif match:
            indent, fence = len(match[1]), match[2]
            block = Block((match[3].split() or [""])[0], number + 1, [])
            blocks.append(block)
        else:
            prose.append((number, line))
    return blocks, prose


def documents(root):
    found = [root / "README.md", root / "CONTRIBUTING.md", *sorted((root / "docs").rglob("*.md"))]
    return [path for path in found if path.exists()]


def anchors(path):
    """The #names of a document's headings, as GitHub makes them."""
    _, prose = split_document(path.read_text())
    titles = [re.sub(r"^#+\s+", "", line) for _, line in prose if re.match(r"^#+\s", line)]
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def expand_braces(path):
    match = re.search(r"\{([^{}]*)\}", path)
    if not match:
        return [path]
    return [way for part in match[1].split(",") for way in expand_braces(path[: match.start()] + part.strip() + path[match.end():])]


def path_exists(root, path):
    """Whether a path, which may have braces and '*', names something. One with a placeholder such as <name> names nothing in particular."""
    path = path.rstrip("/.,;")
    if re.search(r"[<>]|\.\.\.|[A-Z]{4,}(?![\w.])", path):
        return True
    return all(any(root.glob(way)) for way in expand_braces(path))


def check_links(path, number, line):
    for target in LINK.findall(CODE_SPAN.sub("", line)):
        if re.match(r"^[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (path.parent / name).resolve() if name else path
        if not file.exists():
            yield f"{path}:{number}: the link to '{target}' leads nowhere"
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            yield f"{path}:{number}: '{name or path.name}' has no heading '#{anchor}'"


def check_paths(root, path, number, line):
    for span in CODE_SPAN.findall(line):
        match = PATH.match(span)
        if match and not path_exists(root, match[0]):
            yield f"{path}:{number}: '{match[0]}' does not exist"


def check_example(root, path, block, shown):
    match = EXAMPLE.match(block.lines[0]) if block.lines else None
    if block.language not in ("cpp", "c") or not match:
        return
    file = root / match[1]
    shown.add(match[1])
    if not file.exists():
        yield f"{path}:{block.line}: '{match[1]}' does not exist"
        return
    wanted = file.read_text().splitlines()
    for offset in range(max(len(wanted), len(block.lines))):
        here = block.lines[offset] if offset < len(block.lines) else "(the block ends)"
        there = wanted[offset] if offset < len(wanted) else "(the file ends)"
        if here != there:
            yield f"{path}:{block.line + offset}: the block differs from {match[1]}:\n  here:  {here}\n  there: {there}"
            return


def check_text(root):
    """Everything that can be said without running anything."""
    problems, shown = [], set()
    for path in documents(root):
        blocks, prose = split_document(path.read_text())
        for number, line in prose:
            problems += check_links(path, number, line)
            problems += check_paths(root, path, number, line)
        for block in blocks:
            problems += check_example(root, path, block, shown)
    for file in sorted((root / "docs" / "examples").rglob("*.c*")):
        name = file.relative_to(root).as_posix()
        if name not in shown:
            problems.append(f"{name}: no document shows this example")
    return problems


def commands_of(block):
    """The commands of a console block, each with the lines that must appear."""
    commands, going_on = [], False
    for number, line in enumerate(block.lines, block.line):
        if going_on:
            commands[-1].text += "\n" + line.removeprefix("> ")
        elif line.startswith("$ "):
            commands.append(Command(number, line[2:]))
        elif commands and (match := STATUS.match(line.strip())):
            commands[-1].status = int(match[1])
        elif commands and line.strip():
            commands[-1].expected.append(line.rstrip())
        going_on = bool(commands) and (line.startswith("$ ") or going_on) and line.endswith("\\")
    return commands


def first_missing(expected, output):
    """The first expected line that does not come after those before it; None if all are there."""
    lines = iter(output.splitlines())
    for want in expected:
        pattern = re.compile(".*".join(re.escape(part) for part in want.split("...")))
        if want.strip() != "..." and not any(pattern.fullmatch(line.rstrip()) for line in lines):
            return want
    return None


def run(command, directory, environment):
    """What is wrong with a command, or None."""
    try:
        done = subprocess.run(["bash", "-c", command.text], cwd=directory, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, timeout=COMMAND_SECONDS)
    except subprocess.TimeoutExpired:
        return f"does not end within {COMMAND_SECONDS} s"
    output = done.stdout.decode(errors="replace")
    if done.returncode != command.status:
        return f"exit status {done.returncode}, not {command.status}:\n{output}"
    missing = first_missing(command.expected, output)
    return None if missing is None else f"this line does not come:\n  {missing}\nThe output is:\n{output}"


def check_console(root, binaries):
    problems, count = [], 0
    for path in documents(root):
        with tempfile.TemporaryDirectory() as directory:
            environment = {**os.environ, "PATH": f"{binaries}:{os.environ['PATH']}", "XDG_CACHE_HOME": f"{directory}/cache", "TERM": "dumb"}
            for block in split_document(path.read_text())[0]:
                if block.language != "console":
                    continue
                for command in commands_of(block):
                    if command.text.startswith(("tools/", "./tools/")):
                        continue
                    count += 1
                    if problem := run(command, directory, environment):
                        problems.append(f"{path}:{command.line}: $ {command.text}\n{problem}")
    return problems, count


def main(arguments):
    if len(arguments) == 2 and arguments[0] == "text":
        problems = check_text(pathlib.Path(arguments[1]).resolve())
    elif len(arguments) == 3 and arguments[0] == "console":
        problems, count = check_console(pathlib.Path(arguments[1]).resolve(), pathlib.Path(arguments[2]).resolve())
        print(f"{count} commands were run")
    else:
        print(__doc__, file=sys.stderr)
        return 2
    for problem in problems:
        print(problem)
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
