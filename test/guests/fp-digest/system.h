/*
 * The parts that show how instructions and the kernel work together: images of the state, exceptions that become signals, state across switches
 * of tasks; then approximations, and what CPUID says. Included by fp-digest.c.
 */

/* --- images of the state ------------------------------------------------------------------------------------------------------------------ */

static u8 image[512] __attribute__((aligned(64))), saved[832] __attribute__((aligned(64)));

#define ON(text, area) __asm__ volatile(text " %0" : "+m"(area))

/* Pointers and opcode of the last instruction are noted differently by different processors. */
static void mix_save(u32 size) {
  for (u32 n = 12; n < 28; n++) saved[n] = 0;
  mix_bytes(saved, size);
}

static void mix_save16(u32 size) {
  for (u32 n = 6; n < 14; n++) saved[n] = 0;
  saved[size] = saved[size + 1] = 0;
  mix_bytes(saved, size);
}

static void mix_fxsave(u8 *from) {
  for (u32 n = 6; n < 24; n++) from[n] = 0;
  for (u32 n = 28; n < 32; n++) from[n] = 0;
#ifdef __x86_64__
  mix_bytes(from, 416);
#else
  mix_bytes(from, 288);
#endif
}

static void set16(u32 at, u32 value) {
  image[at] = (u8)value;
  image[at + 1] = (u8)(value >> 8);
}

/* An FSAVE image: some control word, flags, TOP, tags and contents. */
static void make_image(u32 n) {
  random_state = 0x9e3779b97f4a7c15 * (n + 77);
  u64 bits = random64() ^ random64() << 7;
  memset(image, 0, sizeof image);
  set16(0, (n & 3 ? 0x7f : (u32)bits & 0x7f) | 0x300 | (u32)(bits >> 8 & 0xc00));
  set16(4, (u32)(bits >> 16) & 0x7f7f);
  set16(8, n & 4 ? (u32)(bits >> 32) : 0);
  for (u32 k = 0; k < 8; k++) __builtin_memcpy(image + 28 + 10 * k, &F80[(n * 8 + k * 5) % COUNT(F80)], 10);
}

enum { IMAGES = 48 };

static void images(void) {
#define EACH(name, ...) \
  if (begin(name)) { \
    for (u32 n = 0; n < IMAGES; n++) { \
      make_image(n); \
      ON("frstor", image); \
      memset(saved, 0xcc, sizeof saved); \
      __VA_ARGS__; \
      __asm__ volatile("fninit"); \
      end_case(); \
    } \
    end(name); \
  }
  EACH("fsave", ON("fnsave", saved); mix_save(108); ON("fnsave", saved); mix_save(108))
  EACH("fsave-16", ON("data16 fnsave", saved); mix_save16(94); ON("data16 fnsave", saved); mix_save16(94))
  EACH("fstenv", ON("fnstenv", saved); mix_save(28); ON("fnsave", saved); mix_save(108))
  EACH("fstenv-16", ON("data16 fnstenv", saved); mix_save16(14); ON("fnsave", saved); mix_save(108))
  EACH("frstor-16", ON("data16 fnsave", saved); ON("data16 frstor", saved); ON("fnsave", saved); mix_save(108))
  EACH("fldenv", __asm__ volatile("fnclex"); make_image(n + 500); ON("fldenv", image); ON("fnsave", saved); mix_save(108))
  EACH("fldenv-16", ON("data16 fnstenv", saved); __asm__ volatile("fnclex\n fincstp\n ffree %st(3)"); ON("data16 fldenv", saved);
       ON("fnsave", saved); mix_save(108))
  EACH("fnstcw/fnstsw/fnclex", ON("fnstcw", saved[0]); ON("fnstsw", saved[2]); __asm__ volatile("fnclex"); ON("fnstsw", saved[4]);
       mix_bytes(saved, 8))
  EACH("fldcw", __asm__ volatile("fnclex"); ON("fldcw", image[40]); ON("fnstcw", saved[0]); ON("fnstsw", saved[2]); mix_bytes(saved, 8))
  EACH("fincstp/fdecstp/ffree", __asm__ volatile("fnclex\n fincstp\n fincstp\n fdecstp\n ffree %st(2)\n ffree %st(7)");
       ON("fnsave", saved); mix_save(108))
  EACH("fxsave", ON("fxsave", saved); mix_fxsave(saved))
  EACH("fxrstor", ON("fxsave", saved); saved[4] = (u8)(n * 37); saved[3] = (u8)(n << 3); __asm__ volatile("fninit");
       ON("fxrstor", saved); ON("fnsave", saved); mix_save(108))
  EACH("mmx-state", __asm__ volatile("fnclex"); ON("movq %%mm3,", saved[200]); ON("fnsave", saved); mix_save(108))
  EACH("mmx-write", __asm__ volatile("fnclex\n paddb %mm2, %mm5\n movq %mm1, %mm0"); ON("fnsave", saved); mix_save(108))
  EACH("emms", __asm__ volatile("fnclex\n emms"); ON("fnsave", saved); mix_save(108))
#ifdef __x86_64__
  EACH("fxsave64", ON("fxsave64", saved); mix_fxsave(saved))
#endif
  u32 a = 1, b, c = 0, d;
  __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
  if (c & 1 << 27) {
    /* Both parts of the state are in use; then XRSTOR puts them back to where they start. */
    EACH("xsave/xrstor", __asm__ volatile("movups %0, %%xmm3\n movups %0, %%xmm6" : : "m"(image[40])); memset(saved + 512, 0, 64);
         __asm__ volatile("xsave %0" : "+m"(saved) : "a"(3), "d"(0)); mix(saved[512] & 3); saved[512] = 0;
         __asm__ volatile("fninit\n fldpi"); __asm__ volatile("xrstor %0" : : "m"(saved), "a"(3), "d"(0)); mix_fxsave(saved);
         ON("fxsave", saved); mix_fxsave(saved))
  }
#undef EACH
}

