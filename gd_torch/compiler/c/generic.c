/* Functions for float32 and float64, evaluated in the type of the program. */
/*@ polynomials: */
/* P<n>(z, c0, c1, ...): a polynomial of n terms by Horner's rule. */
#define P1_(z, a) K(a)
#define P2_(z, a, ...) vfma(z, P1_(z, __VA_ARGS__), K(a))
#define P3_(z, a, ...) vfma(z, P2_(z, __VA_ARGS__), K(a))
#define P4_(z, a, ...) vfma(z, P3_(z, __VA_ARGS__), K(a))
#define P5_(z, a, ...) vfma(z, P4_(z, __VA_ARGS__), K(a))
#define P6_(z, a, ...) vfma(z, P5_(z, __VA_ARGS__), K(a))
#define P7_(z, a, ...) vfma(z, P6_(z, __VA_ARGS__), K(a))
#define P8_(z, a, ...) vfma(z, P7_(z, __VA_ARGS__), K(a))
#define P9_(z, a, ...) vfma(z, P8_(z, __VA_ARGS__), K(a))
#define P10_(z, a, ...) vfma(z, P9_(z, __VA_ARGS__), K(a))
#define P11_(z, a, ...) vfma(z, P10_(z, __VA_ARGS__), K(a))
#define P12_(z, a, ...) vfma(z, P11_(z, __VA_ARGS__), K(a))
#define P13_(z, a, ...) vfma(z, P12_(z, __VA_ARGS__), K(a))
#define P14_(z, a, ...) vfma(z, P13_(z, __VA_ARGS__), K(a))
#define P15_(z, a, ...) vfma(z, P14_(z, __VA_ARGS__), K(a))
#define P16_(z, a, ...) vfma(z, P15_(z, __VA_ARGS__), K(a))
#define POLY(n, z, ...) P##n##_(z, __VA_ARGS__)

/*@ scaling: */
/* The last bits of (I)(n + MAGIC) are the integer n; the bits above it are shifted out. */
INLINE V two_to(I n) { return (V)((n + KI(BIAS)) << FRACTION); } /* for a normal result */
/* y * 2^n for |n| < 2 * BIAS, with one rounding where the result is subnormal. */
INLINE V scaled(V y, I n) {
    I half = (I)((UI)n >> 1);
    return y * two_to(half) * two_to(n - half);
}

/*@ exp_parts: polynomials scaling */
/* exp(x) = 2^n * (1 + (r + t)), |r| <= ln(2) / 2. */
INLINE I exp_parts(V x, V *r, V *t) {
    V shifted = vfma(x, K(LOG2_E), K(MAGIC));
    V k = shifted - K(MAGIC);
    *r = vfma(k, K(-LN2_LOW), vfma(k, K(-LN2), x));
    *t = *r * *r * vfma(*r, POLY_EXP(*r), K((T)0.5));
    return (I)shifted;
}

/*@ exp: exp_parts */
INLINE V v_exp(V x) {
    V r, t;
    I n = exp_parts(greater(K(EXP_LOW), lesser(K(EXP_HIGH), x)), &r, &t);
    return scaled(K(1) + (r + t), n);
}

/*@ expm1: exp_parts */
INLINE V v_expm1(V x) {
    V c = greater(K(-40), lesser(K(EXP_HIGH), x));
    V shifted = vfma(c, K(LOG2_E), K(MAGIC)), k = shifted - K(MAGIC);
    V first = vfma(k, K(-LN2), c), second = k * K(-LN2_LOW), r = first + second;
    V t = vfma(r * r, vfma(r, POLY_EXP(r), K((T)0.5)), (first - r) + second);
    V s = two_to((I)shifted - KI(1)); /* 2^k can overflow where the result does not */
    V less = s - K((T)0.5), low = (s - less) - K((T)0.5), sum = vfma(s, r, less);
    V y = sum + vfma(s, t, vfma(s, r, less - sum) + low);
    return SEL(vabs(x) < K(TINY), x, y + y);
}

/*@ sigmoid: exp_parts */
/* 1 / (1 + exp(-x)), to 2 ulp; 0 if that is subnormal or near the smallest normal number. */
INLINE V v_sigmoid(V x) {
    V r, t;
    I n = exp_parts(greater(K(-SIGMOID_HIGH), lesser(K(SIGMOID_HIGH), -x)), &r, &t);
    V e = (V)((I)(K(1) + (r + t)) + (I)((UI)n << FRACTION)); /* exp(-x), a normal number */
    return (V)((I)(K(1) / (K(1) + e)) & ~(x < K(-SIGMOID_HIGH)));
}

/*@ tanh: exp_parts */
INLINE V v_tanh(V x) {
    V r, t, a = vabs(x), z = a * a;
    I n = exp_parts(lesser(K(44), a + a), &r, &t);
    V e = (K(1) + (r + t)) * two_to(n);
    V y = K(1) - K(2) / (K(1) + e);
    return vcopysign(SEL(a < K((T)0.98), vfma(a * z, POLY_TANH(z), a), y), vsign(x));
}

