"""Prints the ```mlir blocks of .td files, separated for --split-input-file; fails if an op has no example that uses it."""
import re
import sys
import textwrap

text = "\n".join(open(file).read() for file in sys.argv[1:])
blocks = re.findall(r"```mlir\n(.*?)```", text, flags=re.S)
ops = re.findall(r'^def (\w+) : \w+_Op<"(\w+)"(.*?)^}', text, flags=re.S | re.M)
if not ops:
    sys.exit(f"{sys.argv[1:]}: no op found")
for name, mnemonic, body in ops:
    example = re.search(r"```mlir\n(.*?)```", body, flags=re.S)
    if not example or not re.search(r"\b(attn|tile)\." + mnemonic + r"\b", example.group(1)):
        sys.exit(f"{name}: its description has no example that uses {mnemonic}")
print("// -----\n".join(textwrap.dedent(block.rstrip() + "\n") for block in blocks))