/* --- exceptions that become signals ------------------------------------------------------------------------------------------------------- */

static const char *fault_base;
static u32 fault_codes[9];
static u32 faults, last_code, last_mxcsr;
static u16 last_status;
void landing(void);
__asm__("landing: ret\n");

static void on_fault(int number, void *info, void *context) {
  u32 code = *(u32 *)((char *)info + 8);
  unsigned long *ip = (unsigned long *)((char *)context + CONTEXT_IP);
  u8 *frame = *(u8 **)((char *)context + CONTEXT_FPSTATE);
  u8 *fx = frame + FPSTATE_FXSAVE;
  faults++;
  last_code = code;
  last_status = *(u16 *)(fx + 2) & 0xb8ff;
  last_mxcsr = *(u32 *)(fx + 24);
  mix((u32)number);
  mix(code);
  mix((u32)(*ip - (unsigned long)fault_base));
  mix(last_status);
  mix(last_mxcsr);
  if (number == SIGFPE) {
    mix((u32)(*(unsigned long *)((char *)info + SIGINFO_ADDRESS) - (unsigned long)fault_base));
    if (code < 9) fault_codes[code]++;
  }
  if (number == SIGFPE && code != 1) {
    /* Masked from here on, and the x87's flags off: the instruction is done again. */
    *(u32 *)(fx + 24) |= 0x1f80;
    *(u16 *)(fx + 2) &= 0x7f00;
#ifndef __x86_64__
    *(u32 *)(frame + 4) &= 0x7f00;
#endif
  } else {
    *ip = (unsigned long)landing;
  }
}

extern const char x87_wait[];
__asm__("run_x87_signals: " SAVE "fninit\n fldcw f+64\n fldt f+16\n fldt f\n" POINT SET_FLAGS CALL ".globl x87_wait\nx87_wait: fwait\n"
        X87_RESULTS RESTORE);

#define FAULTY(name, text) __asm__(".pushsection .text\nw_" #name ": " text "\n ret\n.popsection\n");
#define FAULTS \
  FAULT(movaps, "movaps 4(" SI "), %xmm0") FAULT(movdqa, "movdqa 8(" SI "), %xmm0") FAULT(addps, "addps 1(" SI "), %xmm0") \
  FAULT(movaps_out, "movaps %xmm0, 4(" SI ")") FAULT(movntps, "movntps %xmm0, 8(" SI ")") FAULT(pshufb, "pshufb 15(" SI "), %xmm0") \
  FAULT(pcmpistri, "pcmpistri $0, 3(" SI "), %xmm0") FAULT(movups, "movups 1(" SI "), %xmm0") FAULT(fxsave, "fxsave 8(" SI ")") \
  FAULT(ldmxcsr, "movl $0x80001f80, (" SI ")\n ldmxcsr (" SI ")") FAULT(div0, "xor %edx, %edx\n xor %ecx, %ecx\n div %ecx") \
  FAULT(idiv, "mov $0x80000000, %eax\n cltd\n mov $-1, %ecx\n idiv %ecx") FAULT(divb, "mov $0x100, %eax\n mov $1, %cl\n divb %cl") \
  FAULT(ud2, "ud2") FAULT(scalar, "addss 1(" SI "), %xmm0")
