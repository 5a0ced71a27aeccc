#!/usr/bin/env python3
"""Derives the coefficients of the inline recipes: prints mlir/lib/Conversion/TileToVector/MathCoefficients.h.

    tools/minimax.py > mlir/lib/Conversion/TileToVector/MathCoefficients.h      derive again (a few minutes; needs mpmath and numpy)
    tools/minimax.py NAME ...                                                   print some tables only

Polynomials: Remez exchange in 60 digits. Coefficients are rounded to f32 all at once, or one after the other from the lowest power, each time fitting the
rest anew; then they are moved by single places as long as that helps, and the better of both is taken. The quotient for tanh: Lawson's iteration (weighted least squares) on the linearised problem.
What an implementation makes of them in f32 arithmetic is measured by test/Conversion/TileToVector/VectorMathTest.cpp.
"""
import sys

import mpmath as m
import numpy as np
from mpmath import mp, mpf

mp.dps = 60

# -- Remez ---------------------------------------------------------------------------------------------------------------


def remez(f, weight, powers, lo, hi, fixed, points=600):
    """Coefficients c that minimise the largest weight(x) * |f(x) - fixed(x) - sum c_k x^powers[k]| on a Chebyshev grid of [lo, hi]."""
    count = len(powers)
    xs = [(lo + hi) / 2 - (hi - lo) / 2 * m.cos(m.pi * i / (points - 1)) for i in range(points)]
    target = [f(x) - sum(c * x**p for p, c in fixed) for x in xs]
    weights = [weight(x) for x in xs]
    basis = [[x**p for p in powers] for x in xs]
    reference = [round((points - 1) * (1 - float(m.cos(m.pi * i / count))) / 2) for i in range(count + 1)]
    for _ in range(40):
        a, b = m.matrix(count + 1, count + 1), m.matrix(count + 1, 1)
        for row, i in enumerate(reference):
            for k in range(count):
                a[row, k] = basis[i][k]
            a[row, count] = (-1) ** row / weights[i]
            b[row] = target[i]
        solution = m.lu_solve(a, b)
        coefficients, level = [solution[k] for k in range(count)], abs(solution[count])
        errors = [weights[i] * (target[i] - sum(c * v for c, v in zip(coefficients, basis[i]))) for i in range(points)]
        # The largest error between every two changes of sign.
        extrema, current = [], 0
        for i in range(1, points):
            if (errors[i] > 0) != (errors[current] > 0):
                extrema.append(current)
                current = i
            elif abs(errors[i]) > abs(errors[current]):
                current = i
        extrema.append(current)
        while len(extrema) > count + 2:
            j = min(range(len(extrema) - 1), key=lambda j: max(abs(errors[extrema[j]]), abs(errors[extrema[j + 1]])))
            del extrema[j : j + 2]
        if len(extrema) == count + 2:
            extrema.pop(0 if abs(errors[extrema[0]]) < abs(errors[extrema[-1]]) else -1)
        worst = max(map(abs, errors))
        if len(extrema) < count + 1 or worst <= level * mpf("1.001"):
            break
        reference = extrema
    return coefficients


def single(x):
    return mpf(float(np.float32(float(x))))


def fit(f, weight, count, lo, hi):
    """(f32 coefficients, their largest weighted error) of the polynomial of `count` terms."""
    f, weight, fixed = off_zero(f), off_zero(weight), []
    for power in range(count):
        rest = remez(f, weight, range(power, count), lo, hi, fixed)
        if power == 0:
            rounded = [single(c) for c in rest]
        fixed.append((power, single(rest[0])))
    candidates = [rounded, [c for _, c in fixed]]
    return min((descend(c, f, weight, lo, hi) for c in candidates), key=lambda result: result[1])


def fit_double(f, weight, count, lo, hi):
    """The same in f64, whose places are so fine beside the polynomial's error that rounding needs no care."""
    f, weight = off_zero(f, mpf("1e-20")), off_zero(weight, mpf("1e-20"))
    rounded = [mpf(float(c)) for c in remez(f, weight, range(count), lo, hi, [])]
    xs = [lo + (hi - lo) * mpf(i) / 1000 for i in range(1001)]
    return rounded, max(abs(weight(x) * (f(x) - sum(c * x**p for p, c in enumerate(rounded)))) for x in xs)


