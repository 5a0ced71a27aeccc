// Made by tools/minimax.py, which says how; every number is exact in f32 (those named Double: in f64). Lowest power first; the error is relative to the function.
#pragma once

#include <cstdint>

namespace attnjit::tile::coefficients {

// clang-format off
/// (2^x - 1) / x on [-1/2, 1/2]; error 4.9e-9.
inline constexpr double kExp2[] = {0x1.62e430p-1, 0x1.ebfbdap-3, 0x1.c6af2cp-5, 0x1.3b2e2ap-7, 0x1.5f3edep-10, 0x1.41fb9ep-13};
/// (e^x - 1 - x) / x^2 on [-ln2 / 2, ln2 / 2]; error 1.4e-8.
inline constexpr double kExpm1[] = {0x1.fffffep-2, 0x1.5554aap-3, 0x1.55579cp-5, 0x1.122c2ep-7, 0x1.6abde8p-10};
/// (ln(1 + x) - x + x^2 / 2) / x^3, 1 + x from sqrt(1/2) to sqrt(2); error 8.3e-10.
inline constexpr double kLog1p[] = {0x1.555548p-2, -0x1.000010p-2, 0x1.99a44ep-3, -0x1.555928p-3, 0x1.233decp-3, -0x1.fc8226p-4, 0x1.e6e462p-4, -0x1.dc43f8p-4, 0x1.1242a2p-4};
/// (atanh(s) / s - 1) / s^2 of s^2, s up to (sqrt(2) - 1) / (sqrt(2) + 1); error 2.5e-11.
inline constexpr double kAtanh[] = {0x1.555554p-2, 0x1.999c26p-3, 0x1.23d3e0p-3, 0x1.f13bdcp-4};
/// (sin(x) - x) / x^3 of x^2, x up to pi / 4; error 4.3e-9.
inline constexpr double kSin[] = {-0x1.555546p-3, 0x1.110762p-7, -0x1.9948c6p-13};
/// (cos(x) - 1 + x^2 / 2) / x^4 of x^2, x up to pi / 4; error 1.2e-10.
inline constexpr double kCos[] = {0x1.55554ap-5, -0x1.6c0c2cp-10, 0x1.99e9dcp-16};
/// (asin(x) - x) / x^3 of x^2, x up to 1/2; error 4.9e-9.
inline constexpr double kAsin[] = {0x1.5555c8p-3, 0x1.330204p-4, 0x1.747bbap-5, 0x1.8c3e28p-6, 0x1.595c90p-5};
/// (atan(x) - x) / x^3 of x^2, x up to 1; error 3.2e-9.
inline constexpr double kAtan[] = {-0x1.55553ep-2, 0x1.9991fap-3, -0x1.2421b2p-3, 0x1.c099fcp-4, -0x1.58348ap-4, 0x1.dac9cap-5, -0x1.fed12ap-6, 0x1.65a618p-7, -0x1.d62f72p-10};
/// (sinh(x) - x) / x^3 of x^2, x up to 1; error 3.0e-10.
inline constexpr double kSinh[] = {0x1.555556p-3, 0x1.1110e0p-7, 0x1.a022bcp-13, 0x1.756c1ep-19};
/// erf(x) / x - 1 of x^2, x up to 0.9; error 1.4e-8.
inline constexpr double kErfNear[] = {0x1.06eba6p-3, -0x1.8126f8p-2, 0x1.ce1dcep-4, -0x1.b6bee2p-6, 0x1.4876cap-8, -0x1.3f4f72p-11};
/// -log2(erfc(x)), x from 0.9 to 3.95; error 1.7e-9.
inline constexpr double kErfFar[] = {0x1.f7a1e2p-13, 0x1.a0877ep+0, 0x1.d68238p-1, 0x1.339e58p-3, -0x1.07bbfap-5, 0x1.21d6eap-8, -0x1.2bddd8p-12};
/// ((1 + 2a) e^(a^2) erfc(a) - 1) / w of w = 2a / (a + 2), a up to 10.06; error 1.1e-8.
inline constexpr double kErfcTail[] = {0x1.be44f8p-1, -0x1.a44ff8p-1, 0x1.ab4f7ap-3, 0x1.1bff5ap-5, -0x1.f5a388p-7, 0x1.08264ep-11, -0x1.3799fcp-8, 0x1.96454ap-9, -0x1.38fb72p-11, 0x1.7d4fd0p-16};
/// (2^x - 1) / x on [-1/2, 1/2], in f64; error 2.7e-17.
inline constexpr double kExp2Double[] = {0x1.62e42fefa39efp-1, 0x1.ebfbdff82c5a4p-3, 0x1.c6b08d7049fe8p-5, 0x1.3b2ab6fba011ap-7, 0x1.5d87fe78cd6dcp-10, 0x1.4309130ed8b39p-13, 0x1.ffcbfba97c265p-17, 0x1.62bfc79d88674p-20, 0x1.b5267ceb3ad2fp-24, 0x1.e61b4f3925a32p-28, 0x1.e79ba4737c347p-32};
/// p / x of x^2, where tanh(x) = 2 p q / (q^2 + p^2), x up to 9.3; error 9.1e-09.
inline constexpr double kTanhP[] = {0x1.d4f0d8p-2, 0x1.be50e8p-7, 0x1.b447d8p-15};
/// q of x^2.
inline constexpr double kTanhQ[] = {0x1.d4f0d8p-1, 0x1.a834c0p-4, 0x1.20e564p-10, 0x1.2a974cp-20};
/// 24 zero bits, then 2 / pi, in words of 32 bits.
inline constexpr uint32_t kTwoOverPi[] = {0x000000a2, 0xf9836e4e, 0x441529fc, 0x2757d1f5, 0x34ddc0db, 0x6295993c, 0x439041fe};
// clang-format on

} // namespace attnjit::tile::coefficients
