/* Trigonometric functions and their inverses in float64. */
/*@ angle: wide */
/* |x| = k * pi / 2 + *r + *low with |*r| <= pi / 4, for a finite |x| >= 2^20 of any size. The
   192 relevant bits of 2 / pi are multiplied in integer arithmetic. The result is k modulo 4. */
static __attribute__((noinline, unused)) J angle_lane(T x, T *r, T *low) {
    typedef unsigned long long word;
    static const word two_over_pi[] = {0, /* a zero word, and the bits after the point */
        0xa2f9836e4e441529, 0xfc2757d1f534ddc0, 0xdb6295993c439041, 0xfe5163abdebbc561,
        0xb7246e3a424dd2e0, 0x06492eea09d1921c, 0xfe1deb1cb129a73e, 0xe88235f52ebb4484,
        0xe99c7026b45f7e41, 0x3991d639835339f4, 0x9c845f8bbdf9283b, 0x1ff897ffde05980f,
        0xef2f118b5a0a6d1f, 0x6d367ecf27cb09b7, 0x4f463f669e5fea2d, 0x7527bac7ebe5f17b,
        0x3d0739f78a5292ea, 0x6bfb5fb11f8d5d08, 0x56033046fc7b6bab, 0xf0cfbc209af4361d};
    union { T f; J i; } bits = {s_abs(x)}, unit;
    const int shift = (int)(bits.i >> 52) - 1075; /* |x| = m * 2^shift */
    const word m = (word)((bits.i & 0xfffffffffffffLL) | 1LL << 52);
    const int from = shift + 62; /* bits of greater weight give multiples of 4 */
    word w[3], p[3];
    for (int i = 0; i < 3; i++) {
        const int at = from + 64 * i;
        const word *const near = two_over_pi + at / 64;
        w[i] = at % 64 ? near[0] << at % 64 | near[1] >> (64 - at % 64) : near[0];
    }
    unsigned __int128 part = (unsigned __int128)m * w[2];
    p[2] = (word)part;
    part = (unsigned __int128)m * w[1] + (part >> 64);
    p[1] = (word)part;
    p[0] = m * w[0] + (word)(part >> 64);
    /* p, with its point after two bits, is |x| * 2 / pi modulo 4. */
    J k = (J)(p[0] >> 62);
    unsigned __int128 high = (unsigned __int128)(p[0] << 2 | p[1] >> 62) << 64;
    high |= p[1] << 2 | p[2] >> 62;
    word rest = p[2] << 2;
    const int upper = (int)(high >> 127); /* nearer to the next multiple */
    if (upper) {
        k++;
        rest = -rest;
        high = ~high + (rest == 0);
    }
    int zeros = 0;
    for (; zeros < 100 && !(high >> 127); zeros++) {
        high = high << 1 | rest >> 63;
        rest <<= 1;
    }
    unit.i = (J)(970 - zeros) << 52;
    T a = (T)(J)(high >> 75) * unit.f;
    T b = (T)(J)((word)(high >> 22) & 0x1fffffffffffffULL) * unit.f * 0x1p-53;
    if (upper) a = -a, b = -b;
    *r = a * HALF_PI;
    *low = s_fma(a, HALF_PI, -*r) + s_fma(a, HALF_PI_LOW, b * HALF_PI);
    return k;
}
/* x = k * pi / 2 + *r + *low; the result is k modulo 2^51, or modulo 4. */
INLINE I angle(V x, V *r, V *low) {
    V shifted = vfma(x, K(TWO_OVER_PI), K(MAGIC)), k = shifted - K(MAGIC), pl, tail;
    I n = (I)shifted - (I)K(MAGIC), far = ~(vabs(x) < K(0x1p20));
    V a = vfma(-k, K(HALF_PI), x), p = product(k, K(-HALF_PI_LOW), &pl); /* a is exact */
    a = sum(a, p, &tail);
    tail = vfma(k, K(-HALF_PI_LOWEST), tail + pl);
    *r = ordered_sum(a, tail, low);
    if (any(far))
        for (int i = 0; i < LANES; i++)
            if (far[i]) {
                T u = NAN_, v = NAN_;
                J turns = s_abs(x[i]) < INF_ ? angle_lane(x[i], &u, &v) : 0;
                (*r)[i] = x[i] < 0 ? -u : u;
                (*low)[i] = x[i] < 0 ? -v : v;
                n[i] = x[i] < 0 ? -turns : turns;
            }
    return n;
}
/* sin(r + low) and cos(r + low) for |r| <= pi / 4. */
INLINE V sin_part(V r, V low) {
    V z = r * r;
    V t = vfma(r * z, POLY(6, z, SIN_TERMS), low * vfma(z, K(-0.5), K(1)));
    return r + t;
}
INLINE V cos_part(V r, V low) {
    V z = r * r, half = K(0.5) * z, w = K(1) - half;
    return w + (((K(1) - w) - half) + vfma(z * z, POLY(6, z, COS_TERMS), -(r * low)));
}

