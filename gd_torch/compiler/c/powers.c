/* Powers, logarithms, hyperbolic functions and their inverses, and erf, in float64. */
/*@ wide: polynomials float64_constants */
/* Double-double arithmetic: *low receives the rounding error of the result. */
INLINE V product(V a, V b, V *low) {
    V p = a * b;
    *low = vfma(a, b, -p);
    return p;
}
INLINE V sum(V a, V b, V *low) {
    V s = a + b, v = s - a;
    *low = (a - (s - v)) + (b - v);
    return s;
}
INLINE V ordered_sum(V a, V b, V *low) { /* |a| >= |b| or a == 0 */
    V s = a + b;
    *low = (a - s) + b;
    return s;
}

/*@ wide_exp: exp_parts wide */
/* exp(x + low) = 2^n * (y + *rest); |low| is at most some units in the last place of x. */
INLINE V wide_exp(V x, V low, V *rest, I *n) {
    V shifted = vfma(x, K(LOG2_E), K(MAGIC)), k = shifted - K(MAGIC), tail;
    V r = vfma(k, K(-LN2), x); /* exact */
    r = ordered_sum(r, vfma(k, K(-LN2_LOW), low), &tail);
    V t = vfma(r * r, vfma(r, POLY_EXP(r), K(0.5)), tail);
    *n = (I)shifted;
    V p = ordered_sum(r, t, &tail), y = ordered_sum(K(1), p, rest);
    *rest = *rest + tail;
    return y;
}

/*@ exp2: wide_exp */
NOINLINE V v_exp2(V x) {
    V c = greater(K(-1080), lesser(K(1025), x)), shifted = c + K(MAGIC);
    V r = c - (shifted - K(MAGIC)), low, rest;
    I n;
    r = product(r, K(LN2), &low);
    V y = wide_exp(r, vfma(c - (shifted - K(MAGIC)), K(LN2_LOW), low), &rest, &n);
    return scaled(y + rest, n + (I)shifted);
}

/*@ wide_log: log_parts wide */
/* log(x) = result + *low to about 2^-64 of the result, for 0 < x < infinity. */
INLINE V wide_log(V x, V *low) {
    V k, m = log_split(x, &k), f = m - K(1);
    V dl, zl, al, bl, cl, l, kl;
    V d = ordered_sum(K(2), f, &dl);
    V s = f / d, sl = vfma(-s, dl, vfma(-s, d, f)) / d;
    V z = product(s, s, &zl);
    zl = vfma(s + s, sl, zl);
    V a = ordered_sum(K(0x1.5555555555555p-1), z * POLY(8, z, WIDE_LOG_TERMS), &al);
    al = al + K(0x1.5555555555555p-55);
    V b = product(z, a, &bl);
    bl = bl + vfma(z, al, zl * a);
    V c = product(s, b, &cl);
    cl = cl + vfma(s, bl, sl * b);
    V h = ordered_sum(s + s, c, &l);
    l = l + (cl + (sl + sl));
    V y = ordered_sum(k * K(LN2_SHORT), h, &kl); /* the product is exact */
    l = kl + vfma(k, K(LN2_SHORT_LOW), l);
    return ordered_sum(y, l, low);
}
/* log(x) / log(base) for the inverse of log(base) as a sum of two numbers. */
INLINE V log_over(V x, double inverse, double inverse_low) {
    V low, pl, hi = wide_log(x, &low);
    V p = product(hi, K(inverse), &pl);
    return log_special(x, p + vfma(low, K(inverse), vfma(hi, K(inverse_low), pl)));
}

/*@ log2: wide_log */
NOINLINE V v_log2(V x) { return log_over(x, LOG2_E, LOG2_E_LOW); }
/*@ log10: wide_log */
NOINLINE V v_log10(V x) { return log_over(x, LOG10_E, LOG10_E_LOW); }

