#!/usr/bin/env python3
"""Runs a table of command lines and checks exit status and message of each: kind errors are a feature, so they are tested.

Usage: bad_input.py TABLE BIN_DIR FORGE_KERNEL. Exit status 0, 1 (a row failed) or 77 (this build has no compiler).
"""
import os
import pathlib
import re
import resource
import shlex
import struct
import subprocess
import sys
import tempfile


def npy(descr, sizes, data_bytes):
    shape = "(" + ", ".join(str(size) for size in sizes) + ("," if len(sizes) == 1 else "") + ")"
    header = ("{'descr': '%s', 'fortran_order': False, 'shape': %s, }\n" % (descr, shape)).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(data_bytes)


def tensor(sizes, descr="<f4", bytes_per_element=4):
    count = 1
    for size in sizes:
        count *= size
    return npy(descr, sizes, count * bytes_per_element)


def ints(sizes, values):
    return npy("<i4", sizes, struct.pack(f"<{len(values)}i", *values))


def write_files(folder):
    files = {
        "10MB": b"score + " * 1250000 + b"score",
        "brackets": b"(" * 20000 + b"score" + b")" * 20000,
        "latin1": b"score # \xe9",
        "npy:q": tensor([2, 4, 5, 8]),
        "npy:k": tensor([2, 2, 6, 8]),
        "npy:v": tensor([2, 2, 6, 8]),
        "npy:k_D": tensor([2, 2, 6, 9]),
        "npy:k_B": tensor([3, 2, 6, 8]),
        "npy:v_B": tensor([3, 2, 6, 8]),
        "npy:v_N": tensor([2, 2, 7, 8]),
        "npy:v_H": tensor([2, 4, 6, 8]),
        "npy:v_f64": tensor([2, 2, 6, 8], "<f8", 8),
        "npy:rank2": tensor([5, 8]),
        "npy:ints": tensor([2, 4, 5, 8], "<i4"),
        "npy:bigendian": tensor([2, 4, 5, 8], ">f4"),
        "npy:lying": npy("<f4", [2, 4, 5, 8], 100),
        "npy:negative": npy("<f4", [2, 4, -5, 8], 0),
        "npy:text": b"this is just text\n",
        "grid_good": b"--name full --shape M={4|5},D=8\n--name causal --relative-to full --shape M=4,D=8 --mask-mod 'q_idx >= kv_idx'\n",
        "grid_braces": b"# one\n--shape M={4|5,D=8\n",
        "grid_quote": b"--shape M=4,D=8 --mask-mod 'q_idx\n",
        "grid_flag": b"--shape M=4,D=8\n\n--shap M=4,D=8\n",
        "grid_shape": b"--shape M=4,D=8\n--shape M=4\n",
        "grid_formula": b"--shape M=4,D=8 --mask-mod 'q_idx >= kv_id'\n",
        "grid_error": b"--shape M=4,D=8 => no-backend\n",
        "grid_base": b"--name a --shape M=4,D=8\n--relative-to a --shape M=5,D=8\n",
        "grid_twice": b"--name a --shape M=4,D=8\n--name a --shape M=4,D=8 --seed 2\n--relative-to a --shape M=4,D=8\n",
        "grid_chain": b"--name a --shape M=4,D=8\n--name b --relative-to a --shape M=4,D=8\n--name c --relative-to b --shape M=4,D=8\n",
        "grid_empty": b"# nothing\n",
        "grid_backend": b"--shape M=4,D=8\n--shape M=100,D=8 --backend efficient\n",
        # Lists for 40 x 100 pairs in blocks of 16 x 32: row 0 asks about blocks 0 and 3, row 1 about none, row 2 about block 1; row 1 sees all of 2.
        "npy:counts": ints([3], [2, 0, 1]),
        "npy:indices": ints([3, 4], [3, 0, 1, 2, 0, 1, 2, 3, 1, 0, 2, 3]),
        "npy:full_counts": ints([3], [0, 1, 0]),
        "npy:full_indices": ints([3, 4], [0, 1, 2, 3, 2, 0, 1, 3, 0, 1, 2, 3]),
        "npy:clashing": ints([3], [1, 1, 0]),
        "npy:outside": ints([3, 4], [4, 0, 1, 2, 0, 1, 2, 3, 1, 0, 2, 3]),
    }
    places = {"tmp": str(folder)}
    for name, content in files.items():
        path = folder / (name.replace(":", "_") + ".npy" if name.startswith("npy:") else name)
        path.write_bytes(content)
        places[name] = str(path)
    places["link"] = str(folder / "link.npy")
    (folder / "link.npy").symlink_to("behind.npy")
    return places


