/*
 * Runs every x87, MMX and SSE to SSE4.2 instruction (and AES, PCLMULQDQ, CRC32, POPCNT) over the edges of its operands, in every rounding mode, and
 * prints a digest of results and status flags per instruction. What a real processor prints is what a virtual one must print.
 *
 *     fp-digest                    everything
 *     fp-digest -b NAME            the digest of every 64th case of one instruction
 *     fp-digest -t NAME FROM TO    those cases with operands and results
 *
 * The lines lie between `begin` and `done`. Those that begin with `~` hold results that may differ by a unit in the last place, or are approximations:
 * the reader has to judge them. Lines that begin with `cpuid` say what CPUID reports, in Linux's spelling.
 */
#include "bare.h"
#include "values.h"

#ifdef __x86_64__
#define SI "%rsi"
#define DI "%rdi"
#else
#define SI "%esi"
#define DI "%edi"
#endif

/* --- digests ------------------------------------------------------------------------------------------------------------------------------ */

static u64 digest, total;
static u32 cases, lines;
static const char *wanted;
/* Put before the names of lines. */
static const char *section = "";
static u32 trace_from, trace_to;
static int blocks;

static void mix(u32 word) {
  digest = (digest ^ word) * 0x9e3779b97f4a7c15;
  digest ^= digest >> 32;
}

static void mix64(u64 value) {
  mix((u32)value);
  mix((u32)(value >> 32));
}

static void mix_bytes(const u8 *bytes, u32 count) {
  for (u32 n = 0; n < count; n += 4) mix(bytes[n] | bytes[n + 1] << 8 | bytes[n + 2] << 16 | (u32)bytes[n + 3] << 24);
}

/* Whether the line called `name` is to be made at all. */
static int begin(const char *name) {
  digest = 0xcbf29ce484222325;
  cases = 0;
  return !wanted || equal(wanted, name);
}

static int traced(void) {
  return trace_to && cases >= trace_from && cases < trace_to;
}

static void end_case(void) {
  cases++;
  if (blocks && cases % 64 == 0) {
    put_decimal(cases);
    put_char(' ');
    put_hex(digest, 16);
    put_char('\n');
  }
}

static void end(const char *name) {
  put(section);
  for (const char *c = name; *c; c++) put_char(*c == ' ' ? '/' : *c);
  put_char(' ');
  put_hex(digest, 16);
  put_char('\n');
  total = (total ^ digest) * 0x9e3779b97f4a7c15;
  lines++;
}

static void put_bytes(const char *name, const void *bytes, int count) {
  put(name);
  for (int n = count - 1; n >= 0; n--) put_hex(((const u8 *)bytes)[n], 2);
}

/* --- MMX and SSE -------------------------------------------------------------------------------------------------------------------------- */

/* What one instruction starts with and leaves behind. The assembly below knows the offsets. */
struct vector_state {
  u64 xmm[3][2]; /* 0 */
  u64 mm[2];     /* 48 */
  u64 ax;        /* 64 */
  u64 dx;        /* 72 */
  u64 cx;        /* 80 */
  u32 flags;     /* 88 */
  u32 mxcsr;     /* 92 */
} v __attribute__((aligned(16)));

/* What si points at. */
u64 memory[8] __attribute__((aligned(64)));
u32 default_mxcsr = 0x1f80;

typedef void run_function(const char *code);
void run_xmm(const char *code);
void run_mmx(const char *code);

#ifdef __x86_64__
#define SAVE "push %rbx\n push %rbp\n mov %rdi, %rbx\n"
#define RESTORE "pop %rbp\n pop %rbx\n ret\n"
#define CALL "call *%rbx\n"
#define LOAD_GENERAL "mov v+64, %rax\n mov v+72, %rdx\n mov v+80, %rcx\n lea memory+0, %rsi\n mov $memory, %rdi\n"
#define STORE_GENERAL "mov %rax, v+64\n mov %rcx, v+80\n pushf\n pop %rax\n mov %eax, v+88\n"
#else
#define SAVE "push %ebx\n push %esi\n push %edi\n push %ebp\n mov 20(%esp), %ebx\n"
#define RESTORE "pop %ebp\n pop %edi\n pop %esi\n pop %ebx\n ret\n"
#define CALL "call *%ebx\n"
#define LOAD_GENERAL "mov v+64, %eax\n mov v+72, %edx\n mov v+80, %ecx\n lea memory, %esi\n mov $memory, %edi\n"
#define STORE_GENERAL "mov %eax, v+64\n mov %ecx, v+80\n pushf\n pop %eax\n mov %eax, v+88\n"
#endif