/*@ pow: wide_log wide_exp trunc */
/* The special cases are those of C99, annex F. */
NOINLINE V v_pow(V x, V y) {
    V a = vabs(x), b = vabs(y), low, pl, rest;
    I n, integral = v_trunc(y) == y, odd = integral & (v_trunc(y * K(0.5)) != y * K(0.5));
    V hi = wide_log(a, &low), p = product(y, hi, &pl);
    pl = vfma(y, low, pl);
    pl = SEL(vabs(p) < K(800), pl, K(0));
    p = greater(K(-800), lesser(K(800), p));
    V e = wide_exp(p, pl, &rest, &n), z = scaled(e + rest, n);
    I up = ((a > K(1)) & (y > K(0))) | ((a < K(1)) & (y < K(0)));
    V far = SEL(a == K(1), K(1), SEL(up, K(INF_), K(0)));
    z = SEL((b == K(INF_)) | (a == K(INF_)) | (a == K(0)), far, z);
    z = SEL((x < K(0)) & (a < K(INF_)) & (b < K(INF_)) & ~integral, K(NAN_), z);
    z = (V)((I)z ^ ((I)vsign(x) & odd));
    z = SEL((x != x) | (y != y), x + y, z);
    return SEL((y == K(0)) | (x == K(1)), K(1), z);
}

/*@ sinh: wide_exp */
NOINLINE V v_sinh(V x) {
    V a = vabs(x), z = a * a, rest;
    I n;
    V e = wide_exp(lesser(K(711), a), K(0), &rest, &n);
    e = scaled(e + rest, n - KI(1));
    V y = SEL(a < K(1), vfma(a * z, POLY(7, z, SINH_TERMS), a), e - K(0.25) / e);
    return vcopysign(y, vsign(x));
}
/*@ cosh: wide_exp */
NOINLINE V v_cosh(V x) {
    V rest;
    I n;
    V e = wide_exp(lesser(K(711), vabs(x)), K(0), &rest, &n);
    e = scaled(e + rest, n - KI(1));
    return e + K(0.25) / e;
}
/*@ asinh: log1p */
NOINLINE V v_asinh(V x) {
    V a = vabs(x);
    I big = a > K(0x1p28);
    V z = SEL(big, K(0), a * a);
    V y = v_log1p(SEL(big, a - K(1), a) + z / (K(1) + vsqrt(K(1) + z))) + SEL(big, K(LN2), K(0));
    return vcopysign(y, vsign(x));
}
/*@ acosh: log1p */
NOINLINE V v_acosh(V x) {
    I big = x > K(0x1p28);
    V t = x - K(1), s = SEL(big, K(0), t);
    V y = v_log1p(SEL(big, t, t + vsqrt(vfma(s, s, s + s))));
    return SEL(x < K(1), K(NAN_), y + SEL(big, K(LN2), K(0)));
}
/*@ atanh: log1p */
NOINLINE V v_atanh(V x) {
    V a = vabs(x), b = a + a;
    V y = K(0.5) * v_log1p(vfma(b, a / (K(1) - a), b));
    y = SEL(a > K(1), K(NAN_), SEL(a < K(0x1p-28), a, y));
    return vcopysign(y, vsign(x));
}

/*@ erf_parts: wide_exp */
INLINE V erf_near(V a) { /* 0 <= a <= 1 */
    return vfma(a, POLY(12, a * a, ERF_TERMS), a);
}
/* exp(-a^2) * F((a - 3) / (a + 3)) / (1 + 2 a) */
INLINE V erfc_far(V a) {
    V x = lesser(K(28), a), sl, yl, dl, fl;
    V s = product(x, x, &sl);
    I n;
    V y = wide_exp(-s, -sl, &yl, &n);
    V t = (x - K(3)) / (x + K(3)), z = t * t;
    V u = vfma(t, POLY(12, z, ERFC_ODD), z * POLY(11, z, ERFC_EVEN));
    V f = ordered_sum(K(ERFC_MIDDLE), u, &fl), d = sum(x + x, K(1), &dl);
    V g = f / d, gl = (vfma(-g, dl, vfma(-g, d, f)) + fl) / d, low;
    V p = product(y, g, &low);
    return scaled(p + (low + vfma(y, gl, yl * g)), n);
}
/*@ erf: erf_parts */
NOINLINE V v_erf(V x) {
    V a = vabs(x);
    V y = SEL(a < K(1), erf_near(a), K(1) - erfc_far(a));
    return vcopysign(y, vsign(x));
}
/*@ erfc: erf_parts */
NOINLINE V v_erfc(V x) {
    V a = vabs(x), y = erfc_far(a), near = erf_near(a);
    I negative = x < K(0);
    near = K(1) - vcopysign(near, vsign(x));
    return SEL(a < K(ERFC_FROM), near, SEL(negative, K(2) - y, y));
}
