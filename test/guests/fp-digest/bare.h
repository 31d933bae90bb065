/*
 * What a program needs without a C library: start, system calls, signals, decimal and hexadecimal output. Linux, i386 and x86-64.
 * The C code is compiled for general registers only, so that nothing but the instructions under test touches floating-point state.
 */
#ifndef BARE_H
#define BARE_H

#include <stddef.h>
#include <stdint.h>

typedef uint8_t u8;
typedef uint16_t u16;
typedef uint32_t u32;
typedef uint64_t u64;

#ifdef __x86_64__
#define SYS_WRITE 1
#define SYS_RT_SIGACTION 13
#define SYS_SCHED_YIELD 24
#define SYS_FORK 57
#define SYS_WAIT4 61
#define SYS_EXIT_GROUP 231

static long syscall4(long number, long a, long b, long c, long d) {
  long result;
  register long r10 __asm__("r10") = d;
  __asm__ volatile("syscall" : "=a"(result) : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10) : "rcx", "r11", "memory");
  return result;
}

__asm__(".globl _start\n_start: mov %rsp, %rdi\n and $-16, %rsp\n call start\n"
        ".globl restore_rt\nrestore_rt: mov $15, %eax\n syscall\n");

/* Offsets into what a signal handler is given. */
enum { SIGINFO_ADDRESS = 16, CONTEXT_IP = 168, CONTEXT_FPSTATE = 224, FPSTATE_FXSAVE = 0 };
#else
#define SYS_FORK 2
#define SYS_WRITE 4
#define SYS_WAIT4 114
#define SYS_SCHED_YIELD 158
#define SYS_RT_SIGACTION 174
#define SYS_EXIT_GROUP 252

static long syscall4(long number, long a, long b, long c, long d) {
  long result;
  __asm__ volatile("int $0x80" : "=a"(result) : "a"(number), "b"(a), "c"(b), "d"(c), "S"(d) : "memory");
  return result;
}

__asm__(".globl _start\n_start: mov %esp, %eax\n and $-16, %esp\n sub $12, %esp\n push %eax\n call start\n"
        ".globl restore_rt\nrestore_rt: mov $173, %eax\n int $0x80\n");

/* A 32-bit frame holds an FSAVE image of 112 bytes, then the FXSAVE image. */
enum { SIGINFO_ADDRESS = 12, CONTEXT_IP = 76, CONTEXT_FPSTATE = 96, FPSTATE_FXSAVE = 112 };
#endif

enum { SIGILL = 4, SIGFPE = 8, SIGSEGV = 11, SA_SIGINFO = 4, SA_NODEFER = 0x40000000, SA_RESTORER = 0x04000000 };

extern const char restore_rt[];

typedef void handler(int number, void *info, void *context);

static void on_signal(int number, handler *function) {
  struct {
    handler *function;
    unsigned long flags;
    const char *restorer;
    u32 mask[2];
  } action = {function, SA_SIGINFO | SA_RESTORER | SA_NODEFER, restore_rt, {0, 0}};
  syscall4(SYS_RT_SIGACTION, number, (long)&action, 0, 8);
}

static char output[4096];
static size_t output_used;

static void flush(void) {
  for (size_t done = 0; done < output_used;) {
    long n = syscall4(SYS_WRITE, 1, (long)(output + done), (long)(output_used - done), 0);
    if (n <= 0) break;
    done += (size_t)n;
  }
  output_used = 0;
}

static void put_char(char c) {
  if (output_used == sizeof output) flush();
  output[output_used++] = c;
}

static void put(const char *text) {
  while (*text) put_char(*text++);
}

static void put_hex(u64 value, int digits) {
  for (int n = digits - 1; n >= 0; n--) put_char("0123456789abcdef"[(value >> (4 * n)) & 15]);
}

static void put_decimal(u32 value) {
  char digits[10];
  int n = 0;
  do digits[n++] = (char)('0' + value % 10);
  while (value /= 10);
  while (n) put_char(digits[--n]);
}

static int equal(const char *a, const char *b) {
  while (*a && *a == *b) a++, b++;
  return *a == *b;
}

static u32 parse(const char *text) {
  u32 value = 0;
  while (*text >= '0' && *text <= '9') value = value * 10 + (u32)(*text++ - '0');
  return value;
}

static void quit(int status) {
  flush();
  for (;;) syscall4(SYS_EXIT_GROUP, status, 0, 0, 0);
}

/* GCC calls these for large copies. */
void *memcpy(void *to, const void *from, size_t size) {
  u8 *t = to;
  const u8 *f = from;
  while (size--) *t++ = *f++;
  return to;
}

void *memset(void *to, int value, size_t size) {
  u8 *t = to;
  while (size--) *t++ = (u8)value;
  return to;
}

#endif