def descend(coefficients, f, weight, lo, hi):
    """Moves single coefficients, and pairs, by a few places of f32 as long as the largest error falls."""
    xs = [lo + (hi - lo) * mpf(i) / 500 for i in range(501)]
    weights = [weight(x) for x in xs]
    errors = np.array([w * (f(x) - sum(c * x**p for p, c in enumerate(coefficients))) for w, x in zip(weights, xs)]).astype(float)
    units = [float(np.spacing(np.float32(float(abs(c))))) for c in coefficients]
    effects = np.array([[float(w * x**p) * u for w, x in zip(weights, xs)] for p, u in enumerate(units)])
    moves = [((p, s),) for p in range(len(units)) for s in (-2, -1, 1, 2)]
    moves += [(a, b) for (a,) in moves for (b,) in moves if a[0] < b[0]]
    best = np.abs(errors).max()
    while True:
        trials = [errors - sum(s * effects[p] for p, s in move) for move in moves]
        worst = [np.abs(t).max() for t in trials]
        i = int(np.argmin(worst))
        if worst[i] >= best * 0.999:
            return coefficients, mpf(best)
        best, errors = worst[i], trials[i]
        for p, s in moves[i]:
            coefficients[p] = coefficients[p] + s * mpf(units[p])


def off_zero(f, least=mpf("1e-14")):
    """f, away from 0, where it may be a quotient of zeros."""
    return lambda x: f(x if abs(x) > least else least)


# -- What is fitted ------------------------------------------------------------------------------------------------------
# name: (comment, f, weight = 1 / the function the user sees, relative to the polynomial's share in it, terms, lo, hi)

HALF_LN2 = m.log(2) / 2 * mpf("1.0005")
QUARTER_PI_SQUARED = (m.pi / 4) ** 2 * mpf("1.001")
ATANH_OF_SQRT2 = ((m.sqrt(2) - 1) / (m.sqrt(2) + 1)) ** 2 * mpf("1.001")


def odd_tail(f):
    """For odd f with f(x) = x + x^3 P(x^2): P, and its weight in f, as functions of u = x^2."""
    return (
        lambda u: (f(m.sqrt(u)) - m.sqrt(u)) / m.sqrt(u) ** 3,
        lambda u: m.sqrt(u) ** 3 / f(m.sqrt(u)),
    )


ERFC_END = mpf("10.06")  # erfc is 0 from there on


def erfc_tail(w):
    """((1 + 2a) e^(a^2) erfc(a) - 1) / w with w = 2a / (a + 2): a slow, smooth function of w."""
    a = 2 * w / (2 - w)
    return ((1 + 2 * a) * m.exp(a * a) * m.erfc(a) - 1) / w