/*@ sin: angle */
NOINLINE V v_sin(V x) {
    V r, low;
    I k = angle(x, &r, &low);
    V s = SEL((k & KI(1)) == KI(1), cos_part(r, low), sin_part(r, low));
    s = (V)((I)s ^ ((k & KI(2)) << 62));
    return SEL(vabs(x) < K(0x1p-28), x, s);
}
/*@ cos: angle */
NOINLINE V v_cos(V x) {
    V r, low;
    I k = angle(x, &r, &low);
    V s = SEL((k & KI(1)) == KI(1), sin_part(r, low), cos_part(r, low));
    return (V)((I)s ^ (((k + KI(1)) & KI(2)) << 62));
}
/*@ tan: angle */
NOINLINE V v_tan(V x) {
    V r, low;
    I k = angle(x, &r, &low), odd = (k & KI(1)) == KI(1);
    V s = sin_part(r, low), c = cos_part(r, low);
    return SEL(vabs(x) < K(0x1p-28), x, SEL(odd, -c, s) / SEL(odd, s, c));
}

/*@ arc: wide */
/* asin(s + *tail) = s + result, where s = a, or s^2 = (1 - a) / 2 for the a above 1/2. */
INLINE V arc(V a, I big, V *s) {
    V z = SEL(big, (K(1) - a) * K(0.5), a * a), root = vsqrt(z);
    V c = vfma(-root, root, z) / greater(root + root, K(0x1p-500));
    *s = SEL(big, root, a);
    return vfma(*s * z, POLY(13, z, ASIN_TERMS), SEL(big, c, K(0)));
}
/*@ asin: arc */
NOINLINE V v_asin(V x) {
    V a = vabs(x), s;
    I big = a > K(0.5);
    V t = arc(a, big, &s);
    V y = K(HALF_PI) - ((s + s) + ((t + t) - K(HALF_PI_LOW)));
    return vcopysign(SEL(big, y, s + t), vsign(x));
}
/*@ acos: arc */
NOINLINE V v_acos(V x) {
    V a = vabs(x), s;
    I big = a > K(0.5), negative = x < K(0);
    V t = arc(a, big, &s), y = s + t;
    s = (V)((I)s ^ (I)vsign(x));
    t = (V)((I)t ^ (I)vsign(x));
    V middle = K(HALF_PI) - (s - (K(HALF_PI_LOW) - t));
    V under = K(2 * HALF_PI) + ((s + s) + (K(2 * HALF_PI_LOW) + (t + t)));
    return SEL(big, SEL(negative, under, y + y), middle);
}

/*@ turn: wide */
/* The angle of the point (x, y); y >= 0. */
INLINE V turn(V y, V x) {
    V a = vabs(x);
    I swap = y > a, left = (I)x < KI(0);
    V num = SEL(swap, a, y), den = SEL(swap, y, a), dl, nl;
    I infinite = den == K(INF_);
    num = SEL(infinite, SEL(num == K(INF_), K(1), K(0)), num);
    den = SEL(infinite | (den == K(0)), K(1), den);
    V unit = SEL(den > K(0x1p900), K(0x1p-200), SEL(den < K(0x1p-600), K(0x1p400), K(1)));
    num = num * unit;
    den = den * unit;
    I middle = num > K(0.41421356237309503) * den;
    V d = ordered_sum(den, num, &dl), n = -ordered_sum(den, -num, &nl); /* n - nl = num - den */
    d = SEL(middle, d, den);
    dl = SEL(middle, dl, K(0));
    n = SEL(middle, n, num);
    nl = SEL(middle, nl, K(0));
    V t = n / d, z = t * t;
    V low = (vfma(-t, d, n) - vfma(t, dl, nl)) / d;
    V c = vfma(t * z, POLY(11, z, ATAN_TERMS), low);
    I flip = (swap ^ left) & KI(SIGN);
    t = (V)((I)t ^ flip);
    c = (V)((I)c ^ flip);
    V eighths = SEL(middle, K(1), SEL(swap, K(2), K(0))); /* of a turn */
    eighths = SEL(left, K(4) - eighths, eighths);
    V bl, base = product(eighths, K(0.5 * HALF_PI), &bl);
    bl = vfma(eighths, K(0.5 * HALF_PI_LOW), bl);
    return base + (t + (c + bl));
}
/*@ atan: turn */
NOINLINE V v_atan(V x) { return vcopysign(turn(vabs(x), K(1)), vsign(x)); }
/*@ atan2: turn */
NOINLINE V v_atan2(V y, V x) {
    return SEL((x != x) | (y != y), x + y, vcopysign(turn(vabs(y), x), vsign(y)));
}
