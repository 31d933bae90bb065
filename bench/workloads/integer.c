/* The plain ones: integers in registers and small arrays. */
#include <stdlib.h>
#include <string.h>

#include "workloads.h"

/* crc32 */

#define CRC_BYTES (20u << 20)
static uint32_t crc_table[256];
static uint8_t *crc_data;

static void prepare_crc32(void) {
  for (uint32_t i = 0; i < 256; i++) {
    uint32_t c = i;
    for (int bit = 0; bit < 8; bit++) c = c & 1 ? c >> 1 ^ 0xEDB88320u : c >> 1;
    crc_table[i] = c;
  }
  crc_data = pages(1u << 20);
  uint32_t seed = 1;
  for (size_t i = 0; i < 1u << 20; i++) crc_data[i] = (uint8_t)(next(&seed) >> 24);
}

static uint32_t run_crc32(void) {
  uint32_t c = ~0u;
  for (size_t done = 0; done < CRC_BYTES; done += 1u << 20)
    for (size_t i = 0; i < 1u << 20; i++) c = crc_table[(c ^ crc_data[i]) & 255] ^ c >> 8;
  return ~c;
}

/* sieve */

#define SIEVE_SIZE 2000000u
static uint8_t *sieve_flags;

static void prepare_sieve(void) { sieve_flags = pages(SIEVE_SIZE); }

static uint32_t run_sieve(void) {
  uint32_t sum = 0;
  for (int round = 0; round < 4; round++) {
    memset(sieve_flags, 1, SIEVE_SIZE);
    for (uint32_t i = 2; i < SIEVE_SIZE; i++) {
      if (!sieve_flags[i]) continue;
      sum += i;
      for (uint32_t k = i + i; k < SIEVE_SIZE; k += i) sieve_flags[k] = 0;
    }
  }
  return sum;
}

/* qsort */

#define SORT_COUNT 300000u
static int32_t *sort_data;

static void prepare_qsort(void) { sort_data = pages(SORT_COUNT * sizeof *sort_data); }

static int by_value(const void *a, const void *b) {
  int32_t x = *(const int32_t *)a, y = *(const int32_t *)b;
  return (x > y) - (x < y);
}

static uint32_t run_qsort(void) {
  uint32_t seed = 2, sum = 0;
  for (int round = 0; round < 2; round++) {
    for (uint32_t i = 0; i < SORT_COUNT; i++) sort_data[i] = (int32_t)next(&seed);
    qsort(sort_data, SORT_COUNT, sizeof *sort_data, by_value);
    sum = sum * 31 + digest(sort_data, SORT_COUNT * sizeof *sort_data);
  }
  return sum;
}

/* lcg64 */

static uint32_t run_lcg64(void) {
  uint64_t x = 88172645463325252u, sum = 0;
  for (uint32_t i = 0; i < 20000000u; i++) {
    x = x * 6364136223846793005u + 1442695040888963407u;
    sum += x >> 33;
  }
  return (uint32_t)(sum ^ sum >> 32);
}

/* memmove */

#define MOVE_BYTES (1u << 20)
static uint8_t *move_data;

static void prepare_memmove(void) {
  move_data = pages(2 * MOVE_BYTES + 4096);
  uint32_t seed = 3;
  for (size_t i = 0; i < 2 * MOVE_BYTES; i++) move_data[i] = (uint8_t)(next(&seed) >> 24);
}

static uint32_t run_memmove(void) {
  uint32_t seed = 4;
  for (int round = 0; round < 200; round++) {
    uint8_t *to = move_data + (next(&seed) >> 20), *from = move_data + MOVE_BYTES - 2048 + (next(&seed) >> 20);
    if (round & 1) memmove(from, to, MOVE_BYTES);
    else memmove(to, from, MOVE_BYTES);
  }
  return digest(move_data, 65536);
}

const struct workload integer_workloads[] = {
  {"crc32", "CRC-32 of 20 MiB by table", prepare_crc32, run_crc32},
  {"sieve", "sieve of Eratosthenes to 2 million, 4 times", prepare_sieve, run_sieve},
  {"qsort", "the C library's qsort of 300 000 integers, twice", prepare_qsort, run_qsort},
  {"lcg64", "64-bit linear congruential generator, 20 million steps", NULL, run_lcg64},
  {"memmove", "memmove of 1 MiB, 200 times", prepare_memmove, run_memmove},
  {NULL, NULL, NULL, NULL},
};
