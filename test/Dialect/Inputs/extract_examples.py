"""Prints the ```mlir blocks of a .td file, separated for --split-input-file; fails if an op has no example and does not say where one is."""
import re
import sys

text = open(sys.argv[1]).read()
blocks = [block for block in re.findall(r"```mlir\n(.*?)```", text, flags=re.S)]
if not blocks:
    sys.exit(sys.argv[1] + ": no example found")
examples = "\n".join(blocks)
for name, body in re.findall(r'^def (\w+) : \w+_Op<(.*?)^}', text, flags=re.S | re.M):
    mnemonic = re.match(r'"(\w+)"', body).group(1)
    if "```mlir" not in body and "See `" not in body:
        sys.exit(f"{name}: expected an example in its description, or the op whose example shows it")
    if not re.search(r"\b(attn|tile)\." + mnemonic + r"\b", examples):
        sys.exit(f"{name}: no example uses {mnemonic}")
print("// -----\n".join(blocks))
