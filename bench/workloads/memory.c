/* Working sets of 32 to 64 MiB in pages of 4 KiB: far beyond the reach of a processor's TLB, and of an emulator's. */
#include "workloads.h"

/* chase: one random cycle through nodes of 64 bytes */

#define NODES (1u << 20)
struct node {
  uint32_t next, pad[15];
};
static struct node *nodes;

static void prepare_chase(void) {
  nodes = pages(NODES * sizeof *nodes);
  uint32_t seed = 11;
  for (uint32_t i = 0; i < NODES; i++) nodes[i].next = i;
  /* Sattolo's shuffle gives a single cycle. */
  for (uint32_t i = NODES - 1; i > 0; i--) {
    uint32_t k = (uint32_t)((uint64_t)next(&seed) * i >> 32), was = nodes[i].next;
    nodes[i].next = nodes[k].next;
    nodes[k].next = was;
  }
}

static uint32_t run_chase(void) {
  uint32_t at = 0, sum = 0;
  for (uint32_t i = 0; i < 800000; i++) {
    at = nodes[at].next;
    sum += at;
  }
  return sum;
}

/* hash: an open table of 48 MiB */

#define SLOTS (6u << 20)
struct slot {
  uint32_t key, count;
};
static struct slot *slots;

static void prepare_hash(void) { slots = pages(SLOTS * sizeof *slots); }

static uint32_t insert(uint32_t key) {
  uint32_t at = (uint32_t)((uint64_t)(key * 2654435761u) * SLOTS >> 32);
  while (slots[at].key != key) {
    if (slots[at].key == 0) {
      slots[at].key = key;
      break;
    }
    if (++at == SLOTS) at = 0;
  }
  return ++slots[at].count;
}

static uint32_t run_hash(void) {
  uint32_t sum = 0;
  for (int round = 0; round < 2; round++) {
    uint32_t seed = 12;
    for (uint32_t i = 0; i < 500000; i++) sum = sum * 31 + insert(next(&seed) | 1);
  }
  return sum;
}

/* columns: a matrix of 4096 rows of 8 KiB, walked down its columns */

#define ROWS 4096
#define COLUMNS 2048
static uint32_t (*matrix)[COLUMNS];

static void prepare_columns(void) {
  matrix = pages(sizeof(uint32_t[ROWS][COLUMNS]));
  for (uint32_t r = 0; r < ROWS; r++)
    for (uint32_t c = 0; c < COLUMNS; c += 16) matrix[r][c] = r * 2654435761u ^ c;
}

static uint32_t run_columns(void) {
  uint32_t sum = 0;
  for (uint32_t c = 0; c < COLUMNS; c += 8)
    for (uint32_t r = 0; r < ROWS; r++) {
      sum = (sum << 1 | sum >> 31) + matrix[r][c];
      matrix[r][c] = sum;
    }
  return sum;
}

/* search: binary search in a sorted array of 32 MiB */

#define KEYS (8u << 20)
static uint32_t *keys;

static void prepare_search(void) {
  keys = pages(KEYS * sizeof *keys);
  uint32_t seed = 13, value = 0;
  for (uint32_t i = 0; i < KEYS; i++) keys[i] = value += 1 + (next(&seed) >> 23);
}

static uint32_t run_search(void) {
  uint32_t seed = 14, sum = 0;
  for (uint32_t i = 0; i < 120000; i++) {
    uint32_t key = (uint32_t)((uint64_t)next(&seed) * keys[KEYS - 1] >> 32), low = 0, high = KEYS;
    while (low < high) {
      uint32_t middle = low + (high - low) / 2;
      if (keys[middle] < key) low = middle + 1;
      else high = middle;
    }
    sum = sum * 31 + low;
  }
  return sum;
}

const struct workload memory_workloads[] = {
  {"chase", "a random pointer chase through 64 MiB, 800 000 steps", prepare_chase, run_chase},
  {"hash", "a hash table of 48 MiB, a million insertions", prepare_hash, run_hash},
  {"columns", "a matrix of 32 MiB down its columns, a million elements", prepare_columns, run_columns},
  {"search", "binary searches in 32 MiB, 120 000", prepare_search, run_search},
  {NULL, NULL, NULL, NULL},
};
