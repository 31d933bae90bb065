/* Workloads whose code matters more than their data: strings, indirect calls, an interpreter, a compressor. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "workloads.h"

/* string */

#define TEXT_BYTES 65536
static char *text, *copy;

static void prepare_string(void) {
  text = pages(TEXT_BYTES);
  copy = pages(TEXT_BYTES);
  uint32_t seed = 8;
  size_t at = 0;
  while (at < TEXT_BYTES - 32) {
    size_t length = 2 + (next(&seed) >> 29);
    for (size_t i = 0; i < length; i++) text[at++] = (char)('a' + (next(&seed) >> 24) % 26);
    text[at++] = next(&seed) >> 30 ? ' ' : '\n';
  }
  text[at] = 0;
}

static uint32_t run_string(void) {
  uint32_t sum = 0;
  char line[128];
  for (int round = 0; round < 8; round++) {
    size_t length = strlen(text);
    memcpy(copy, text, length + 1);
    sum += (uint32_t)length + (uint32_t)memcmp(copy, text, length);
    char *rest = NULL;
    uint32_t words = 0;
    for (char *word = strtok_r(copy, " \n", &rest); word; word = strtok_r(NULL, " \n", &rest)) {
      size_t n = strlen(word);
      if (strchr(word, 'q')) sum += 3;
      if (strstr(word, "ab")) sum += 5;
      if (strcmp(word, "mmmm") > 0) sum ^= 1u << (n & 31);
      if (++words % 4 == 0) {
        int made = snprintf(line, sizeof line, "%s:%u:%08x:%-10s|%d", word, words, sum, word, round - 4);
        sum = sum * 31 + digest(line, (size_t)made) + (uint32_t)strtoul(line + n + 1, NULL, 10);
      }
    }
    sum = sum * 31 + words;
    for (char *at = text; (at = strchr(at, '\n')); at++) sum += (uint32_t)(at - text);
  }
  return sum;
}

/* calls */

struct shape;
struct shape_class {
  uint32_t (*area)(const struct shape *);
  void (*grow)(struct shape *, uint32_t);
  uint32_t (*corners)(const struct shape *);
};
struct shape {
  const struct shape_class *class;
  uint32_t a, b, c;
};

static uint32_t square_area(const struct shape *s) { return s->a * s->a; }
static uint32_t box_area(const struct shape *s) { return s->a * s->b; }
static uint32_t triangle_area(const struct shape *s) { return s->a * s->b / 2; }
static uint32_t ring_area(const struct shape *s) { return 3 * (s->a * s->a - s->b * s->b); }
static uint32_t cube_area(const struct shape *s) { return 2 * (s->a * s->b + s->b * s->c + s->c * s->a); }
static void grow_one(struct shape *s, uint32_t by) { s->a = (s->a + by) & 1023; }
static void grow_two(struct shape *s, uint32_t by) { s->a = (s->a + by) & 1023, s->b = (s->b + 2 * by) & 511; }
static void grow_all(struct shape *s, uint32_t by) { grow_two(s, by), s->c = (s->c ^ by) & 255; }
static uint32_t none(const struct shape *s) { return s->c & 1; }
static uint32_t three(const struct shape *s) { return 3 + (s->c & 1); }
static uint32_t four(const struct shape *s) { return 4 ^ (s->c & 1); }

static const struct shape_class classes[] = {
  {square_area, grow_one, four},  {box_area, grow_two, four}, {triangle_area, grow_two, three},
  {ring_area, grow_two, none}, {cube_area, grow_all, three},
};
#define SHAPES 4096
static struct shape shapes[SHAPES];

static void prepare_calls(void) {
  uint32_t seed = 9;
  for (int i = 0; i < SHAPES; i++) {
    shapes[i].class = classes + (next(&seed) >> 16) % 5;
    shapes[i].a = next(&seed) >> 22, shapes[i].b = next(&seed) >> 23, shapes[i].c = next(&seed) >> 24;
  }
}

