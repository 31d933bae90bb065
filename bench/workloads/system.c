/* What goes through the operating system: calls, processes, pipes, files. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "workloads.h"

/* getppid */

static uint32_t run_getppid(void) {
  long parent = syscall(SYS_getppid);
  uint32_t same = 0;
  for (int i = 0; i < 200000; i++) same += syscall(SYS_getppid) == parent;
  return same;
}

/* forkexec */

static uint32_t run_forkexec(void) {
  uint32_t sum = 0;
  for (int i = 0; i < 60; i++) {
    pid_t child = fork();
    demand(child >= 0, "cannot fork");
    if (child == 0) {
      execl(self, "workloads", EXIT_AT_ONCE, (char *)NULL);
      _exit(127);
    }
    int status = 0;
    waitpid(child, &status, 0);
    sum = sum * 31 + (uint32_t)status;
  }
  return sum;
}

/* pipe */

static uint32_t run_pipe(void) {
  int to[2], from[2];
  demand(pipe(to) == 0 && pipe(from) == 0, "no pipe");
  pid_t child = fork();
  demand(child >= 0, "cannot fork");
  uint32_t value;
  if (child == 0) {
    close(to[1]), close(from[0]);
    while (read(to[0], &value, sizeof value) == sizeof value) {
      value = value * 1664525u + 1;
      if (write(from[1], &value, sizeof value) != sizeof value) break;
    }
    _exit(0);
  }
  close(to[0]), close(from[1]);
  uint32_t sum = 1;
  for (int i = 0; i < 5000; i++) {
    value = sum;
    demand(write(to[1], &value, sizeof value) == sizeof value, "pipe: short write");
    demand(read(from[0], &value, sizeof value) == sizeof value, "pipe: short read");
    sum = value ^ sum >> 3;
  }
  close(to[1]), close(from[0]);
  waitpid(child, NULL, 0);
  return sum;
}

/* compress: a file in blocks of 32 KiB; matches by hash chains, then a Huffman code for each block; expanded again and compared */

#define BLOCK 32768
#define BLOCKS 24
#define SHORTEST 4
#define LONGEST 66
#define SYMBOLS 320 /* 0-255 literals, 256-318 lengths from SHORTEST; distances are 15 plain bits */
#define MAX_BITS 15

static char plain_name[256], packed_name[256];
static uint8_t block[BLOCK], back[BLOCK], packed[BLOCK * 3];
static uint16_t symbols[BLOCK], distances[BLOCK];

static void prepare_compress(void) {
  const char *folder = getenv("TMPDIR");
  if (!folder) folder = "/tmp";
  snprintf(plain_name, sizeof plain_name, "%s/workloads-%d.plain", folder, (int)getpid());
  snprintf(packed_name, sizeof packed_name, "%s/workloads-%d.packed", folder, (int)getpid());
  int file = open(plain_name, O_CREAT | O_TRUNC | O_WRONLY, 0600);
  demand(file >= 0, "cannot make a file");
  uint32_t seed = 10;
  static char words[512][12];
  for (int i = 0; i < 512; i++) {
    int length = 2 + (int)(next(&seed) >> 24) % 9;
    for (int k = 0; k < length; k++) words[i][k] = (char)('a' + ((next(&seed) >> 24) & (next(&seed) >> 24)) % 26);
  }
  for (int b = 0; b < BLOCKS; b++) {
    size_t at = 0;
    while (at < BLOCK) {
      /* Small numbers come more often, as frequent words do. */
      const char *word = words[(next(&seed) >> 23) * (next(&seed) >> 23) >> 9];
      for (; *word && at < BLOCK; word++) block[at++] = (uint8_t)*word;
      if (at < BLOCK) block[at++] = next(&seed) >> 29 ? ' ' : '\n';
    }
    demand(write(file, block, BLOCK) == BLOCK, "cannot write a file");
  }
  close(file);
}