def write_kernels(folder, bin_dir, forge):
    """A saved causal kernel of FLASH_ATTENTION, and one that computes the same and says that its mask is strict."""
    kernel, forged = folder / "causal.kernel", folder / "forged.kernel"
    save = [bin_dir / "attnjit-run", "--shape", "S=100,D=16", "--mask-mod", "q_idx >= kv_idx", "--no-cache", "--save-kernel", kernel]
    result = subprocess.run(save, capture_output=True, check=False)
    if b"no compiler to make it" in result.stderr:
        sys.exit(77)
    subprocess.run([forge, kernel, forged, "le %kv, %q", "lt %kv, %q"], check=True)
    return {"kernel": str(kernel), "forged": str(forged)}


def fill_disk():
    """Files that this process writes cannot grow; the signal of that is ignored, as Python leaves it."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))


def run(command, environment):
    with open("/dev/full", "wb") as full:
        places = {"stdout": full if command[0] == "FULL-OUTPUT" else subprocess.PIPE}
        if command[0] == "FULL-DISK":
            places |= {"preexec_fn": fill_disk, "restore_signals": False}
        command = command[command[0].startswith("FULL-") :]
        return subprocess.run(command, stderr=subprocess.PIPE, timeout=60, env=environment, check=False, **places)


def check(command, status, words, folder):
    environment = dict(os.environ, XDG_CACHE_HOME=str(folder / "cache"), LC_ALL="C.UTF-8")
    try:
        result = run(command, environment)
    except subprocess.TimeoutExpired:
        return "does not end"
    errors = result.stderr.decode(errors="replace")
    message = (result.stdout or b"").decode(errors="replace") + errors
    if "no compiler to make it" in message:
        sys.exit(77)
    if result.returncode != status:
        return f"exit status {result.returncode}, expected {status}: {message[:600]}"
    if status and len(message) > 4000:
        return f"a message of {len(message)} characters"
    if len(re.findall(r"^attnjit-\w+: error \([a-z-]+\): .", errors, re.MULTILINE)) != (1 if status else 0):
        return f"expected {'one error line' if status else 'no error line'}: {message[:600]}"
    if re.search(r"\(invalid-formula\): \S+:\d+:\d+: ", errors) and not re.search(r"^\s*\^~*$", errors, re.MULTILINE):
        return f"no caret: {message[:600]}"
    missing = [word for word in words if word.lower() not in message.lower()]
    return f"{missing} not in: {message[:600]}" if missing else None


def main():
    table, bin_dir = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    failures = rows = 0
    with tempfile.TemporaryDirectory(prefix="attnjit-bad-input-") as name:
        folder = pathlib.Path(name)
        places = write_files(folder) | write_kernels(folder, bin_dir, sys.argv[3])
        for number, line in enumerate(table.read_text().splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            status, words, command_line = (part.strip() for part in line.split("|", 2))
            for place, path in places.items():
                command_line = command_line.replace("{%s}" % place, path)
            command = shlex.split(command_line)
            at = command[0].startswith("FULL-")
            command[at] = str(bin_dir / command[at])
            rows += 1
            problem = check(command, int(status), [word.strip() for word in words.split(";") if word.strip()], folder)
            if problem:
                failures += 1
                print(f"{table.name}:{number}: {command_line[:200]}\n  {problem}", flush=True)
    print(f"{rows - failures} of {rows} rows answer as they should")
    sys.exit(1 if failures or rows < 40 else 0)


main()