__asm__("run_xmm: " SAVE
        "ldmxcsr v+92\n movaps v, %xmm0\n movaps v+16, %xmm1\n movaps v+32, %xmm2\n" LOAD_GENERAL CALL STORE_GENERAL
        "stmxcsr v+92\n ldmxcsr default_mxcsr\n movaps %xmm0, v\n" RESTORE
        "run_mmx: " SAVE
        "ldmxcsr v+92\n movaps v, %xmm0\n movaps v+16, %xmm1\n movaps v+32, %xmm2\n movq v+48, %mm0\n movq v+56, %mm1\n"
        LOAD_GENERAL CALL STORE_GENERAL
        "stmxcsr v+92\n ldmxcsr default_mxcsr\n movaps %xmm0, v\n movq %mm0, v+48\n emms\n" RESTORE);

/* Which operands an instruction gets. */
enum kind { K_F32, K_F64, K_U32, K_U64, K_CONVERT, K_INTEGER, K_STRING };

/* What is defined afterwards. */
enum { O_XMM = 1, O_MMX = 2, O_AX = 4, O_CX = 8, O_FLAGS = 16, O_MXCSR = 32, O_MEMORY = 64 };

/* CF PF AF ZF SF OF, all of which these instructions define. */
#define ARITHMETIC_FLAGS 0x8d5

#define OP(symbol, name, registers, operand, kind, results) \
  __asm__(".pushsection .text\n.balign 64\nv_" #symbol ": " registers "\n ret\n .org v_" #symbol "+32, 0x90\n " operand \
          "\n ret\n.popsection\n");
#define OPI(symbol, name, registers, operand, kind, results, count) \
  __asm__(".pushsection .text\n.balign 64\nv_" #symbol ": .set i, 0\n .rept " #count "\n 1: " registers \
          "\n ret\n .org 1b+8, 0x90\n " operand "\n ret\n .org 1b+16, 0x90\n .set i, i+1\n .endr\n.popsection\n");
#include "simd-ops.h"
#undef OP
#undef OPI

#define OP(symbol, name, registers, memory, kind, results) extern const char v_##symbol[];
#define OPI(symbol, name, registers, memory, kind, results, count) extern const char v_##symbol[];
#include "simd-ops.h"
#undef OP
#undef OPI

static const struct vector_op {
  const char *name;
  const char *code;
  u16 kind;
  u16 results;
  u16 immediates;
} vector_ops[] = {
#define OP(symbol, name, registers, memory, kind, results) {name, v_##symbol, kind, results, 0},
#define OPI(symbol, name, registers, memory, kind, results, count) {name, v_##symbol, kind, results, count},
#include "simd-ops.h"
#undef OP
#undef OPI
};

/* Rounding control × flush-to-zero × denormals-are-zeros. */
static u32 mxcsr_of(u32 mode) {
  return 0x1f80 | (mode & 3) << 13 | (mode & 4 ? 0x8000 : 0) | (mode & 8 ? 0x40 : 0);
}

static u32 pairs(u32 kind) {
  switch (kind) {
    case K_F32: return COUNT(F32) * COUNT(F32);
    case K_F64: return COUNT(F64) * COUNT(F64);
    case K_U32: return COUNT(F32);
    case K_U64: return COUNT(F64);
    case K_CONVERT: return COUNT(INTEGERS);
    case K_INTEGER: return COUNT(VECTORS) * COUNT(VECTORS) + 100;
    default: return COUNT(STRINGS) * COUNT(STRINGS);
  }
}

static u64 two32(u32 low, u32 high) {
  return F32[low % COUNT(F32)] | (u64)F32[high % COUNT(F32)] << 32;
}

