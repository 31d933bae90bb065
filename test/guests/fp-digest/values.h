/*
 * Operands: the edges of every format, and a generator for what lies between.
 */
#ifndef VALUES_H
#define VALUES_H

#include "bare.h"

#define COUNT(table) (sizeof(table) / sizeof(*(table)))

/* binary32: zeros, denormals, the least normal numbers, around 1, halves and integers, limits of integers, the greatest, infinities, NaNs. */
static const u32 F32[] = {
  0x00000000, 0x80000000, 0x00000001, 0x80000001, 0x007fffff, 0x00400000, 0x00800000, 0x80800000, 0x00800001, 0x3f800000,
  0xbf800000, 0x3f800001, 0x3f7fffff, 0x3fc00000, 0x40490fdb, 0x3eaaaaab, 0x33800000, 0x34000000, 0x4b000000, 0x4b7fffff,
  0x4b800001, 0x4effffff, 0x4f000000, 0xcf000000, 0x5f000000, 0x7f7fffff, 0xff7fffff, 0x7f000000, 0x7f800000, 0xff800000,
  0x7f800001, 0xffbfffff, 0x7fc00000, 0xffc12345, 0x3f000000, 0x40200000, 0xc0600000, 0x0c000000, 0x20000000, 0x5f7fffff,
};

static const u64 F64[] = {
  0x0000000000000000, 0x8000000000000000, 0x0000000000000001, 0x8000000000000001, 0x000fffffffffffff, 0x0008000000000000,
  0x0010000000000000, 0x8010000000000000, 0x0010000000000001, 0x3ff0000000000000, 0xbff0000000000000, 0x3ff0000000000001,
  0x3fefffffffffffff, 0x3ff8000000000000, 0x400921fb54442d18, 0x3fd5555555555555, 0x3ca0000000000000, 0x3cb0000000000000,
  0x4330000000000000, 0x433fffffffffffff, 0x41dfffffffffffff, 0x41dfffffffc00000, 0x41e0000000000000, 0xc1e0000000200000,
  0x43e0000000000000, 0xc3e0000000000000, 0x43dfffffffffffff, 0x7fefffffffffffff, 0xffefffffffffffff, 0x7ff0000000000000,
  0xfff0000000000000, 0x7ff0000000000001, 0xfff7ffffffffffff, 0x7ff8000000000000, 0xfff8123456789abc, 0x3fe0000000000000,
  0x4004000000000000, 0xc00c000000000000, 0x47efffffe0000000, 0x47efffffefffffff, 0x3810000000000000, 0x380fffffffffffff,
  0x36a0000000000000, 0x3690000000000000, 0x2010000000000000, 0x3ff0000010000000,
};

typedef struct {
  u64 significand;
  u16 sign_exponent;
} __attribute__((packed)) extended;

/* Extended precision: as above, and the encodings that only this format has. */
static const extended F80[] = {
  {0, 0}, {0, 0x8000},
  /* denormal, pseudo-denormal, least normal */
  {1, 0}, {0x7fffffffffffffff, 0x8000}, {0x4000000000000000, 0}, {0x8000000000000000, 0}, {0x8000000000000001, 0x8000},
  {0x8000000000000000, 1}, {0xc000000000000001, 0x8001}, {0x8000000000000000, 0x0040},
  /* around 1, halves, ties of each precision */
  {0x8000000000000000, 0x3fff}, {0x8000000000000000, 0xbfff}, {0x8000000000000001, 0x3fff}, {0xffffffffffffffff, 0x3ffe},
  {0xc000000000000000, 0x3fff}, {0x8000000000000000, 0x3ffe}, {0xa000000000000000, 0x4000}, {0xe000000000000000, 0xc000},
  {0x8000000000000400, 0x3fff}, {0x8000000000000c00, 0x3fff}, {0x8000008000000000, 0x3fff}, {0x8000018000000000, 0xbfff},
  {0xfffffffffffffc00, 0x3fff}, {0xffffff8000000000, 0x3fff}, {0xc90fdaa22168c235, 0x4000}, {0xaaaaaaaaaaaaaaab, 0x3ffd},
  {0x8000000000000000, 0x3fc0}, {0x8000000000000000, 0x3fbf},
  /* limits of 16-, 32-, 64-bit integers and of packed decimals */
  {0xfffe000000000000, 0x400d}, {0xffff000000000000, 0x400d}, {0x8000000000000000, 0xc00e}, {0x8000800000000000, 0xc00e},
  {0xfffffffeffffffff, 0x401d}, {0x8000000000000000, 0xc01e}, {0xffffffffffffffff, 0x403d}, {0x8000000000000000, 0x403e},
  {0x8000000000000000, 0xc03e}, {0xde0b6b3a763ffff0, 0x403a}, {0xde0b6b3a763ffff8, 0xc03a}, {0xde0b6b3a76400000, 0x403a},
  /* limits of binary32 and binary64 */
  {0x8000000000000000, 0x3f81}, {0xfffffffffffffffe, 0x3f80}, {0x8000000000000000, 0x3f6a}, {0x8000000000000001, 0x3f69},
  {0xffffff0000000000, 0x407e}, {0xffffff8000000000, 0xc07e}, {0x8000000000000000, 0x3c01}, {0xfffffffffffffbff, 0x3c00},
  {0x8000000000000000, 0xbbcd}, {0x8000000000000000, 0x3bcc}, {0xfffffffffffff800, 0x43fe}, {0xfffffffffffffc00, 0x43fe},
  /* greatest, infinities, NaNs */
  {0xffffffffffffffff, 0x7ffe}, {0x8000000000000000, 0xfffe}, {0x8000000000000000, 0x5fff}, {0x8000000000000000, 0x1fff},
  {0x8000000000000000, 0x7fff}, {0x8000000000000000, 0xffff}, {0x8000000000000001, 0x7fff}, {0xbfffffffffffffff, 0xffff},
  {0xc000000000000000, 0xffff}, {0xc000000000012345, 0x7fff},
  /* what the processor does not support: unnormal, unnormal zero, pseudo-infinity, pseudo-NaN */
  {0x4000000000000000, 0x3fff}, {0, 0x4000}, {0, 0x7fff}, {0x4000000000000001, 0xffff},
};

