// Made by tools/minimax.py, which says how; every number is exact in f32 (those named Double: in f64). Lowest power first; the error is
// relative to the function.
#pragma once

#include <cstdint>

namespace attnjit::tile::coefficients {

// clang-format off
/// (2^x - 1) / x on [-1/2, 1/2]; error 4.9e-9.
inline constexpr double kExp2[] = {0x1.62e430p-1, 0x1.ebfbdap-3, 0x1.c6af2cp-5, 0x1.3b2e2ap-7, 0x1.5f3edep-10, 0x1.41fb9ep-13};
/// (2^x - 1) / x on [-1/2, 1/2]; error 2.8e-6.
inline constexpr double kExp2Short[] = {0x1.62e12cp-1, 0x1.ec0376p-3, 0x1.c9fc48p-5, 0x1.3a02bep-7};
/// (2^x - 1) / x on [0, 1]; error 8.2e-8.
inline constexpr double kExp2Up[] = {0x1.62e4bap-1, 0x1.ebdb6ap-3, 0x1.c91c10p-5, 0x1.277c1ep-7, 0x1.e96900p-10};
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
/// (ln(1 + x) - x + x^2 / 2) / x^3, 1 + x from sqrt(1/2) to sqrt(2), in f64; error 5.0e-18.
inline constexpr double kLog1pDouble[] = {0x1.555555555556bp-2, -0x1.ffffffffffe7bp-3, 0x1.9999999994dc6p-3, -0x1.555555556b1c4p-3, 0x1.249249275d3d5p-3, -0x1.fffffff3a717ep-4, 0x1.c71c702e29b2dp-4, -0x1.99999aa08c9cfp-4, 0x1.745d58cfc4e1dp-4, -0x1.555576bce95cap-4, 0x1.3b0d78d9d7cd3p-4, -0x1.24894bb1a446bp-4, 0x1.1169ff8d34763p-4, -0x1.00cfa87728556p-4, 0x1.dc97cfb90d8c6p-5, -0x1.b45e6255e109cp-5, 0x1.bbac5fa26f9b7p-5, -0x1.0106b588d9bf5p-4, 0x1.d2b1cda955ca9p-5, -0x1.8dc0572b9297fp-6};
/// (atanh(s) / s - 1) / s^2 of s^2, s up to (sqrt(2) - 1) / (sqrt(2) + 1), in f64; error 5.5e-19.
inline constexpr double kAtanhDouble[] = {0x1.5555555555555p-2, 0x1.999999999998ep-3, 0x1.24924924939d1p-3, 0x1.c71c71c4bc4b5p-4, 0x1.745d1879479cap-4, 0x1.3b13537d91a06p-4, 0x1.1122a07e48a57p-4, 0x1.ddf0554ea1627p-5, 0x1.ecfce4f1cf4f3p-5};
/// (sin(x) - x) / x^3 of x^2, x up to pi / 4, in f64; error 9.7e-18.
inline constexpr double kSinDouble[] = {-0x1.5555555555548p-3, 0x1.111111110f7b0p-7, -0x1.a01a019bf9b96p-13, 0x1.71de35640baecp-19, -0x1.ae5e57838324bp-26, 0x1.5d8ee846c2846p-33};
/// (cos(x) - 1 + x^2 / 2) / x^4 of x^2, x up to pi / 4, in f64; error 1.3e-18.
inline constexpr double kCosDouble[] = {0x1.555555555554bp-5, -0x1.6c16c16c14f6cp-10, 0x1.a01a019c80953p-16, -0x1.27e4f7e801a2bp-22, 0x1.1ee9d5c8971e3p-29, -0x1.8fa3954ae6f30p-37};
/// (asin(x) - x) / x^3 of x^2, x up to 1/2, in f64; error 1.4e-18.
inline constexpr double kAsinDouble[] = {0x1.5555555555577p-3, 0x1.333333332e100p-4, 0x1.6db6db72143f9p-5, 0x1.f1c71a945ddd8p-6, 0x1.6e8bdeee8a7e0p-6, 0x1.1c49ef781b3efp-6, 0x1.ca1fa0d93dac4p-7, 0x1.7584f7f4a8738p-7, 0x1.613f80e55f96bp-7, 0x1.e5cbdd5412cb5p-9, 0x1.63a8585b6dbe7p-6, -0x1.580d5ffb4f824p-6, 0x1.0b4b72ce32c51p-5};
/// (atan(x) - x) / x^3 of x^2, x up to 1, in f64; error 8.5e-18.
inline constexpr double kAtanDouble[] = {-0x1.555555555554dp-2, 0x1.9999999998c28p-3, -0x1.2492492456ad3p-3, 0x1.c71c71b629816p-4, -0x1.745d15d038c51p-4, 0x1.3b139bcee8f9fp-4, -0x1.1110326aa3e48p-4, 0x1.e1d4872a9a08ap-5, -0x1.aeda52312bdafp-5, 0x1.84b4504a065a2p-5, -0x1.5f24228954173p-5, 0x1.3904511a993d4p-5, -0x1.0c940958c210cp-5, 0x1.ac78123cef223p-6, -0x1.30f9a79f2c927p-6, 0x1.72db70634f8fep-7, -0x1.6fd0691b164e5p-8, 0x1.1a0384d01e6b6p-9, -0x1.36d9197e48a81p-11, 0x1.b3ac2db7d9e86p-14, -0x1.22638caea38d4p-17};
/// (sinh(x) - x) / x^3 of x^2, x up to 1, in f64; error 8.1e-18.
inline constexpr double kSinhDouble[] = {0x1.5555555555555p-3, 0x1.1111111111111p-7, 0x1.a01a01a019fc1p-13, 0x1.71de3a5573f79p-19, 0x1.ae6456741b932p-26, 0x1.61246afa2b2efp-33, 0x1.ae756e9ac92c4p-41, 0x1.9a79407fc34c9p-49};
/// erf(x) / x - 1 of x^2, x up to 0.9, in f64; error 3.3e-17.
inline constexpr double kErfNearDouble[] = {0x1.06eba8214db69p-3, -0x1.812746b0379e2p-2, 0x1.ce2f21a0427e1p-4, -0x1.b82ce31271dc0p-6, 0x1.565bcd0a3197bp-8, -0x1.c02db31406aacp-11, 0x1.f9a3062762b0bp-14, -0x1.f4cf592fa9e1dp-17, 0x1.b9b75e1a4520cp-20, -0x1.5d835dc552554p-23, 0x1.e29e43d407d44p-27, -0x1.d24b3000f4addp-31};
/// (1 + 2a) e^(a^2) erfc(a) of t = (a - 4) / (a + 4), a up to 27.3, in f64; error 5.1e-17.
inline constexpr double kErfcTailDouble[] = {0x1.3ba5916e9fd7fp+0, -0x1.1df1ad154a28fp-3, 0x1.f7f5df66fd6e2p-7, 0x1.16ecefcfa54aep-4, -0x1.9ddb23c3e89f8p-4, 0x1.7fee004e0fc54p-4, -0x1.0fb06dfe54524p-4, 0x1.3079edf6d9245p-5, -0x1.09623882c231bp-6, 0x1.49c6726d77f10p-8, -0x1.8d4a9c30c1deep-11, -0x1.a1df14ca9be0fp-13, 0x1.3be06a945fad9p-13, -0x1.995af8e6fbdbap-16, -0x1.788db19b3756ap-17, 0x1.7f361ab7d5578p-18, 0x1.3bde26da8cec0p-22, -0x1.bb83c26ee40e5p-21, 0x1.3df597e4c5927p-24, 0x1.da5799b76d5a4p-24, -0x1.2a6e6f88a30efp-26, -0x1.e4280ed16949ep-27, 0x1.c07adff4caa1ap-30, 0x1.45bde0828801fp-30};
/// p / x of x^2, where tanh(x) = 2 p q / (q^2 + p^2), x up to 9.3; error 9.1e-09.
inline constexpr double kTanhP[] = {0x1.d4f0d8p-2, 0x1.be50e8p-7, 0x1.b447d8p-15};
/// q of x^2.
inline constexpr double kTanhQ[] = {0x1.d4f0d8p-1, 0x1.a834c0p-4, 0x1.20e564p-10, 0x1.2a974cp-20};
/// 24 zero bits, then 2 / pi, in words of 32 bits; f32 takes the first 7.
inline constexpr uint32_t kTwoOverPi[] = {0x000000a2, 0xf9836e4e, 0x441529fc, 0x2757d1f5, 0x34ddc0db, 0x6295993c, 0x439041fe, 0x5163abde, 0xbbc561b7, 0x246e3a42, 0x4dd2e006, 0x492eea09, 0xd1921cfe, 0x1deb1cb1, 0x29a73ee8, 0x8235f52e, 0xbb4484e9, 0x9c7026b4, 0x5f7e4139, 0x91d63983, 0x5339f49c, 0x845f8bbd, 0xf9283b1f, 0xf897ffde, 0x05980fef, 0x2f118b5a, 0x0a6d1f6d, 0x367ecf27, 0xcb09b74f, 0x463f669e, 0x5fea2d75, 0x27bac7eb, 0xe5f17b3d, 0x0739f78a, 0x5292ea6b, 0xfb5fb11f, 0x8d5d0856, 0x033046fc};
// clang-format on

} // namespace attnjit::tile::coefficients
