/* Constants of float64. The polynomials are minimax fits, computed by the Remez exchange algorithm
   with 60 digits in mpmath; the coefficients are rounded to nearest. */
#define FRACTION 52
#define BIAS 1023
#define TWO_FRACTION 0x1p52
#define MAGIC 0x1.8p52
#define LEAST_NORMAL 0x1p-1022
#define TINY 0x1p-55
#define ROOT_HALF 0x3fe6a09e667f3bcdLL
#define LOG2_E 0x1.71547652b82fep+0
#define LN2 0x1.62e42fefa39efp-1
#define LN2_LOW 0x1.abc9e3b39803fp-56
#define EXP_HIGH 710.0
#define SIGMOID_HIGH 709.0
#define EXP_LOW -746.0
/* (exp(r) - 1 - r - r^2 / 2) / r^3, |r| <= ln(2) / 2 */
/* 10 terms; error at most 2^-63.9 of the function */
#define EXP_TERMS \
    0x1.555555555555cp-3, 0x1.555555555555ap-5, 0x1.111111110eb19p-7, 0x1.6c16c16c1409bp-10, \
    0x1.a01a01b3fd310p-13, 0x1.a01a01b238375p-16, 0x1.71ddeee2c14c0p-19, 0x1.27e4c244fefe7p-22, \
    0x1.af6e116eb451bp-26, 0x1.1f9a7ca64f8c8p-29
#define POLY_EXP(r) POLY(10, r, EXP_TERMS)
/* (tanh(x) - x) / x^3 of z = x^2, x <= 0.98 */
/* 16 terms; error at most 2^-60.8 of the function */
#define TANH_TERMS \
    -0x1.5555555555552p-2, 0x1.1111111110daep-3, -0x1.ba1ba1b9f6ae6p-5, 0x1.664f487c582c2p-6, \
    -0x1.226e34b405616p-7, 0x1.d6d3b9aa829b1p-9, -0x1.7da24b2eb65a2p-10, 0x1.354e8d1c99337p-11, \
    -0x1.f50192f63537cp-13, 0x1.9424a5ba7fdefp-14, -0x1.40d5591182cdap-15, \
    0x1.e57f0c3497ed6p-17, -0x1.488ec33e500e8p-18, 0x1.6747d523deb5cp-20, \
    -0x1.0f2fded3cff05p-22, 0x1.9a4f613a0e3b4p-26
#define POLY_TANH(z) POLY(16, z, TANH_TERMS)
/* (2 atanh(s) / s - 2) / z of z = s^2, s = f / (2 + f) */
/* 7 terms; error at most 2^-58.5 of the function */
#define LOG_TERMS \
    0x1.5555555555593p-1, 0x1.999999997fbd3p-2, 0x1.249249420dfb1p-2, 0x1.c71c51f05ad63p-3, \
    0x1.746644592b730p-3, 0x1.39a126a4facf9p-3, 0x1.2f0b8285f7defp-3
/*@ log_core: log_parts */
/* log(1 + f + low) + k * ln(2). */
INLINE V log_core(V f, V low, V k) {
    V s = f / (K(2) + f), z = s * s, half = K(0.5) * f * f;
    V w = vfma(s, vfma(z, POLY(7, z, LOG_TERMS), half), vfma(k, K(LN2_LOW), low));
    return vfma(k, K(LN2), f - (half - w));
}