/* Fills `symbols` and `distances`; returns how many. */
static int find_matches(void) {
  static int16_t heads[4096], chain[BLOCK];
  memset(heads, -1, sizeof heads);
  int count = 0;
  for (int at = 0; at < BLOCK;) {
    int best = 0, where = 0;
    if (at + SHORTEST <= BLOCK) {
      uint32_t four;
      memcpy(&four, block + at, 4);
      int16_t *head = heads + (four * 2654435761u >> 20);
      int limit = BLOCK - at < LONGEST ? BLOCK - at : LONGEST;
      int tries = 12;
      for (int from = *head; from >= 0 && tries-- > 0; from = chain[from]) {
        int length = 0;
        while (length < limit && block[from + length] == block[at + length]) length++;
        if (length > best) best = length, where = at - from;
      }
      chain[at] = *head;
      *head = (int16_t)at;
    }
    if (best >= SHORTEST) {
      symbols[count] = (uint16_t)(256 + best - SHORTEST);
      distances[count++] = (uint16_t)where;
      at += best;
    } else {
      symbols[count++] = block[at++];
    }
  }
  return count;
}

/* Code lengths from frequencies: the two least are joined until one is left; flattened and repeated where a code is too long. */
static void code_lengths(const uint32_t *counted, uint8_t *lengths) {
  static uint32_t weight[2 * SYMBOLS];
  static int16_t parent[2 * SYMBOLS];
  static uint8_t joined[2 * SYMBOLS];
  uint32_t frequency[SYMBOLS];
  memcpy(frequency, counted, sizeof frequency);
  for (;;) {
    int nodes = 0, leaf[SYMBOLS];
    for (int s = 0; s < SYMBOLS; s++) {
      leaf[s] = -1;
      if (frequency[s]) weight[nodes] = frequency[s], joined[nodes] = 0, leaf[s] = nodes++;
    }
    for (int left = nodes; left > 1; left--) {
      int least = -1, second = -1;
      for (int i = 0; i < nodes; i++) {
        if (joined[i]) continue;
        if (least < 0 || weight[i] < weight[least]) second = least, least = i;
        else if (second < 0 || weight[i] < weight[second]) second = i;
      }
      joined[least] = joined[second] = 1;
      parent[least] = parent[second] = (int16_t)nodes;
      weight[nodes] = weight[least] + weight[second], joined[nodes] = 0, nodes++;
    }
    int longest = 0;
    for (int s = 0; s < SYMBOLS; s++) {
      int bits = 0;
      if (leaf[s] >= 0)
        for (int i = leaf[s]; i != nodes - 1; i = parent[i]) bits++;
      lengths[s] = (uint8_t)(leaf[s] >= 0 && bits == 0 ? 1 : bits);
      if (bits > longest) longest = bits;
    }
    if (longest <= MAX_BITS) return;
    for (int s = 0; s < SYMBOLS; s++)
      if (frequency[s]) frequency[s] = frequency[s] / 2 + 1;
  }
}

static void first_codes(const uint8_t *lengths, uint16_t *first, uint16_t *count) {
  memset(count, 0, (MAX_BITS + 1) * sizeof *count);
  for (int s = 0; s < SYMBOLS; s++) count[lengths[s]]++;
  count[0] = 0;
  uint16_t code = 0;
  for (int bits = 1; bits <= MAX_BITS; bits++) first[bits] = code = (uint16_t)((code + count[bits - 1]) << 1);
}

static size_t bit_at;
static void put(uint32_t value, int bits) {
  while (bits-- > 0) {
    if ((bit_at & 7) == 0) packed[bit_at >> 3] = 0;
    packed[bit_at >> 3] |= (uint8_t)((value >> bits & 1) << (7 - (bit_at & 7)));
    bit_at++;
  }
}
static uint32_t get(int bits) {
  uint32_t value = 0;
  for (; bits > 0; bits--, bit_at++) value = value << 1 | (packed[bit_at >> 3] >> (7 - (bit_at & 7)) & 1);
  return value;
}

