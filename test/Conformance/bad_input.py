#!/usr/bin/env python3
"""Runs a table of command lines and checks exit status and message of each: kind errors are a feature, so they are tested.

Usage: bad_input.py TABLE BIN_DIR. Exit status 0, 1 (a row failed) or 77 (this build has no compiler).
"""
import os
import pathlib
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
        "npy:text": b"this is just text\n",
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
    return places


def check(command, status, words, folder):
    environment = dict(os.environ, XDG_CACHE_HOME=str(folder / "cache"), LC_ALL="C.UTF-8")
    try:
        result = subprocess.run(command, capture_output=True, timeout=60, env=environment, check=False)
    except subprocess.TimeoutExpired:
        return "does not end"
    message = (result.stdout + result.stderr).decode(errors="replace")
    if "no compiler to make it" in message:
        sys.exit(77)
    if result.returncode != status:
        return f"exit status {result.returncode}, expected {status}: {message[:600]}"
    if status and len(message) > 4000:
        return f"a message of {len(message)} characters"
    if status and not message.strip():
        return "no message"
    missing = [word for word in words if word.lower() not in message.lower()]
    return f"{missing} not in: {message[:600]}" if missing else None


def main():
    table, bin_dir = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    failures = rows = 0
    with tempfile.TemporaryDirectory(prefix="attnjit-bad-input-") as name:
        folder = pathlib.Path(name)
        places = write_files(folder)
        for number, line in enumerate(table.read_text().splitlines(), 1):
            if not line.strip() or line.startswith("#"):
                continue
            status, words, command_line = (part.strip() for part in line.split("|", 2))
            for place, path in places.items():
                command_line = command_line.replace("{%s}" % place, path)
            command = shlex.split(command_line)
            command[0] = str(bin_dir / command[0])
            rows += 1
            problem = check(command, int(status), [word.strip() for word in words.split(";") if word.strip()], folder)
            if problem:
                failures += 1
                print(f"{table.name}:{number}: {command_line[:200]}\n  {problem}", flush=True)
    print(f"{rows - failures} of {rows} rows answer as they should")
    sys.exit(1 if failures or rows < 40 else 0)


main()
