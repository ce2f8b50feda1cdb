/* Properties of the target processor. No other header is included and libm is not called.
   BYTES: of a processor vector. H: processor vectors per virtual vector of 64 bytes. */
#if !defined(__FMA__) && !defined(__ARM_FEATURE_FMA)
#error "no fused multiply-add"
#endif
#if defined(__AVX512F__)
#define BYTES 64
#elif defined(__AVX__)
#define BYTES 32
#else
#define BYTES 16
#endif
#define H (64 / BYTES)
#define INLINE static inline __attribute__((always_inline, unused))
#if defined(__AVX512F__)
#define REGISTER_ "+v"
#elif defined(__x86_64__)
#define REGISTER_ "+x"
#else
#define REGISTER_ "+w"
#endif
#define NOINLINE static __attribute__((noinline, unused))

/* EACH4(e), EACH8(e): e(0), e(1), ... for every element of a vector of 4- or 8-byte numbers. */
#define LIST2_(e, i) e(i), e(i + 1)
#define LIST4_(e, i) LIST2_(e, i), LIST2_(e, i + 2)
#define LIST8_(e, i) LIST4_(e, i), LIST4_(e, i + 4)
#if BYTES == 64
#define EACH4(e) LIST8_(e, 0), LIST8_(e, 8)
#define EACH8(e) LIST8_(e, 0)
#elif BYTES == 32
#define EACH4(e) LIST8_(e, 0)
#define EACH8(e) LIST4_(e, 0)
#else
#define EACH4(e) LIST4_(e, 0)
#define EACH8(e) LIST2_(e, 0)
#endif

/* FTZ_ON saves the floating-point mode and sets flush-to-zero for results and for arguments.
   FTZ_OFF, later in the same block, restores it. A memory barrier does not order
   arithmetic on values in registers: the code between the two must be a function with
   __attribute__((noinline)) that reads and writes memory. */
#if defined(__x86_64__)
#define FTZ_ON \
    __asm__ volatile("" ::: "memory"); \
    const unsigned ftz_saved_ = __builtin_ia32_stmxcsr(); \
    __builtin_ia32_ldmxcsr(ftz_saved_ | 0x8040u); \
    __asm__ volatile("" ::: "memory")
#define FTZ_OFF \
    __asm__ volatile("" ::: "memory"); \
    __builtin_ia32_ldmxcsr(ftz_saved_); \
    __asm__ volatile("" ::: "memory")
#elif defined(__aarch64__)
#define FTZ_ON \
    unsigned long long ftz_saved_; \
    __asm__ volatile("mrs %0, fpcr" : "=r"(ftz_saved_) : : "memory"); \
    __asm__ volatile("msr fpcr, %0" : : "r"(ftz_saved_ | (1ULL << 24)) : "memory")
#define FTZ_OFF __asm__ volatile("msr fpcr, %0" : : "r"(ftz_saved_) : "memory")
#else
#error "flush-to-zero is written for x86-64 and AArch64 only"
#endif