/* Operands of case `n`: the lowest element takes all pairs, the others follow at a distance. */
static void vector_operands(u32 kind, u32 n) {
  u64(*x)[2] = v.xmm;
  switch (kind) {
    case K_F32: {
      u32 i = n / COUNT(F32), j = n % COUNT(F32);
      x[0][0] = two32(i, i + 7), x[0][1] = two32(j + 11, i + 23);
      x[1][0] = two32(j, j + 3), x[1][1] = two32(i + 19, j + 29);
      break;
    }
    case K_F64: {
      u32 i = n / COUNT(F64), j = n % COUNT(F64);
      x[0][0] = F64[i], x[0][1] = F64[(j + 11) % COUNT(F64)];
      x[1][0] = F64[j], x[1][1] = F64[(i + 19) % COUNT(F64)];
      break;
    }
    case K_U32:
      x[0][0] = 0x1122334455667788, x[0][1] = 0x99aabbccddeeff00;
      x[1][0] = two32(n, n + 7), x[1][1] = two32(n + 11, n + 23);
      break;
    case K_U64:
      x[0][0] = 0x1122334455667788, x[0][1] = 0x99aabbccddeeff00;
      x[1][0] = F64[n], x[1][1] = F64[(n + 19) % COUNT(F64)];
      break;
    case K_CONVERT:
      x[0][0] = 0x1122334455667788, x[0][1] = 0x99aabbccddeeff00;
      x[1][0] = INTEGERS[n], x[1][1] = INTEGERS[(n + 19) % COUNT(INTEGERS)];
      break;
    case K_INTEGER:
      if (n < COUNT(VECTORS) * COUNT(VECTORS)) {
        u32 i = n / COUNT(VECTORS), j = n % COUNT(VECTORS);
        x[0][0] = VECTORS[i][0], x[0][1] = VECTORS[i][1];
        x[1][0] = VECTORS[j][0], x[1][1] = VECTORS[j][1];
      } else {
        random_state = 0x9e3779b97f4a7c15 * (n + 1);
        for (int k = 0; k < 4; k++) x[k >> 1][k & 1] = random64() ^ random64() << 29;
      }
      break;
    default: {
      const u64 *a = (const u64 *)STRINGS[n / COUNT(STRINGS)], *b = (const u64 *)STRINGS[n % COUNT(STRINGS)];
      __builtin_memcpy(x[0], a, 16);
      __builtin_memcpy(x[1], b, 16);
      /* Lengths of the explicit forms: within, at and beyond what a register holds, negative. */
      v.ax = (u64)(int64_t)((int)(n * 5 % 37) - 18);
      v.dx = (u64)(int64_t)((int)(n * 7 % 41) - 20);
      v.cx = n;
      break;
    }
  }
  x[2][0] = x[0][1] ^ x[1][0];
  x[2][1] = x[1][1] + x[0][0];
  if (kind != K_STRING) {
    v.ax = x[1][0];
    v.dx = x[0][1] ^ x[1][0] >> 7;
    v.cx = 0;
  }
  v.mm[0] = x[0][n & 1];
  v.mm[1] = x[1][0];
  memory[0] = x[1][0], memory[1] = x[1][1];
  for (int k = 2; k < 8; k++) memory[k] = 0x0101010101010101 * (u32)k;
}

