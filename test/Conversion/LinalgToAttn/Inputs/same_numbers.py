"""same_numbers.py COUNT FILE FILE: both files hold COUNT finite numbers, one per line, that agree to one in a thousand."""
import math
import sys

count = int(sys.argv[1])
before, after = ([float(line) for line in open(name)] for name in sys.argv[2:])
if len(before) != count or len(after) != count:
    sys.exit(f"expected {count} numbers, got {len(before)} and {len(after)}")
for line, (a, b) in enumerate(zip(before, after), 1):
    if not (math.isfinite(a) and math.isclose(a, b, rel_tol=1e-3)):
        sys.exit(f"line {line}: {a} before, {b} after")