#define FAULT(name, text) FAULTY(name, text)
FAULTS
#undef FAULT
#define FAULT(name, text) extern const char w_##name[];
FAULTS
#undef FAULT

/* Faults of one instruction: which signals, where, and what the frame and the results hold. */
static void vector_signals(const struct vector_op *op, u32 which) {
  if (!(op->results & O_MXCSR) || !begin(op->name)) return;
  for (u32 n = 0; n < 7 * 6; n++) {
    vector_operands(op->kind, (which * 131 + n * 197) % pairs(op->kind));
    v.mxcsr = mxcsr_of(n % 16) & ~(n % 7 == 6 ? 0x1f80 : 0x80u << n % 7);
    fault_base = op->immediates ? op->code + n % op->immediates * 16 : op->code;
    int trace = traced();
    if (trace) {
      put_decimal(cases);
      put_bytes(" mxcsr=", &v.mxcsr, 4);
      put_bytes(" x0=", v.xmm[0], 16);
      put_bytes(" x1=", v.xmm[1], 16);
    }
    u32 before = faults;
    (op->results & O_MMX ? run_mmx : run_xmm)(fault_base);
    if (op->results & O_XMM) mix64(v.xmm[0][0]), mix64(v.xmm[0][1]);
    if (op->results & O_MMX) mix64(v.mm[0]);
    if (op->results & O_AX) mix64(v.ax);
    mix(v.mxcsr);
    if (trace) {
      put(" -> signals=");
      put_decimal(faults - before);
      put_bytes(" code=", &last_code, 4);
      put_bytes(" frame=", &last_mxcsr, 4);
      put_bytes(" x0=", v.xmm[0], 16);
      put_bytes(" mxcsr=", &v.mxcsr, 4);
      put_char('\n');
    }
    end_case();
  }
  end(op->name);
}

static void x87_signals(const struct x87_op *op, u32 which) {
  if (op->kind == P_REMAINDER || op->kind == P_FLAGS || op->kind == P_CONTROL || !begin(op->name)) return;
  for (u32 n = 0; n < 7 * 6; n++) {
    x87_operands(op->kind, (which * 37 + n * 61) % x87_count(op->kind));
    f.control = (u16)((0x37f & ~(n % 7 == 6 ? 0x3f : 1 << n % 7)) | (n & 3) << 10);
    fault_base = x87_wait;
    int trace = traced();
    if (trace) {
      put_decimal(cases);
      put_bytes(" control=", &f.control, 2);
      put_bytes(" st0=", &f.a, 10);
      put_bytes(" st1=", &f.b, 10);
      put_bytes(" memory=", memory, 10);
    }
    u32 before = faults;
    run_x87_signals(op->code);
    mix64(f.r0.significand);
    mix64(f.r1.significand);
    mix(f.r0.sign_exponent | (u32)f.r1.sign_exponent << 16);
    if (trace) {
      put(" -> signals=");
      put_decimal(faults - before);
      put_bytes(" code=", &last_code, 4);
      put_bytes(" frame=", &last_status, 2);
      put_bytes(" r0=", &f.r0, 10);
      put_bytes(" r1=", &f.r1, 10);
      put_char('\n');
    }
    end_case();
  }
  end(op->name);
}

