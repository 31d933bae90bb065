/* Floating point: on the x87 in the 32-bit program, on scalar SSE in the 64-bit one; and packed SSE2 in both. No approximate instructions. */
#include <emmintrin.h>
#include <math.h>
#include <string.h>

#include "workloads.h"

/* matmul */

#define ORDER 160
static double (*left)[ORDER], (*right)[ORDER], (*product)[ORDER];

static void prepare_matmul(void) {
  left = pages(sizeof(double[ORDER][ORDER]));
  right = pages(sizeof(double[ORDER][ORDER]));
  product = pages(sizeof(double[ORDER][ORDER]));
  uint32_t seed = 5;
  for (int i = 0; i < ORDER; i++)
    for (int k = 0; k < ORDER; k++) {
      left[i][k] = (double)(next(&seed) >> 8) / 65536.0;
      right[i][k] = (double)(next(&seed) >> 8) / 65536.0;
    }
}

static uint32_t run_matmul(void) {
  for (int i = 0; i < ORDER; i++)
    for (int j = 0; j < ORDER; j++) {
      double sum = 0;
      for (int k = 0; k < ORDER; k++) sum += left[i][k] * right[k][j];
      product[i][j] = sum;
    }
  return digest(product, sizeof(double[ORDER][ORDER]));
}

/* float: bodies that attract each other, and a Mandelbrot set, in single precision */

#define BODIES 24
struct body {
  float x, y, z, vx, vy, vz, mass;
};
static struct body bodies[BODIES];

static void prepare_float(void) {
  uint32_t seed = 6;
  for (int i = 0; i < BODIES; i++) {
    float *at = &bodies[i].x;
    for (int k = 0; k < 7; k++) at[k] = (float)(next(&seed) >> 16) / 65536.0f + (k == 6 ? 0.5f : 0);
  }
}

static void attract(void) {
  const float dt = 0.001f;
  for (int i = 0; i < BODIES; i++) {
    struct body *a = bodies + i;
    for (int k = i + 1; k < BODIES; k++) {
      struct body *b = bodies + k;
      float dx = a->x - b->x, dy = a->y - b->y, dz = a->z - b->z;
      float square = dx * dx + dy * dy + dz * dz + 0.01f;
      float pull = dt / (square * sqrtf(square));
      a->vx -= dx * b->mass * pull;
      a->vy -= dy * b->mass * pull;
      a->vz -= dz * b->mass * pull;
      b->vx += dx * a->mass * pull;
      b->vy += dy * a->mass * pull;
      b->vz += dz * a->mass * pull;
    }
  }
  for (int i = 0; i < BODIES; i++) {
    bodies[i].x += dt * bodies[i].vx;
    bodies[i].y += dt * bodies[i].vy;
    bodies[i].z += dt * bodies[i].vz;
  }
}

static uint32_t mandelbrot(void) {
  uint32_t sum = 0;
  for (int py = 0; py < 96; py++)
    for (int px = 0; px < 128; px++) {
      float cx = (float)px / 48.0f - 2.0f, cy = (float)py / 48.0f - 1.0f, x = 0, y = 0;
      uint32_t n = 0;
      while (n < 100 && x * x + y * y < 4.0f) {
        float t = x * x - y * y + cx;
        y = 2.0f * x * y + cy;
        x = t;
        n++;
      }
      sum = sum * 31 + n;
    }
  return sum;
}

static uint32_t run_float(void) {
  for (int step = 0; step < 400; step++) attract();
  return digest(bodies, sizeof bodies) ^ mandelbrot();
}

/* sse: packed integers and floats over arrays that fit a second-level cache */

#define PIXELS (256u << 10)
static uint8_t *picture, *blurred;
static int16_t *samples;
static float *floats;