static uint32_t run_calls(void) {
  uint32_t sum = 0;
  for (uint32_t round = 0; round < 220; round++)
    for (int i = 0; i < SHAPES; i++) {
      struct shape *s = shapes + i;
      sum += s->class->area(s);
      s->class->grow(s, sum >> 28);
      sum ^= s->class->corners(s) << (round & 15);
    }
  return sum;
}

/* interpreter: a small stack machine counts primes and mixes a hash */

enum { PUSH, LOAD, STORE, ADD, SUB, MUL, MOD, XOR, LESS, JUMP, JUMP_ZERO, SHIFT_RIGHT, HALT };

/* Variables: 0 candidate, 1 divisor, 2 count, 3 hash. */
static int16_t code[128];
static int code_length;

static int emit(int16_t op) { return code[code_length] = op, code_length++; }
static int emit2(int16_t op, int16_t operand) { return emit(op), emit(operand); }

static void prepare_interpreter(void) {
  code_length = 0;
  emit2(PUSH, 2), emit2(STORE, 0);
  int outer = code_length;
  emit2(LOAD, 0), emit2(PUSH, 6000), emit(LESS);
  int end = emit2(JUMP_ZERO, 0);
  emit2(PUSH, 2), emit2(STORE, 1);
  int inner = code_length;
  emit2(LOAD, 0), emit2(LOAD, 1), emit2(LOAD, 1), emit(MUL), emit(LESS);
  int more = emit2(JUMP_ZERO, 0);
  /* No divisor up to the root: a prime. */
  emit2(LOAD, 2), emit2(PUSH, 1), emit(ADD), emit2(STORE, 2);
  emit2(LOAD, 3), emit2(PUSH, 31), emit(MUL), emit2(LOAD, 0), emit(XOR), emit2(STORE, 3);
  int found = emit2(JUMP, 0);
  code[more] = (int16_t)code_length;
  emit2(LOAD, 0), emit2(LOAD, 1), emit(MOD);
  int divides = emit2(JUMP_ZERO, 0);
  emit2(LOAD, 1), emit2(PUSH, 1), emit(ADD), emit2(STORE, 1), emit2(JUMP, (int16_t)inner);
  code[found] = code[divides] = (int16_t)code_length;
  emit2(LOAD, 0), emit2(PUSH, 1), emit(ADD), emit2(STORE, 0);
  emit2(LOAD, 3), emit2(LOAD, 3), emit2(PUSH, 7), emit(SHIFT_RIGHT), emit(XOR), emit2(STORE, 3);
  emit2(JUMP, (int16_t)outer);
  code[end] = (int16_t)code_length;
  emit(HALT);
}

static uint32_t interpret(void) {
  uint32_t stack[16], *sp = stack, variables[4] = {0};
  const int16_t *pc = code;
  for (;;) {
    switch (*pc++) {
    case PUSH: *sp++ = (uint32_t)*pc++; break;
    case LOAD: *sp++ = variables[*pc++]; break;
    case STORE: variables[*pc++] = *--sp; break;
    case ADD: sp--, sp[-1] += *sp; break;
    case SUB: sp--, sp[-1] -= *sp; break;
    case MUL: sp--, sp[-1] *= *sp; break;
    case MOD: sp--, sp[-1] %= *sp; break;
    case XOR: sp--, sp[-1] ^= *sp; break;
    case LESS: sp--, sp[-1] = sp[-1] < *sp; break;
    case SHIFT_RIGHT: sp--, sp[-1] >>= *sp & 31; break;
    case JUMP: pc = code + *pc; break;
    case JUMP_ZERO: pc = *--sp == 0 ? code + *pc : pc + 1; break;
    default: return variables[2] * 65599u ^ variables[3];
    }
  }
}

static uint32_t run_interpreter(void) {
  uint32_t sum = 0;
  for (int round = 0; round < 6; round++) sum = sum * 31 + interpret();
  return sum;
}

const struct workload code_workloads[] = {
  {"string", "strlen, strtok, strchr, strstr, strcmp, snprintf over words", prepare_string, run_string},
  {"calls", "calls through tables of function pointers, 2.7 million", prepare_calls, run_calls},
  {"interpreter", "a stack machine in a switch counts primes", prepare_interpreter, run_interpreter},
  {NULL, NULL, NULL, NULL},
};
