/* Constants of float32. The polynomials are minimax fits, computed by the Remez exchange algorithm
   with 60 digits in mpmath; the coefficients are rounded to nearest. */
#define FRACTION 23
#define BIAS 127
#define TWO_FRACTION 0x1p23f
#define MAGIC 0x1.8p23f
#define LEAST_NORMAL 0x1p-126f
#define TINY 0x1p-26f
#define ROOT_HALF 0x3f3504f3
#define LOG2_E 0x1.715476p+0f
#define LN2 0x1.62e43p-1f
#define LN2_LOW -0x1.05c61p-29f
#define EXP_HIGH 89.0f
#define SIGMOID_HIGH 88.0f
#define EXP_LOW -104.0f
/* (exp(r) - 1 - r - r^2 / 2) / r^3, |r| <= ln(2) / 2 */
/* 4 terms; error at most 2^-28.2 of the function */
#define EXP_TERMS \
    0x1.55549p-3f, 0x1.5554bcp-5f, 0x1.123ba8p-7f, 0x1.6d7f56p-10f
#define POLY_EXP(r) POLY(4, r, EXP_TERMS)
/* (tanh(x) - x) / x^3 of z = x^2, x <= 0.98 */
/* 7 terms; error at most 2^-28.3 of the function */
#define TANH_TERMS \
    -0x1.555542p-2f, 0x1.110d12p-3f, -0x1.b9841cp-5f, 0x1.60e784p-6f, -0x1.073a6p-7f, \
    0x1.36d30ap-9f, -0x1.8ee752p-12f
#define POLY_TANH(z) POLY(7, z, TANH_TERMS)
/* (log(1 + f) - f + f^2 / 2) / f^3 */
/* 8 terms; error at most 2^-27.3 of the function */
#define LOG_TERMS \
    0x1.55554ap-2f, -0x1.00022p-2f, 0x1.99a5a2p-3f, -0x1.547842p-3f, 0x1.226cf8p-3f, \
    -0x1.0ce214p-3f, 0x1.07db34p-3f, -0x1.41fed2p-4f
/*@ log_core: log_parts */
/* log(1 + f + low) + k * ln(2). */
INLINE V log_core(V f, V low, V k) {
    V q = vfma(f, POLY(8, f, LOG_TERMS), K(-0.5f));
    V rest = vfma(k, K(LN2_LOW), vfma(f * f, q, low));
    return vfma(k, K(LN2), f + rest);
}