/*@ log_parts: polynomials */
/* For a normal x > 0: x = 2^k * m with sqrt(1/2) <= m < sqrt(2); the result is m. */
INLINE V log_parts(V x, I *biased) {
    I shifted = (I)x - KI(ROOT_HALF) + KI((J)(BIAS + 1) << FRACTION);
    *biased = (I)((UI)shifted >> FRACTION); /* k + BIAS + 1 */
    return (V)((shifted & KI(((J)1 << FRACTION) - 1)) + KI(ROOT_HALF));
}
/* Convert an integer to floating point; 0 <= n < 2^FRACTION. */
INLINE V log_number(I n) { return (V)(n | (I)K(TWO_FRACTION)); }
/* log_parts for any x > 0, with k as a floating-point number. */
INLINE V log_split(V x, V *k) {
    I biased, small = x < K(LEAST_NORMAL);
    V m = log_parts(SEL(small, x * K(TWO_FRACTION * 4), x), &biased);
    V off = SEL(small, K(TWO_FRACTION + BIAS + 1 + FRACTION + 2), K(TWO_FRACTION + BIAS + 1));
    *k = log_number(biased) - off;
    return m;
}
/* y for 0 < x < infinity, else the special values of log. */
INLINE V log_special(V x, V y) {
    I zero = x == K(0);
    V other = SEL(zero, K(-INF_), SEL(x < K(0), K(NAN_), x));
    return SEL((x < K(INF_)) & (x > K(0)), y, other);
}

/*@ log: log_core */
INLINE V v_log(V x) {
    V k, m = log_split(x, &k);
    return log_special(x, log_core(m - K(1), K(0), k));
}

/*@ log1p: log_core */
INLINE V v_log1p(V x) {
    I biased;
    log_parts(x + K(1), &biased);
    V k = log_number(biased) - K(TWO_FRACTION + BIAS + 1);
    /* f = (1 + x) * 2^-k - 1 and its rounding error. A quarter of x times 2^(2 - k): 2^-k can
       be subnormal. */
    V s = (V)((KI(2 * BIAS + 3) - biased) << FRACTION);
    V q = x * K((T)0.25), less = vfma(s, K((T)0.25), K(-1)), b = q * s;
    V f = less + b, v = f - less, low = (less - (f - v)) + (b - v);
    V y = log_core(f, low * (K(1) - f), k);
    V other = SEL(x == K(-1), K(-INF_), SEL(x < K(-1), K(NAN_), x));
    return SEL((x < K(INF_)) & (x > K(-1)) & ~(vabs(x) < K(TINY)), y, other);
}

/*@ floor: nearest */
INLINE V v_floor(V x) {
    V r = v_round(x);
    return vcopysign(r - SEL(r > x, K(1), K(0)), vsign(x));
}
/*@ ceil: nearest */
INLINE V v_ceil(V x) {
    V r = v_round(x);
    return (V)((I)(r + SEL(r < x, K(1), K(0))) | (I)vsign(x));
}
/*@ trunc: nearest */
INLINE V v_trunc(V x) {
    V a = vabs(x), r = vabs(v_round(x));
    return vcopysign(r - SEL(r > a, K(1), K(0)), vsign(x));
}
/*@ nearest: */
INLINE V v_round(V x) { /* half to even */
    V a = vabs(x), r = (a + K(TWO_FRACTION)) - K(TWO_FRACTION);
    return vcopysign(SEL(a < K(TWO_FRACTION), r, a), vsign(x));
}
/*@ round: nearest */
/*@ sign: */
INLINE V v_sign(V x) { return SEL(x > K(0), K(1), SEL(x < K(0), K(-1), K(0))); }

/*@ fmod: */
/* The exact remainder |x| mod |y| in integer arithmetic, one bit of the quotient at a time. */
static __attribute__((noinline, unused)) T fmod_lane(T x, T y) {
    union { T f; J i; } a = {s_abs(x)}, b = {s_abs(y)};
    const J one = (J)1 << FRACTION;
    J ea = a.i >> FRACTION, eb = b.i >> FRACTION;
    J ma = a.i & (one - 1), mb = b.i & (one - 1);
    if (ea) ma |= one; else ea = 1;
    if (eb) mb |= one; else eb = 1;
    if (ea < eb) return a.f;
    for (ma %= mb; ea > eb; ea--) {
        ma += ma;
        if (ma >= mb) ma -= mb;
    }
    for (; ma < one && ea > 1; ea--) ma += ma;
    a.i = ma < one ? ma : (ma - one) | (ea << FRACTION);
    return a.f;
}
NOINLINE V v_fmod(V x, V y) {
    V r = x;
    for (int i = 0; i < LANES; i++) {
        const J inf = (J)(2 * BIAS + 1) << FRACTION;
        J a = ((I)x)[i] & ~SIGN, b = ((I)y)[i] & ~SIGN;
        if (a >= inf || b > inf || b == 0) r[i] = NAN_;
        else if (a >= b) r[i] = fmod_lane(x[i], y[i]);
    }
    return (V)(((I)r & KI(~SIGN)) | (I)vsign(x));
}