/* Returns the number of bytes in `packed`. */
static size_t pack(void) {
  uint32_t frequency[SYMBOLS] = {0};
  uint8_t lengths[SYMBOLS];
  uint16_t codes[SYMBOLS], at[MAX_BITS + 1], count[MAX_BITS + 1];
  int n = find_matches();
  for (int i = 0; i < n; i++) frequency[symbols[i]]++;
  code_lengths(frequency, lengths);
  first_codes(lengths, at, count);
  for (int s = 0; s < SYMBOLS; s++)
    if (lengths[s]) codes[s] = at[lengths[s]]++;
  bit_at = 0;
  for (int s = 0; s < SYMBOLS; s++) put(lengths[s], 4);
  for (int i = 0; i < n; i++) {
    put(codes[symbols[i]], lengths[symbols[i]]);
    if (symbols[i] >= 256) put(distances[i], MAX_BITS);
  }
  return (bit_at + 7) / 8;
}

static void expand(void) {
  uint8_t lengths[SYMBOLS];
  uint16_t sorted[SYMBOLS], first[MAX_BITS + 1], count[MAX_BITS + 1];
  bit_at = 0;
  for (int s = 0; s < SYMBOLS; s++) lengths[s] = (uint8_t)get(4);
  first_codes(lengths, first, count);
  int n = 0;
  for (int bits = 1; bits <= MAX_BITS; bits++)
    for (int s = 0; s < SYMBOLS; s++)
      if (lengths[s] == bits) sorted[n++] = (uint16_t)s;
  for (size_t at = 0; at < BLOCK;) {
    uint32_t code = 0;
    int bits = 0, base = 0;
    for (;;) {
      code = code << 1 | get(1);
      bits++;
      demand(bits <= MAX_BITS, "compress: bad code");
      if (code - first[bits] < count[bits]) break;
      base += count[bits];
    }
    int symbol = sorted[base + (int)(code - first[bits])];
    if (symbol < 256) {
      back[at++] = (uint8_t)symbol;
      continue;
    }
    size_t distance = get(MAX_BITS);
    for (int i = symbol - 256 + SHORTEST; i > 0 && at < BLOCK; i--, at++) back[at] = back[at - distance];
  }
}

static uint32_t run_compress(void) {
  int in = open(plain_name, O_RDONLY), out = open(packed_name, O_CREAT | O_TRUNC | O_RDWR, 0600);
  demand(in >= 0 && out >= 0, "cannot open a file");
  uint32_t sum = 0;
  static uint32_t sizes[BLOCKS];
  for (int b = 0; b < BLOCKS; b++) {
    demand(read(in, block, BLOCK) == BLOCK, "short read");
    sizes[b] = (uint32_t)pack();
    demand(write(out, packed, sizes[b]) == (ssize_t)sizes[b], "short write");
    sum = sum * 31 + digest(packed, sizes[b]);
  }
  lseek(in, 0, SEEK_SET), lseek(out, 0, SEEK_SET);
  for (int b = 0; b < BLOCKS; b++) {
    demand(read(in, block, BLOCK) == BLOCK, "short read");
    demand(read(out, packed, sizes[b]) == (ssize_t)sizes[b], "short read");
    expand();
    demand(memcmp(block, back, BLOCK) == 0, "compress: not the same again");
    sum += sizes[b];
  }
  close(in), close(out);
  unlink(plain_name), unlink(packed_name);
  return sum;
}

const struct workload system_workloads[] = {
  {"getppid", "the system call getppid, 200 000 times", NULL, run_getppid},
  {"forkexec", "fork, exec of itself, exit, wait, 60 times", NULL, run_forkexec},
  {"pipe", "two processes and two pipes, 5000 round trips", NULL, run_pipe},
  {"compress", "a file of 768 KiB compressed and expanded", prepare_compress, run_compress},
  {NULL, NULL, NULL, NULL},
};