POLYNOMIALS = {
    "Exp2": ("(2^x - 1) / x on [-1/2, 1/2]", lambda x: (mpf(2) ** x - 1) / x, lambda x: abs(x) / mpf(2) ** x, 6, mpf("-0.5"), mpf("0.5")),
    "Exp2Short": ("(2^x - 1) / x on [-1/2, 1/2]", lambda x: (mpf(2) ** x - 1) / x, lambda x: abs(x) / mpf(2) ** x, 4, mpf("-0.5"), mpf("0.5")),
    "Exp2Up": ("(2^x - 1) / x on [0, 1]", lambda x: (mpf(2) ** x - 1) / x, lambda x: abs(x) / mpf(2) ** x, 5, mpf(0), mpf(1)),
    "Expm1": ("(e^x - 1 - x) / x^2 on [-ln2 / 2, ln2 / 2]", lambda x: (m.expm1(x) - x) / x**2, lambda x: abs(x * x / m.expm1(x)), 5, -HALF_LN2, HALF_LN2),
    "Log1p": ("(ln(1 + x) - x + x^2 / 2) / x^3, 1 + x from sqrt(1/2) to sqrt(2)", lambda x: (m.log1p(x) - x + x * x / 2) / x**3, lambda x: abs(x**3 / m.log1p(x)), 9, m.sqrt(mpf("0.5")) - 1, m.sqrt(2) - 1),
    "Atanh": ("(atanh(s) / s - 1) / s^2 of s^2, s up to (sqrt(2) - 1) / (sqrt(2) + 1)", lambda u: (m.atanh(m.sqrt(u)) / m.sqrt(u) - 1) / u, lambda u: u, 4, mpf("1e-6"), ATANH_OF_SQRT2),
    "Sin": ("(sin(x) - x) / x^3 of x^2, x up to pi / 4", *odd_tail(m.sin), 3, mpf(0), QUARTER_PI_SQUARED),
    "Cos": ("(cos(x) - 1 + x^2 / 2) / x^4 of x^2, x up to pi / 4", lambda u: (m.cos(m.sqrt(u)) - 1 + u / 2) / u**2, lambda u: u**2 / m.cos(m.sqrt(u)), 3, mpf(0), QUARTER_PI_SQUARED),
    "Asin": ("(asin(x) - x) / x^3 of x^2, x up to 1/2", *odd_tail(m.asin), 5, mpf(0), mpf("0.25")),
    "Atan": ("(atan(x) - x) / x^3 of x^2, x up to 1", *odd_tail(m.atan), 9, mpf(0), mpf(1)),
    "Sinh": ("(sinh(x) - x) / x^3 of x^2, x up to 1", *odd_tail(m.sinh), 4, mpf(0), mpf(1)),
    "ErfNear": ("erf(x) / x - 1 of x^2, x up to 0.9", lambda u: m.erf(m.sqrt(u)) / m.sqrt(u) - 1, lambda u: m.sqrt(u) / m.erf(m.sqrt(u)), 6, mpf(0), mpf("0.9") ** 2),
    "ErfFar": ("-log2(erfc(x)), x from 0.9 to 3.95", lambda a: -m.log(m.erfc(a), 2), lambda a: m.log(2) * m.erfc(a) / m.erf(a), 7, mpf("0.9"), mpf("3.95")),
    "ErfcTail": ("((1 + 2a) e^(a^2) erfc(a) - 1) / w of w = 2a / (a + 2), a up to 10.06", erfc_tail, lambda w: w / (1 + w * erfc_tail(w)), 10, mpf(0), 2 * ERFC_END / (ERFC_END + 2)),
}

ERFC_END_DOUBLE = mpf("27.3")


def erfc_tail_double(t):
    """(1 + 2a) e^(a^2) erfc(a) with t = (a - 4) / (a + 4): centred, so that 24 powers do not cancel each other."""
    a = 4 * (1 + t) / (1 - t)
    return (1 + 2 * a) * m.exp(a * a) * m.erfc(a)


def in_double(name, terms):
    comment, f, weight, _, lo, hi = POLYNOMIALS[name]
    return f"{comment}, in f64", f, weight, terms, lo, hi


DOUBLES = {f"{name}Double": in_double(name, terms) for name, terms in
           (("Exp2", 11), ("Log1p", 20), ("Atanh", 9), ("Sin", 6), ("Cos", 6), ("Asin", 13), ("Atan", 21), ("Sinh", 8), ("ErfNear", 12))}
DOUBLES["ErfcTailDouble"] = ("(1 + 2a) e^(a^2) erfc(a) of t = (a - 4) / (a + 4), a up to 27.3, in f64", erfc_tail_double, lambda t: 1 / erfc_tail_double(t), 24,
                             mpf(-1), (ERFC_END_DOUBLE - 4) / (ERFC_END_DOUBLE + 4))


