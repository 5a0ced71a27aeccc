#!/usr/bin/env python3
"""The manual page of a tool, from what it says of itself. Usage: manpage.py TOOL VERSION OUT.gz"""
import gzip
import pathlib
import subprocess
import sys


def escaped(text):
    """Plain text to roff: no line of it is a request, and every minus can be copied into a shell."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("'", "\\(aq").replace("`", "\\(ga").replace("~", "\\(ti").replace("^", "\\(ha")
    return "\n".join("\\&" + line if line[:1] in (".", "'") else line for line in text.split("\n"))


def main():
    tool, version, out = sys.argv[1:]
    name = pathlib.Path(tool).name
    lines = subprocess.run([tool, "--help"], capture_output=True, text=True, check=True).stdout.rstrip().split("\n")
    summary = lines[0].removeprefix("OVERVIEW: ").rstrip(".")
    page = f'.TH {name.upper()} 1 "" "attnjit {version}" "User Commands"\n'
    page += f".SH NAME\n{escaped(name)} \\- {escaped(summary[0].lower() + summary[1:])}\n"
    page += f".SH SYNOPSIS\n.B {escaped(name)}\n[options]\n"
    page += ".SH DESCRIPTION\n.nf\n" + escaped("\n".join(line.rstrip() for line in lines[1:]).strip("\n")) + "\n.fi\n"
    page += ".SH SEE ALSO\nREADME.md and the documents that it names, in the documentation folder of libattnjit\\-dev.\n"
    with open(out, "wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(page.encode())


main()