static void vector_case(const struct vector_op *op, u32 immediate, u32 mode, u32 n, int with_memory) {
  vector_operands(op->kind, n);
  v.mxcsr = mxcsr_of(mode);
  const char *code = op->immediates ? op->code + immediate * 16 + (with_memory ? 8 : 0) : op->code + (with_memory ? 32 : 0);
  int trace = traced();
  if (trace) {
    put_decimal(cases);
    put(with_memory ? " mem" : " reg");
    put_bytes(" imm=", &immediate, 1);
    put_bytes(" mxcsr=", &v.mxcsr, 4);
    put_bytes(" x0=", v.xmm[0], 16);
    put_bytes(" x1=", v.xmm[1], 16);
    put_bytes(" x2=", v.xmm[2], 16);
    put_bytes(" mm0=", &v.mm[0], 8);
    put_bytes(" mm1=", &v.mm[1], 8);
    put_bytes(" ax=", &v.ax, 8);
    put_bytes(" dx=", &v.dx, 8);
  }
  /* Those of memory-only forms that leave the x87 alone stay outside MMX state as well. */
  (op->results & O_MMX ? run_mmx : run_xmm)(code);
#ifndef __x86_64__
  v.ax = (u32)v.ax, v.cx = (u32)v.cx;
#endif
  if (op->results & O_XMM) mix64(v.xmm[0][0]), mix64(v.xmm[0][1]);
  if (op->results & O_MMX) mix64(v.mm[0]);
  if (op->results & O_AX) mix64(v.ax);
  if (op->results & O_CX) mix64(v.cx);
  if (op->results & O_FLAGS) mix(v.flags & ARITHMETIC_FLAGS);
  if (op->results & O_MXCSR) mix(v.mxcsr);
  if (op->results & O_MEMORY)
    for (int k = 0; k < 8; k++) mix64(memory[k]);
  if (trace) {
    put(" ->");
    if (op->results & O_XMM) put_bytes(" x0=", v.xmm[0], 16);
    if (op->results & O_MMX) put_bytes(" mm0=", &v.mm[0], 8);
    if (op->results & O_AX) put_bytes(" ax=", &v.ax, 8);
    if (op->results & O_CX) put_bytes(" cx=", &v.cx, 8);
    if (op->results & O_FLAGS) put(" flags="), put_hex(v.flags & ARITHMETIC_FLAGS, 3);
    if (op->results & O_MXCSR) put_bytes(" mxcsr=", &v.mxcsr, 4);
    if (op->results & O_MEMORY) put_bytes(" memory=", memory, 16);
    put_char('\n');
  }
  end_case();
}

static void vector_op(const struct vector_op *op) {
  if (!begin(op->name)) return;
  u32 modes = op->results & O_MXCSR ? 16 : 1;
  u32 immediates = op->immediates ? op->immediates : 1;
  u32 all = pairs(op->kind);
  /* Each pair in some modes, and in all modes for unary operations; with many immediates a few pairs for each. Odd steps, as the form changes with `n`. */
  u32 step = modes == 16 && (op->kind == K_F32 || op->kind == K_F64) ? 7 : op->kind == K_INTEGER ? 3 : 1;
  if (immediates > 16) step = op->kind == K_STRING ? 13 : modes == 16 ? all / 4 - 1 : all / 6;
  else if (immediates > 8) step = 3;
  else if (immediates > 1) step = 29;
  for (u32 immediate = 0; immediate < immediates; immediate++)
    for (u32 mode = 0; mode < modes; mode++) {
      u32 first = step == 1 ? 0 : (mode + (mode >> 2) + immediate * 7) % step;
      for (u32 n = first; n < all; n += step) vector_case(op, immediate, mode, n, (n + immediate + mode) & 1);
    }
  end(op->name);
}

/* --- x87 ---------------------------------------------------------------------------------------------------------------------------------- */

struct x87_state {
  extended a;    /* 0: ST(0) */
  u8 pad_a[6];
  extended b;    /* 16: ST(1) */
  u8 pad_b[6];
  extended r0;   /* 32 */
  u8 pad_r0[6];
  extended r1;   /* 48 */
  u8 pad_r1[6];
  u16 control;   /* 64 */
  u16 status;    /* 66 */
  u32 flags;     /* 68 */
} f __attribute__((aligned(16)));

u16 default_control = 0x37f;

void run_x87(const char *code);
void run_x87_one(const char *code);
void run_x87_signals(const char *code);

#ifdef __x86_64__
#define SET_FLAGS "mov f+68, %eax\n push %rax\n popf\n"
#define GET_FLAGS "pushf\n pop %rax\n mov %eax, f+68\n"
#define POINT "mov $memory, %rsi\n"
#else
#define SET_FLAGS "mov f+68, %eax\n push %eax\n popf\n"
#define GET_FLAGS "pushf\n pop %eax\n mov %eax, f+68\n"
#define POINT "mov $memory, %esi\n"
#endif
#define X87_RESULTS GET_FLAGS "fnstsw f+66\n fnclex\n fldcw default_control\n fstpt f+32\n fstpt f+48\n fninit\n"

