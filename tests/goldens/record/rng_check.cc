// SPDX-License-Identifier: Apache-2.0
// Recomputes Fluid 1.8.5's CPU random initial values from seed and attributes
// and compares them bit by bit with a tensor file of a golden case.
//
//   g++ -O2 -std=c++11 -o rng_check rng_check.cc
//   ./rng_check uniform   SEED MIN MAX  FILE
//   ./rng_check gaussian  SEED MEAN STD FILE
//   ./rng_check truncated SEED MEAN STD FILE
//
// The truncated normal uses the central formula of the inverse error function
// after Wichura's algorithm AS 241 (Applied Statistics 37, 1988), in float.
// Build without fused multiply-add (-ffp-contract=off if -mfma is on).
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

// Horner's rule in float, highest coefficient first.
static float poly(const double *c, float r) {
  float v = static_cast<float>(c[7]);
  for (int i = 6; i >= 0; --i) v = v * r + static_cast<float>(c[i]);
  return v;
}

static const double kMidNum[8] = {
    1.1975323115670912564578e0, 4.7072688112383978012285e1,
    6.9706266534389598238465e2, 4.8548868893843886794648e3,
    1.6235862515167575384252e4, 2.3782041382114385731252e4,
    1.1819493347062294404278e4, 8.8709406962545514830200e2};
static const double kMidDen[8] = {
    1.0, 4.2313330701600911252e1, 6.8718700749205790830e2,
    5.3941960214247511077e3, 2.1213794301586595867e4,
    3.9307895800092710610e4, 2.8729085735721942674e4,
    5.2264952788528545610e3};
// AS 241 has a second formula for |x| > 0.85.  Fluid 1.8.5 never takes it (its
// absolute value is the integer one, so the test always sees 0), and the
// central formula is used up to the cut at two deviations, |x| = 0.9545.
static float inverse_erf(float x) {
  float r = static_cast<float>(0.180625 - 0.25 * x * x);
  return x * poly(kMidNum, r) / poly(kMidDen, r);
}

static float truncated(float unit, float mean, float std) {
  float low = static_cast<float>((1.0 + std::erf(-2.0f / std::sqrt(2.0))) / 2.0);
  float high = static_cast<float>((1.0 + std::erf(2.0f / std::sqrt(2.0))) / 2.0);
  float p = low + (high - low) * unit;
  return static_cast<float>(
      std::sqrt(2.0) * inverse_erf(2 * p - 1) * std + mean);
}

int main(int argc, char **argv) {
  if (argc != 6) return 2;
  std::string kind = argv[1];
  std::minstd_rand engine;
  engine.seed(static_cast<unsigned>(std::strtoul(argv[2], nullptr, 10)));
  float a = std::strtof(argv[3], nullptr), b = std::strtof(argv[4], nullptr);

  FILE *in = std::fopen(argv[5], "rb");
  if (!in) return 2;
  std::vector<char> raw(1 << 24);
  size_t size = std::fread(raw.data(), 1, raw.size(), in);
  std::fclose(in);
  int desc;
  std::memcpy(&desc, raw.data() + 16, 4);  // no LoD: header is 20 bytes
  size_t start = 20 + desc;
  size_t count = (size - start) / sizeof(float);

  std::uniform_real_distribution<float> uniform(a, b);
  std::normal_distribution<float> normal(a, b);
  std::uniform_real_distribution<float> unit(
      std::numeric_limits<float>::min(), 1.0f);
  size_t wrong = 0;
  float worst = 0;
  for (size_t i = 0; i < count; ++i) {
    float want, got;
    std::memcpy(&want, raw.data() + start + i * sizeof(float), sizeof(float));
    if (kind == "uniform") got = uniform(engine);
    else if (kind == "gaussian") got = normal(engine);
    else got = truncated(unit(engine), a, b);
    if (std::memcmp(&got, &want, sizeof got)) {
      ++wrong;
      worst = std::fmax(worst, std::fabs(got - want));
    }
  }
  std::printf("%s %s: %zu values, %zu differ, largest difference %g\n",
              argv[5], kind.c_str(), count, wrong, worst);
  return wrong != 0;
}