def tanh_quotient(terms_p=3, terms_q=3, end=9.3, scale=0.9159):
    """tanh(x) = 2 p q / (q^2 + p^2) with p = x P(x^2) / 2 and q = Q(x^2), which approximate tanh(x / 2) = p / q. A relative error e of p / q shows in
    the result as e (1 - t^2) / (1 + t^2), t = tanh(x / 2): hardly at all where tanh saturates. P and Q have `scale` in common: of the scales from 0.7 to 2 the
    one with which the additions of 1 + ... round best (largest error 3.1 instead of 4.8 ulp, over all arguments)."""
    x = (1 - np.cos(np.linspace(0, np.pi, 1500))) / 2 * end + 1e-3
    t = np.tanh((x / 2).astype(np.longdouble))
    ratio, t = (t / x * 2).astype(float), t.astype(float)
    u = x * x / end**2
    seen = (1 - t * t) / (1 + t * t) + 1e-4
    density, q = np.ones_like(x), np.ones_like(x)
    best = None
    for _ in range(400):
        columns = [u**k for k in range(1, terms_p)] + [-ratio * u**k for k in range(1, terms_q + 1)]
        a, w = np.stack(columns, 1), np.sqrt(density) / (ratio * np.abs(q)) * seen
        c, *_ = np.linalg.lstsq(a * w[:, None], (ratio - 1) * w, rcond=None)
        p = 1 + sum(c[k - 1] * u**k for k in range(1, terms_p))
        q = 1 + sum(c[terms_p - 2 + k] * u**k for k in range(1, terms_q + 1))
        error = np.abs(p / q / ratio - 1) * seen
        if best is None or error.max() < best[0]:
            best = (error.max(), c)
        density = density * error
        density /= density.sum()
    error, c = best
    unit = end**2
    p = [0.5] + [c[k - 1] / unit**k / 2 for k in range(1, terms_p)]
    q = [1.0] + [c[terms_p - 2 + k] / unit**k for k in range(1, terms_q + 1)]
    return [single(scale * v) for v in p], [single(scale * v) for v in q], error


def bits_of_two_over_pi(zeros=24, words=38):
    """2 / pi as 32-bit words after `zeros` zero bits."""
    total = 32 * words
    with m.workprec(total + 64):
        value = int(m.floor(2 / m.pi * mpf(2) ** (total - zeros)))
    return [(value >> (total - 32 * (i + 1))) & 0xFFFFFFFF for i in range(words)]


# -- Output --------------------------------------------------------------------------------------------------------------


def table(name, comment, values):
    line = ", ".join(float(v).hex().replace("0000000p", "p") for v in values)
    print(f"/// {comment}\ninline constexpr double k{name}[] = {{{line}}};")


def main(names):
    everything = not names
    if everything:
        print("// Made by tools/minimax.py, which says how; every number is exact in f32 (those named Double: in f64). Lowest power first; the error is relative to the function.")
        print("#pragma once\n\n#include <cstdint>\n\nnamespace attnjit::tile::coefficients {\n\n// clang-format off")
    for name, (comment, f, weight, terms, lo, hi) in POLYNOMIALS.items():
        if everything or name in names:
            values, error = fit(f, weight, terms, lo, hi)
            table(name, f"{comment}; error {m.nstr(error, 2)}.", values)
    for name, (comment, f, weight, terms, lo, hi) in DOUBLES.items():
        if everything or name in names:
            values, error = fit_double(f, weight, terms, lo, hi)
            table(name, f"{comment}; error {m.nstr(error, 2)}.", values)
    if everything or "Tanh" in names:
        p, q, error = tanh_quotient()
        table("TanhP", f"p / x of x^2, where tanh(x) = 2 p q / (q^2 + p^2), x up to 9.3; error {error:.1e}.", p)
        table("TanhQ", "q of x^2.", q)
    if everything:
        words = ", ".join(f"{word:#010x}" for word in bits_of_two_over_pi())
        print(f"/// 24 zero bits, then 2 / pi, in words of 32 bits; f32 takes the first 7.\ninline constexpr uint32_t kTwoOverPi[] = {{{words}}};")
        print("// clang-format on\n\n} // namespace attnjit::tile::coefficients")


if __name__ == "__main__":
    mp.dps = 60
    main(sys.argv[1:])
