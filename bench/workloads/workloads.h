/* What the files of the program share. */
#ifndef WORKLOADS_H
#define WORKLOADS_H

#include <stddef.h>
#include <stdint.h>

/* One workload. What `prepare` does is not timed; `run` returns a checksum that must be the same wherever it runs. */
struct workload {
  const char *name;
  const char *what;
  void (*prepare)(void);
  uint32_t (*run)(void);
};

/* Terminated by an entry without a name. */
extern const struct workload integer_workloads[];
extern const struct workload float_workloads[];
extern const struct workload code_workloads[];
extern const struct workload system_workloads[];
extern const struct workload memory_workloads[];

/* Own path, to start the program again; and the argument with which it ends at once. */
extern const char *self;
#define EXIT_AT_ONCE "--exit-at-once"

/* Memory of whole pages that are there already, never of large pages; ends the program where there is none. */
void *pages(size_t bytes);

/* Ends the program with a message unless the condition holds. */
void demand(int condition, const char *message);

/* A generator of our own, so that every C library gives the same data. */
static inline uint32_t next(uint32_t *seed) {
  *seed = *seed * 1664525u + 1013904223u;
  return *seed;
}

/* FNV-1a over bytes. */
static inline uint32_t digest(const void *data, size_t bytes) {
  const uint8_t *at = data;
  uint32_t hash = 2166136261u;
  for (size_t i = 0; i < bytes; i++) hash = (hash ^ at[i]) * 16777619u;
  return hash;
}

#endif