__asm__("run_x87: " SAVE "fninit\n fldcw f+64\n fldt f+16\n fldt f\n" POINT SET_FLAGS CALL X87_RESULTS RESTORE
        "run_x87_one: " SAVE "fninit\n fldcw f+64\n fldt f\n" POINT SET_FLAGS CALL X87_RESULTS RESTORE);

enum x87_kind { P_PAIR, P_FEW, P_M32, P_M64, P_M80, P_MI, P_DECIMAL, P_ONE, P_REMAINDER, P_COMPARE, P_CONTROL, P_FLAGS, P_UNMASKED };

#define OP87(symbol, name, text, kind, status) \
  __asm__(".pushsection .text\n.balign 16\nf_" #symbol ": " text "\n ret\n.popsection\n");
#include "x87-ops.h"
#undef OP87
#define OP87(symbol, name, text, kind, status) extern const char f_##symbol[];
#include "x87-ops.h"
#undef OP87

static const struct x87_op {
  const char *name;
  const char *code;
  u16 kind;
  u16 status;
} x87_ops[] = {
#define OP87(symbol, name, text, kind, status) {name, f_##symbol, kind, status},
#include "x87-ops.h"
#undef OP87
};

/* Precisions × rounding, masked; then 64 bits × rounding with nothing masked. */
static u16 control_of(u32 mode) {
  static const u16 precision[] = {0x300, 0x200, 0x000};
  return mode < 12 ? (u16)(0x3f | precision[mode / 4] | (mode & 3) << 10) : (u16)(0x300 | (mode & 3) << 10);
}

/* An operand that is no edge. */
static void random_extended(extended *to, u32 seed, int spread) {
  random_state = 0x9e3779b97f4a7c15 * (seed + 1);
  random64();
  u64 bits = random64();
  to->significand = bits | 1ull << 63;
  if (bits & 4) to->significand &= ~0x7ffull;
  to->sign_exponent = (u16)(0x3fff + (int)(bits >> 13) % spread) ^ (u16)(bits << 15);
}

static void x87_pair(u32 n) {
  u32 edges = COUNT(F80) * COUNT(F80);
  if (n < edges) {
    f.a = F80[n / COUNT(F80)];
    f.b = F80[n % COUNT(F80)];
  } else {
    random_extended(&f.a, n, 70);
    random_extended(&f.b, n + 1000, 70);
  }
}

static u32 x87_count(u32 kind) {
  switch (kind) {
    case P_PAIR:
    case P_COMPARE:
    case P_REMAINDER: return COUNT(F80) * COUNT(F80) + 200;
    case P_FEW: return 200;
    case P_M32: return COUNT(F32) * 8;
    case P_M64: return COUNT(F64) * 8;
    case P_M80: return COUNT(F80);
    case P_MI: return COUNT(INTEGERS) * 8;
    case P_DECIMAL: return 64;
    case P_ONE: return COUNT(F80) + 160;
    case P_CONTROL: return 1;
    case P_FLAGS: return 64;
    default: return 12;
  }
}

static void x87_operands(u32 kind, u32 n) {
  memory[0] = 0x5555555555555555, memory[1] = 0x6666666666666666;
  f.flags = 0x202;
  switch (kind) {
    case P_PAIR:
    case P_COMPARE:
    case P_REMAINDER: x87_pair(n); break;
    case P_FEW: x87_pair(n * 23); break;
    case P_M32:
    case P_M64:
    case P_MI: {
      u32 count = kind == P_M32 ? COUNT(F32) : kind == P_M64 ? COUNT(F64) : COUNT(INTEGERS);
      memory[0] = kind == P_M32 ? F32[n % count] : kind == P_M64 ? F64[n % count] : INTEGERS[n % count];
      f.a = F80[(n / count * 11 + n % count * 3) % COUNT(F80)];
      f.b = F80[10];
      break;
    }
    case P_M80:
      f.a = F80[10], f.b = F80[10];
      __builtin_memcpy(memory, &F80[n], 10);
      break;
    case P_DECIMAL:
      f.a = F80[10], f.b = F80[10];
      random_state = 0x9e3779b97f4a7c15 * (n + 1);
      memory[0] = 0, memory[1] = 0;
      for (u32 digit = 0; digit < 18 - n % 19; digit++)
        ((u8 *)memory)[digit / 2] |= (u8)(n < 2 ? 9 : random64() % 10) << (digit & 1) * 4;
      ((u8 *)memory)[9] = (u8)(n << 7);
      break;
    case P_ONE:
    case P_UNMASKED:
      if (kind == P_ONE && n >= COUNT(F80)) random_extended(&f.a, n, n & 1 ? 70 : 1100);
      else f.a = F80[kind == P_ONE ? n : n * 5];
      f.b = F80[14];
      break;
    default:
      f.a = F80[14], f.b = F80[25];
      f.flags = 0x202 | (n & 1) | (n & 2 ? 4 : 0) | (n & 4 ? 0x40 : 0) | (n & 8 ? 0x10 : 0) | (n & 16 ? 0x80 : 0) | (n & 32 ? 0x800 : 0);
      break;
  }
}

static void x87_case(const struct x87_op *op, u32 mode, u32 n) {
  x87_operands(op->kind, n);
  f.control = control_of(mode);
  int trace = traced();
  if (trace) {
    put_decimal(cases);
    put_bytes(" control=", &f.control, 2);
    put_bytes(" st0=", &f.a, 10);
    put_bytes(" st1=", &f.b, 10);
    put_bytes(" memory=", memory, 10);
    put(" flags="), put_hex(f.flags & ARITHMETIC_FLAGS, 3);
  }
  (op->kind == P_M80 || op->kind == P_DECIMAL ? run_x87_one : run_x87)(op->code);
  mix64(f.r0.significand);
  mix64(f.r1.significand);
  mix(f.r0.sign_exponent | (u32)f.r1.sign_exponent << 16);
  mix(f.status & op->status);
  if (op->kind == P_COMPARE) mix(f.flags & ARITHMETIC_FLAGS);
  if (op->kind == P_ONE || op->kind == P_UNMASKED) mix64(memory[0]), mix64(memory[1]);
  if (trace) {
    put(" ->");
    put_bytes(" r0=", &f.r0, 10);
    put_bytes(" r1=", &f.r1, 10);
    put(" status="), put_hex(f.status & op->status, 4);
    put_bytes(" memory=", memory, 10);
    put(" flags="), put_hex(f.flags & ARITHMETIC_FLAGS, 3);
    put_char('\n');
  }
  end_case();
}

static void x87_op(const struct x87_op *op) {
  if (!begin(op->name)) return;
  u32 kind = op->kind;
  u32 count = x87_count(kind);
  u32 first = 0, last = 16;
  if (kind == P_REMAINDER || kind == P_FLAGS) last = 1;
  if (kind == P_COMPARE) last = 1;
  for (u32 mode = first; mode < last; mode++) {
    /* Each pair of edges in a fifth of the modes. */
    u32 step = kind == P_PAIR ? 5 : kind == P_REMAINDER ? 3 : 1;
    for (u32 n = step == 1 ? 0 : (mode + mode / 4) % step; n < count; n += step) x87_case(op, mode, n);
  }
  if (kind == P_COMPARE)
    for (u32 n = 0; n < count; n += 3) x87_case(op, 12, n);
  end(op->name);
}

#include "system.h"

void start(long *stack);

void start(long *stack) {
  char **arguments = (char **)(stack + 1);
  if (stack[0] > 2) {
    wanted = arguments[2];
    blocks = equal(arguments[1], "-b");
    if (stack[0] > 4) trace_from = parse(arguments[3]), trace_to = parse(arguments[4]);
  }
  if (!wanted) put("begin\n");
  for (u32 n = 0; n < COUNT(x87_ops); n++) x87_op(&x87_ops[n]);
  for (u32 n = 0; n < COUNT(vector_ops); n++) vector_op(&vector_ops[n]);
  images();
  signals();
  switches();
  if (!wanted) {
    put("total ");
    put_decimal(lines);
    put_char(' ');
    put_hex(total, 16);
    put_char('\n');
    approximations();
    cpuid_names();
    put("done\n");
  }
  quit(0);
}
