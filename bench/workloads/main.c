/*
 * Workloads to compare machines by. Usage: workloads [all | NAME[,NAME...]]; workloads --list; as process 1 it mounts what it needs, takes the names from
 * the environment variable `workloads` (a Linux command line of `workloads=crc32,sieve` sets it), and powers the machine off when it is through.
 *
 * Each workload runs in a process of its own. On standard output:
 *
 *     @B name                      about to begin; then, drained, the byte 2 at the moment of beginning
 *     @E name checksum nanoseconds ended; the byte 3 went before at the moment of ending, the time is CLOCK_MONOTONIC's
 *     @F name status               failed: the status that wait() gave
 *     @D                           all done
 *
 * A host that notes when the bytes 2 and 3 arrive need not trust the clock of its guest.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "workloads.h"

const char *self = "/proc/self/exe";

static const struct workload *const groups[] = {
  integer_workloads, float_workloads, code_workloads, system_workloads, memory_workloads,
};
#define GROUPS (sizeof groups / sizeof *groups)

void demand(int condition, const char *message) {
  if (condition) return;
  dprintf(2, "workloads: %s\n", message);
  _exit(2);
}

void *pages(size_t bytes) {
  void *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  demand(at != MAP_FAILED, "no memory");
  madvise(at, bytes, MADV_NOHUGEPAGE);
  memset(at, 0, bytes);
  return at;
}

static void say(const char *text) {
  size_t length = strlen(text);
  while (length > 0) {
    ssize_t n = write(1, text, length);
    demand(n > 0, "cannot write");
    text += n;
    length -= (size_t)n;
  }
}

static uint64_t now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void run(const struct workload *w) {
  char line[160];
  snprintf(line, sizeof line, "@B %s\n", w->name);
  say(line);
  if (w->prepare) w->prepare();
  tcdrain(1);
  say("\2");
  uint64_t start = now();
  uint32_t sum = w->run();
  uint64_t time = now() - start;
  say("\3");
  snprintf(line, sizeof line, "@E %s %08x %llu\n", w->name, (unsigned)sum, (unsigned long long)time);
  say(line);
  tcdrain(1);
}

static void run_apart(const struct workload *w) {
  pid_t child = fork();
  demand(child >= 0, "cannot fork");
  if (child == 0) {
    execl(self, "workloads", "--run", w->name, (char *)NULL);
    _exit(127);
  }
  int status = 0;
  waitpid(child, &status, 0);
  if (status == 0) return;
  char line[160];
  snprintf(line, sizeof line, "\n@F %s %d\n", w->name, status);
  say(line);
}

static const struct workload *find(const char *name, size_t length) {
  for (size_t g = 0; g < GROUPS; g++)
    for (const struct workload *w = groups[g]; w->name; w++)
      if (strlen(w->name) == length && memcmp(w->name, name, length) == 0) return w;
  return NULL;
}

static void run_named(const char *names) {
  if (strcmp(names, "all") == 0) {
    for (size_t g = 0; g < GROUPS; g++)
      for (const struct workload *w = groups[g]; w->name; w++) run_apart(w);
  } else {
    while (*names) {
      size_t length = strcspn(names, ",");
      const struct workload *w = find(names, length);
      if (w) {
        run_apart(w);
      } else {
        char line[160];
        snprintf(line, sizeof line, "@F %.*s unknown\n", (int)(length > 40 ? 40 : length), names);
        say(line);
      }
      names += length + (names[length] == ',');
    }
  }
  say("@D\n");
  tcdrain(1);
}

static void as_first_process(void) {
  mkdir("/proc", 0755);
  mkdir("/dev", 0755);
  mkdir("/tmp", 01777);
  mount("proc", "/proc", "proc", 0, NULL);
  mount("devtmpfs", "/dev", "devtmpfs", 0, NULL);
  mount("tmpfs", "/tmp", "tmpfs", 0, NULL);
  setenv("TMPDIR", "/tmp", 1);
  const char *names = getenv("workloads");
  run_named(names ? names : "all");
  sync();
  reboot(RB_POWER_OFF);
  for (;;) pause();
}

int main(int argc, char **argv) {
  if (argc > 1 && strcmp(argv[1], EXIT_AT_ONCE) == 0) _exit(7);
  if (getpid() == 1) as_first_process();
  if (argc > 1 && strcmp(argv[1], "--list") == 0) {
    for (size_t g = 0; g < GROUPS; g++)
      for (const struct workload *w = groups[g]; w->name; w++) printf("%s\t%s\n", w->name, w->what);
    return 0;
  }
  if (argc > 2 && strcmp(argv[1], "--run") == 0) {
    const struct workload *w = find(argv[2], strlen(argv[2]));
    demand(w != NULL, "no such workload");
    run(w);
    return 0;
  }
  run_named(argc > 1 ? argv[1] : "all");
  return 0;
}
