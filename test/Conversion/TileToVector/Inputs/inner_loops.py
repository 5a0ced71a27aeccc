"""Lists the innermost loops of an assembly text that multiply and add: how many instructions, what they work on, what they call or spill.

    inner_loops.py kernel.s

One line per loop of at least 8 vector FMAs, in the order of the text. Instruction counts guard what a timed test could not.
"""
import re
import sys

LABEL = re.compile(r"^([.\w$]+):")


def blocks(lines):
    """Label and instructions of every block."""
    name, body = None, []
    for line in lines:
        if label := LABEL.match(line):
            yield name, body
            name, body = label.group(1), []
        elif line.startswith("\t") and not line.startswith("\t."):
            body.append(line.split("#")[0].strip())
    yield name, body


def describe(body):
    fmas = sum(1 for i in body if re.match(r"vfn?m(add|sub)\w+p[sd]", i))
    stores = sum(1 for i in body if re.match(r"v?mov\w+\s+%[xyz]mm\d+, .*\(%rsp\)", i))
    calls = sum(1 for i in body if i.startswith("call"))
    widths = [w for w in ("xmm", "ymm", "zmm") if any("%" + w in i for i in body if re.match(r"vf", i))]
    return fmas, f"{len(body)} instructions, {fmas} fma of {'+'.join(widths) or 'none'}, {stores} spills, {calls} calls"


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        for name, body in blocks(file):
            if name and any(re.match(rf"j\w+\s+{re.escape(name)}$", i) for i in body):
                fmas, text = describe(body)
                if fmas >= 8:
                    print(text)


main()
