/* Scalars of one type and vectors of BYTES bytes.
   T: float or double. J: the integer of the same size. V, I: vectors of T and J. VU, IU: the same
   without alignment. A mask is an I or J with all bits 1 or 0. K, KI: broadcast a scalar.
   SEL: select by mask. v...: on vectors. s_...: on scalars. */
typedef ${T} T;
typedef ${J} J;
typedef T V __attribute__((vector_size(BYTES), may_alias));
typedef J I __attribute__((vector_size(BYTES), may_alias));
typedef unsigned ${J} UI __attribute__((vector_size(BYTES), may_alias));
typedef V VU __attribute__((aligned(sizeof(T)), may_alias));
typedef I IU __attribute__((aligned(sizeof(T)), may_alias));
#define LANES (BYTES / (int)sizeof(T))
#define INF_ __builtin_inf${f}()
#define NAN_ __builtin_nan${f}("")
#define SIGN ((J)((unsigned ${J})1 << (8 * sizeof(T) - 1)))

#define E_(i) x
INLINE V K(T x) { return (V){EACH${size}(E_)}; }
INLINE I KI(J x) { return (I){EACH${size}(E_)}; }
#undef E_
INLINE V SEL(I mask, V a, V b) { return (V)((mask & (I)a) | (~mask & (I)b)); }
INLINE int any(I mask) {
    J any_bit = 0;
    for (int i = 0; i < LANES; i++) any_bit |= mask[i];
    return any_bit != 0;
}
INLINE V vabs(V x) { return (V)((I)x & KI(~SIGN)); }
INLINE V vsign(V x) { return (V)((I)x & KI(SIGN)); } /* only the sign bit */
INLINE V vcopysign(V x, V sign) { return (V)((I)x | (I)sign); }
INLINE T s_abs(T x) { return __builtin_fabs${f}(x); }
INLINE T s_fma(T a, T b, T c) { return __builtin_fma${f}(a, b, c); }
INLINE T s_sqrt(T x) { return __builtin_sqrt${f}(x); }

/* a * b + c in one rounding. */
INLINE V vfma(V a, V b, V c) {
#if __has_builtin(__builtin_elementwise_fma)
    return __builtin_elementwise_fma(a, b, c);
#elif BYTES == 64 && __has_builtin(__builtin_ia32_vfmadd${p}512_mask)
    return __builtin_ia32_vfmadd${p}512_mask(a, b, c, -1, 4);
#elif BYTES == 32 && __has_builtin(__builtin_ia32_vfmadd${p}256)
    return __builtin_ia32_vfmadd${p}256(a, b, c);
#else
#define E_(i) __builtin_fma${f}(a[i], b[i], c[i])
    return (V){EACH${size}(E_)};
#undef E_
#endif
}
INLINE V vsqrt(V x) {
#if __has_builtin(__builtin_elementwise_sqrt)
    return __builtin_elementwise_sqrt(x);
#elif BYTES == 64 && __has_builtin(__builtin_ia32_sqrt${p}512_mask)
    return __builtin_ia32_sqrt${p}512_mask(x, x, -1, 4);
#elif BYTES == 64 && __has_builtin(__builtin_ia32_sqrt${p}512)
    return __builtin_ia32_sqrt${p}512(x, 4);
#elif BYTES == 32 && __has_builtin(__builtin_ia32_sqrt${p}256)
    return __builtin_ia32_sqrt${p}256(x);
#else
#define E_(i) __builtin_sqrt${f}(x[i])
    return (V){EACH${size}(E_)};
#undef E_
#endif
}

/* a > b ? a : b and a < b ? a : b, as the x86 instructions: b if either is NaN. */
INLINE V greater(V a, V b) {
#if BYTES == 64 && __has_builtin(__builtin_ia32_max${p}512_mask)
    return __builtin_ia32_max${p}512_mask(a, b, a, -1, 4);
#else
    return SEL(a > b, a, b);
#endif
}
INLINE V lesser(V a, V b) {
#if BYTES == 64 && __has_builtin(__builtin_ia32_min${p}512_mask)
    return __builtin_ia32_min${p}512_mask(a, b, a, -1, 4);
#else
    return SEL(a < b, a, b);
#endif
}
/* x, or zero if x is subnormal and flush-to-zero is on. Arithmetic flushes, but selections do so
   only on some processors: vmax, vmin and SEL of a comparison can be one instruction, which
   flushes, or several, which do not. Inputs that may be subnormal must be flushed first, otherwise
   the bits depend on the processor. */
INLINE V vflush(V x) {
    V zero = K(-0.0${f}); /* hidden from the optimizer */
    __asm__("" : REGISTER_(zero));
    return x + zero;
}
INLINE T s_flush(T x) {
    T zero = -0.0${f};
    __asm__("" : REGISTER_(zero));
    return x + zero;
}
/* NaN where either is NaN, as in torch.maximum and torch.minimum. Of two zeros, b. */
INLINE V vmax(V a, V b) { return SEL(a != a, a, greater(a, b)); }
INLINE V vmin(V a, V b) { return SEL(a != a, a, lesser(a, b)); }
INLINE T s_max(T a, T b) { return a > b || a != a ? a : b; }
INLINE T s_min(T a, T b) { return a < b || a != a ? a : b; }

/* a if the mask is -1, b if it is 0, without a branch: gcc 12 compiles m ? x[i] : b to a masked
   load, which in loops over short axes reads wrong entries. */
INLINE T s_where(J m, T a, T b) {
    union { T t; J j; } x = {a}, y = {b};
    x.j = (m & x.j) | (~m & y.j);
    return x.t;
}

/* Reduce the n = 64 / sizeof(T) elements of a virtual vector to one: combine element i + n / 2 with
   element i, and repeat with half as many. The order is the same for every BYTES. */
#define FROM2_(i) ((i) + LANES / 2) % LANES
#define FROM4_(i) ((i) + LANES / 4) % LANES
#define FROM8_(i) ((i) + LANES / 8) % LANES
#define FROM16_(i) ((i) + LANES / 16) % LANES
#define FOLD_(NAME, OP) \
    INLINE T NAME(const V *x) { \
        V p = x[0]; \
        if (H == 2) p = OP(p, x[1 % H]); \
        if (H == 4) p = OP(OP(p, x[2 % H]), OP(x[1 % H], x[3 % H])); \
        p = OP(p, __builtin_shufflevector(p, p, EACH${size}(FROM2_))); \
        if (LANES >= 4) p = OP(p, __builtin_shufflevector(p, p, EACH${size}(FROM4_))); \
        if (LANES >= 8) p = OP(p, __builtin_shufflevector(p, p, EACH${size}(FROM8_))); \
        if (LANES >= 16) p = OP(p, __builtin_shufflevector(p, p, EACH${size}(FROM16_))); \
        return p[0]; \
    }
INLINE V vadd(V a, V b) { return a + b; }
FOLD_(lane_sum, vadd)
FOLD_(lane_max, vmax)
FOLD_(lane_min, vmin)