static void prepare_sse(void) {
  picture = pages(PIXELS + 64);
  blurred = pages(PIXELS + 64);
  samples = pages(PIXELS);
  floats = pages(PIXELS);
  uint32_t seed = 7;
  for (size_t i = 0; i < PIXELS; i++) picture[i] = (uint8_t)(next(&seed) >> 24);
  for (size_t i = 0; i < PIXELS / 2; i++) samples[i] = (int16_t)(next(&seed) >> 16);
  for (size_t i = 0; i < PIXELS / 4; i++) floats[i] = (float)(next(&seed) >> 8) / 65536.0f;
}

__attribute__((target("sse2"))) static void blur(void) {
  for (size_t i = 0; i < PIXELS; i += 16) {
    __m128i a = _mm_load_si128((const __m128i *)(picture + i));
    __m128i b = _mm_loadu_si128((const __m128i *)(picture + i + 1));
    __m128i c = _mm_loadu_si128((const __m128i *)(picture + i + 2));
    __m128i mean = _mm_avg_epu8(_mm_avg_epu8(a, c), b);
    __m128i edge = _mm_subs_epu8(_mm_max_epu8(a, c), _mm_min_epu8(a, c));
    _mm_store_si128((__m128i *)(blurred + i), _mm_adds_epu8(mean, _mm_and_si128(edge, _mm_set1_epi8(15))));
  }
}

__attribute__((target("sse2"))) static uint32_t mix(int16_t factor) {
  __m128i sum = _mm_setzero_si128();
  const __m128i f = _mm_set1_epi16(factor);
  for (size_t i = 0; i < PIXELS / 2; i += 8) {
    __m128i *at = (__m128i *)(samples + i);
    __m128i x = _mm_load_si128(at);
    __m128i low = _mm_mullo_epi16(x, f), high = _mm_mulhi_epi16(x, f);
    __m128i wide = _mm_packs_epi32(_mm_srai_epi32(_mm_unpacklo_epi16(low, high), 7),
                                   _mm_srai_epi32(_mm_unpackhi_epi16(low, high), 7));
    x = _mm_adds_epi16(_mm_srai_epi16(x, 1), wide);
    _mm_store_si128(at, _mm_xor_si128(x, _mm_cmpgt_epi16(_mm_setzero_si128(), x)));
    sum = _mm_add_epi32(sum, _mm_madd_epi16(x, f));
  }
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(1, 0, 3, 2)));
  sum = _mm_add_epi32(sum, _mm_shuffle_epi32(sum, _MM_SHUFFLE(2, 3, 0, 1)));
  return (uint32_t)_mm_cvtsi128_si32(sum);
}

__attribute__((target("sse2"))) static void smooth(void) {
  const __m128 one = _mm_set1_ps(1.0f), half = _mm_set1_ps(0.5f);
  for (size_t i = 0; i < PIXELS / 4; i += 4) {
    __m128 x = _mm_load_ps(floats + i);
    __m128 y = _mm_div_ps(_mm_add_ps(x, one), _mm_sqrt_ps(_mm_add_ps(_mm_mul_ps(x, x), one)));
    y = _mm_add_ps(_mm_mul_ps(y, half), _mm_shuffle_ps(x, y, _MM_SHUFFLE(0, 1, 2, 3)));
    _mm_store_ps(floats + i, _mm_min_ps(_mm_max_ps(y, half), _mm_mul_ps(x, one)));
  }
}

static uint32_t run_sse(void) {
  uint32_t sum = 0;
  for (int round = 0; round < 24; round++) {
    blur();
    uint8_t *was = picture;
    picture = blurred;
    blurred = was;
    sum = sum * 31 + mix((int16_t)(37 + 91 * round));
    smooth();
  }
  return sum ^ digest(picture, 4096) ^ digest(samples, 4096) ^ digest(floats, 4096);
}

const struct workload float_workloads[] = {
  {"matmul", "product of two matrices of 160 × 160 doubles", prepare_matmul, run_matmul},
  {"float", "24 bodies and a Mandelbrot set in single precision", prepare_float, run_float},
  {"sse", "packed SSE2: blur, fixed-point mixing, floats with division and square root", prepare_sse, run_sse},
  {NULL, NULL, NULL, NULL},
};