static const u64 INTEGERS[] = {
  0, 1, 2, 3, 5, 0x7f, 0x80, 0xff, 0x100, 0x7fff, 0x8000, 0xffff, 0x10000, 0xfffffe, 0xffffff, 0x1000001, 0x2000003,
  0x7fffffbf, 0x7fffffc0, 0x7fffffff, 0x80000000, 0xffffff80, 0xffffffff, 0x100000000, 0x3fffffffffffff, 0x20000000000001,
  0x20000000000003, 0x7ffffffffffffc00, 0x7ffffffffffffe00, 0x7fffffffffffffff, 0x8000000000000000, 0x8000000000000401,
  0xffffffffffffffff, 0xffffffffffffff01, 0xffffffff80000000, 0xffffffff7fffffff, 0x123456789abcdef0,
};

/* Vectors for integer operations: every size of element at its edges. */
static const u64 VECTORS[][2] = {
  {0, 0}, {~0ull, ~0ull}, {0x8000000000000000, 0x7fffffffffffffff}, {0x8080808080808080, 0x7f7f7f7f7f7f7f7f},
  {0x8000800080008000, 0x7fff7fff7fff7fff}, {0x8000000080000000, 0x7fffffff7fffffff}, {0x0001000100010001, 0x0100010001000100},
  {0x0001020304050607, 0x08090a0b0c0d0e0f}, {0x7f80ff0001fe8180, 0x00ff00ff017f8001}, {0x7fff8000ffff0001, 0x8001fffe7ffe0002},
  {0x7fffffff80000000, 0xffffffff00000001}, {0x0000000000000007, 0x000000000000000f}, {0x0000000000000010, 0},
  {0x000000000000001f, 0}, {0x000000000000003f, 0x20}, {0x0000000000000040, 0}, {0x0000000100000000, 0},
  {0x8000000000000001, 0x8000000000000001}, {0xff00ff00ff00ff00, 0x00ff00ff00ff00ff}, {0x0f8e0d8c0b8a0988, 0x0786050403828100},
};

/* Strings: with ends, ranges, repetitions, partial matches. */
static const char STRINGS[][17] = {
  "", "a", "ab\0cdefghijklmno", "abcdefghijklmnop", "bcabcabcabcabcab", "azAZ09", "az", "AZaz\0", "aaaaaaaaaaaaaaaa",
  "needle in a hays", "needle", "le in", "\x80\xff\x7f\x01\x80\xff\x7f\x01", "\xff\xff\xff\xff\xff\xff\xff\xff",
  "\x01\0\x02\0\x03\0\0\0\x05\0\x06\0", "\x01\0\x03\0", "zzzzzzzzzzzzzzzn", "dle",
};

static u64 random_state;

static u64 random64(void) {
  random_state ^= random_state << 13;
  random_state ^= random_state >> 7;
  random_state ^= random_state << 17;
  return random_state;
}

#endif