static void signals(void) {
  on_signal(SIGFPE, on_fault);
  on_signal(SIGSEGV, on_fault);
  on_signal(SIGILL, on_fault);
  section = "signals/";
  for (u32 n = 0; n < COUNT(x87_ops); n++) x87_signals(&x87_ops[n], n);
  for (u32 n = 0; n < COUNT(vector_ops); n++) vector_signals(&vector_ops[n], n);
#define FAULT(name, text) \
  if (begin(#name)) { \
    vector_operands(K_INTEGER, 401); \
    v.mxcsr = 0x1f80; \
    fault_base = w_##name; \
    run_xmm(w_##name); \
    end(#name); \
  }
  FAULTS
#undef FAULT
  section = "";
  /* How often each code came: FPE_INTDIV is 1, FPE_FLTINV 7. */
  if (!wanted) {
    put("SIGFPE");
    for (u32 n = 1; n < 9; n++) put_char(' '), put_decimal(fault_codes[n]);
    put_char('\n');
  }
}

/* --- switches of tasks -------------------------------------------------------------------------------------------------------------------- */

static u8 area_in[512] __attribute__((aligned(64))), area_out[512] __attribute__((aligned(64)));

/* Keeps state of its own in every register while another task, and signals, come in between. Whether it is still there. */
static int keep_state(u32 seed) {
  int good = 1;
  for (u32 round = 0; round < 20; round++) {
    make_image(seed * 100 + round);
    set16(0, 0x037f | (round & 3) << 10);
    set16(4, 0);
    ON("frstor", image);
    __asm__ volatile("fxsave %0" : "=m"(area_in));
    for (u32 n = 160; n < (sizeof(long) == 8 ? 416 : 288); n++) area_in[n] = (u8)(n * seed + round);
    *(u32 *)(area_in + 24) = 0x1f80 | ((seed + round) & 3) << 13;
    __asm__ volatile("fxrstor %0" : : "m"(area_in));
    for (u32 n = 0; n < 4; n++) syscall4(SYS_SCHED_YIELD, 0, 0, 0, 0);
    __asm__ volatile("fxsave %0" : "=m"(area_out));
    u32 size = sizeof(long) == 8 ? 416 : 288;
    for (u32 n = 0; n < size; n++)
      if ((n < 6 || n >= 24) && area_in[n] != area_out[n]) good = 0;
  }
  __asm__ volatile("fninit\n ldmxcsr %0" : : "m"(default_mxcsr));
  return good;
}

static void switches(void) {
  if (wanted) return;
  flush();
  long child = syscall4(SYS_FORK, 0, 0, 0, 0);
  int good = keep_state(child == 0 ? 3 : 5);
  if (child == 0) quit(good ? 17 : 1);
  int status = 0;
  syscall4(SYS_WAIT4, child, (long)&status, 0, 0);
  put(good && (status >> 8 & 255) == 17 ? "switches kept\n" : "switches LOST\n");
}

/* --- approximations ----------------------------------------------------------------------------------------------------------------------- */

#define APPROXIMATION(name, text) __asm__(".pushsection .text\n a_" #name ": " text "\n ret\n.popsection\n");
#define APPROXIMATIONS \
  A(rcpss, "rcpss %xmm1, %xmm0") A(rsqrtss, "rsqrtss %xmm1, %xmm0") A(rcpps, "rcpps %xmm1, %xmm0") A(rsqrtps, "rsqrtps %xmm1, %xmm0")
#define TRANSCENDENTALS A(f2xm1, "f2xm1") A(fyl2x, "fxch\n fyl2x") A(fyl2xp1, "fxch\n fyl2xp1") A(fpatan, "fpatan") A(fptan, "fptan") \
  A(fsin, "fsin") A(fcos, "fcos") A(fsincos, "fsincos")
#define A(name, text) APPROXIMATION(name, text) extern const char a_##name[];
APPROXIMATIONS
TRANSCENDENTALS
#undef A

static const struct {
  const char *name;
  const char *code;
} approximate[] = {
#define A(name, text) {#name, a_##name},
  APPROXIMATIONS
},
  transcendental[] = {TRANSCENDENTALS
#undef A
};

/* Whether a transcendental instruction is defined for ST(0): these have limits. */
static int in_range(const char *name, const extended *x) {
  u32 exponent = x->sign_exponent & 0x7fff;
  if (exponent == 0x7fff || equal(name, "fyl2x") || equal(name, "fpatan")) return 1;
  if (equal(name, "f2xm1")) return exponent < 0x3fff;
  if (equal(name, "fyl2xp1")) return exponent < 0x3ffd;
  return 1;
}

static void approximations(void) {
  for (u32 which = 0; which < COUNT(approximate); which++)
    for (u32 n = 0; n < COUNT(F32) + 24; n++) {
      vector_operands(K_U32, n % COUNT(F32));
      random_state = 0x9e3779b97f4a7c15 * (n + 1);
      if (n >= COUNT(F32)) v.xmm[1][0] = v.xmm[1][1] = (random64() & 0x3fffffff) + 0x20000000;
      v.mxcsr = 0x1f80;
      put_char('~');
      put(approximate[which].name);
      put_bytes(" ", v.xmm[1], 4);
      run_xmm(approximate[which].code);
      put_bytes(" ", v.xmm[0], 4);
      put_bytes(" ", &v.mxcsr, 2);
      put_char('\n');
    }
  for (u32 which = 0; which < COUNT(transcendental); which++)
    for (u32 n = 0; n < COUNT(F80) + 24; n++) {
      if (n < COUNT(F80)) {
        f.a = F80[n];
        f.b = F80[(n * 7 + 10) % COUNT(F80)];
      } else {
        random_extended(&f.a, n, 12);
        random_extended(&f.b, n + 100, 12);
        f.a.sign_exponent -= equal(transcendental[which].name, "fyl2x") ? 0 : 8;
        if (equal(transcendental[which].name, "fyl2x")) f.a.sign_exponent &= 0x7fff;
      }
      if (!in_range(transcendental[which].name, &f.a)) continue;
      f.control = 0x37f;
      f.flags = 0x202;
      put_char('~');
      put(transcendental[which].name);
      put_bytes(" ", &f.a, 10);
      put_bytes(" ", &f.b, 10);
      run_x87(transcendental[which].code);
      put_bytes(" ", &f.r0, 10);
      put_bytes(" ", &f.r1, 10);
      put_bytes(" ", &f.status, 2);
      put_char('\n');
    }
}

/* --- CPUID -------------------------------------------------------------------------------------------------------------------------------- */

static const struct {
  u32 leaf, subleaf;
  /* 0 to 3: EAX, EBX, ECX, EDX. */
  u32 output;
  /* Names of bits 0 to 31; `-` where Linux shows none. */
  const char *names;
} FEATURES[] = {
  {1, 0, 3, "fpu vme de pse tsc msr pae mce cx8 apic - sep mtrr pge mca cmov pat pse36 pn clflush - dts acpi mmx fxsr sse sse2 ss ht tm ia64 pbe"},
  {1, 0, 2, "pni pclmulqdq dtes64 monitor ds_cpl vmx smx est tm2 ssse3 cid sdbg fma cx16 xtpr pdcm - pcid dca sse4_1 sse4_2 x2apic movbe popcnt "
            "tsc_deadline_timer aes xsave - avx f16c rdrand hypervisor"},
  {7, 0, 1, "fsgsbase tsc_adjust sgx bmi1 hle avx2 - smep bmi2 erms invpcid rtm cqm - mpx rdt_a avx512f avx512dq rdseed adx smap avx512ifma - "
            "clflushopt clwb intel_pt avx512pf avx512er avx512cd sha_ni avx512bw avx512vl"},
  {7, 0, 2, "- avx512vbmi umip pku ospke waitpkg avx512_vbmi2 - gfni vaes vpclmulqdq avx512_vnni avx512_bitalg tme avx512_vpopcntdq - la57 - - - - - "
            "rdpid - bus_lock_detect cldemote - movdiri movdir64b enqcmd - -"},
  {7, 0, 3, "- - - - fsrm - - - avx512_vp2intersect - md_clear - - - serialize - tsxldtrk - pconfig arch_lbr ibt - amx_bf16 avx512_fp16 amx_tile amx_int8 "
            "- - flush_l1d arch_capabilities - -"},
  {0xd, 1, 0, "xsaveopt xsavec xgetbv1 xsaves"},
  {0x80000001, 0, 3, "- - - - - - - - - - - syscall - - - - - - - mp nx - mmxext - - fxsr_opt pdpe1gb rdtscp - lm 3dnowext 3dnow"},
  {0x80000001, 0, 2, "lahf_lm cmp_legacy svm extapic cr8_legacy abm sse4a misalignsse 3dnowprefetch osvw ibs xop skinit wdt - lwp fma4 tce - nodeid_msr - "
                     "tbm topoext perfctr_core perfctr_nb - bpext ptsc perfctr_llc mwaitx"},
  {0x80000007, 0, 3, "- - - - - - - - nonstop_tsc"},
};

/* What CPUID reports and does not report, among the names that Linux knows. */
static void cpuid_names(void) {
  for (u32 wanted_bit = 0; wanted_bit < 2; wanted_bit++) {
    put(wanted_bit ? "cpuid-yes" : "cpuid-no");
    for (u32 n = 0; n < COUNT(FEATURES); n++) {
      u32 r[4], highest, ignored_b, ignored_c, ignored_d;
      __asm__ volatile("cpuid" : "=a"(highest), "=b"(ignored_b), "=c"(ignored_c), "=d"(ignored_d) : "0"(FEATURES[n].leaf & 0x80000000), "2"(0));
      __asm__ volatile("cpuid" : "=a"(r[0]), "=b"(r[1]), "=c"(r[2]), "=d"(r[3]) : "0"(FEATURES[n].leaf), "2"(FEATURES[n].subleaf));
      u32 bits = FEATURES[n].leaf > highest ? 0 : r[FEATURES[n].output];
      const char *at = FEATURES[n].names;
      for (u32 bit = 0; *at; bit++) {
        int shown = *at != '-' && (bits >> bit & 1) == wanted_bit;
        if (shown) put_char(' ');
        for (; *at && *at != ' '; at++)
          if (shown) put_char(*at);
        if (*at) at++;
      }
    }
    put_char('\n');
  }
}
