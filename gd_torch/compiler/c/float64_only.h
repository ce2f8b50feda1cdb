/* Constants of the functions in powers.c and trigonometric.c; the fits are as in float64.h. */
/*@ float64_constants: */
#define LN2_SHORT 0x1.62e42fefa2000p-1 /* 40 bits */
#define LN2_SHORT_LOW 0x1.9ef35793c7673p-41
#define LOG2_E_LOW 0x1.777d0ffda0d24p-56
#define LOG10_E 0x1.bcb7b1526e50ep-2
#define LOG10_E_LOW 0x1.95355baaafad3p-57
#define HALF_PI 0x1.921fb54442d18p+0
#define HALF_PI_LOW 0x1.1a62633145c07p-54
#define HALF_PI_LOWEST -0x1.f1976b7ed8fbcp-110
#define TWO_OVER_PI 0x1.45f306dc9c883p-1
/* ((2 atanh(s) / s - 2) / z - 2 / 3) / z of z = s^2, s = f / (2 + f) */
/* 8 terms; error at most 2^-72.5 of the function */
#define WIDE_LOG_TERMS \
    0x1.9999999999996p-2, 0x1.2492492493044p-2, 0x1.c71c71c57ea27p-3, 0x1.745d18332d113p-3, \
    0x1.3b13627bb4e1fp-3, 0x1.1120be6adb656p-3, 0x1.de320b3d3ac9bp-4, 0x1.eb1cc7f00db3cp-4
/* (sinh(x) - x) / x^3 of z = x^2, x <= 1 */
/* 7 terms; error at most 2^-63.2 of the function */
#define SINH_TERMS \
    0x1.5555555555556p-3, 0x1.11111111110a0p-7, 0x1.a01a01a02932dp-13, 0x1.71de3a45e782fp-19, \
    0x1.ae6467735a3c8p-26, 0x1.611a34fe5a4ebp-33, 0x1.b4d111e912f89p-41
/* (sin(x) - x) / x^3 of z = x^2, x <= pi / 4 */
/* 6 terms; error at most 2^-58.0 of the function */
#define SIN_TERMS \
    -0x1.5555555555549p-3, 0x1.111111110f842p-7, -0x1.a01a019c0a472p-13, 0x1.71de357119200p-19, \
    -0x1.ae5e60db10ff0p-26, 0x1.5d9164c49162bp-33
/* (cos(x) - 1 + z / 2) / z^2 of z = x^2, x <= pi / 4 */
/* 6 terms; error at most 2^-64.2 of the function */
#define COS_TERMS \
    0x1.555555555554cp-5, -0x1.6c16c16c15142p-10, 0x1.a01a019cab9adp-16, \
    -0x1.27e4f8054d900p-22, 0x1.1ee9e8a1333f2p-29, -0x1.8facd97146ad0p-37
/* (asin(x) - x) / x^3 of z = x^2, x <= 1/2 */
/* 13 terms; error at most 2^-59.8 of the function */
#define ASIN_TERMS \
    0x1.5555555555578p-3, 0x1.333333332df04p-4, 0x1.6db6db722c14cp-5, 0x1.f1c71a8b644c8p-6, \
    0x1.6e8bdfec035abp-6, 0x1.1c49ddab5f28bp-6, 0x1.ca214b7edad42p-7, 0x1.7577584b93b93p-7, \
    0x1.618bc50961d7bp-7, 0x1.e14d14592ad8ep-9, 0x1.6505e6577cfefp-6, -0x1.59fb7f265b2c0p-6, \
    0x1.0be5cf56609ebp-5
/* (atan(x) - x) / x^3 of z = x^2, x <= tan(pi / 8) */
/* 11 terms; error at most 2^-59.5 of the function */
#define ATAN_TERMS \
    -0x1.555555555553dp-2, 0x1.99999999957cfp-3, -0x1.24924922a9bbcp-3, 0x1.c71c70e49cd14p-4, \
    -0x1.745cf8b0d682dp-4, 0x1.3b1115e8c68f6p-4, -0x1.10eb91bbe46ecp-4, 0x1.df0cf9ec5804bp-5, \
    -0x1.9cc7b8f0dce52p-5, 0x1.37b836e0a7cccp-5, -0x1.2526cc8bcb9cfp-6
/* erf(x) / x - 1 of z = x^2, x <= 1 */
/* 12 terms; error at most 2^-56.9 of the function */
#define ERF_TERMS \
    0x1.06eba8214db68p-3, -0x1.812746b0379c1p-2, 0x1.ce2f21a040fd3p-4, -0x1.b82ce31205098p-6, \
    0x1.565bccfa739aap-8, -0x1.c02db06ce656ep-11, 0x1.f9a2bede4777dp-14, \
    -0x1.f4ca8b5989e49p-17, 0x1.b9821d6b327b1p-20, -0x1.5c14978756fe1p-23, \
    0x1.d774591b2406dp-27, -0x1.acae89775d7e1p-31
/* erfc(x) exp(x^2) (1 + 2 x) of t = (x - 3) / (x + 3), 0.46 <= x <= 28 */
#define ERFC_FROM 0.47
/* 24 terms in all; error at most 2^-61.4 of the function */
#define ERFC_MIDDLE 0x1.40c522d7e4987p+0
#define ERFC_EVEN \
    -0x1.85a15c58aa609p-5, -0x1.e88b803a48aacp-4, -0x1.8574c40c0a787p-6, \
    0x1.ef1bdd7d10df3p-10, -0x1.b9128fd0fbdeep-14, 0x1.4c2d616fdfcccp-18, \
    -0x1.892d927b2c2c4p-21, 0x1.8041365e770fap-22, -0x1.30038d8db1706p-23, \
    0x1.57667856fb320p-25, -0x1.b0a2df4ff23dep-28
#define ERFC_ODD \
    -0x1.15c084bb9e8f3p-3, 0x1.098366a5b46eap-3, 0x1.17ca2877f01b8p-4, 0x1.4b884e46c8366p-9, \
    -0x1.98db519dc8c5bp-11, 0x1.065a487b2e0bbp-13, -0x1.513e1809c6eb8p-16, \
    0x1.d2525dec75bc9p-19, -0x1.4d255a2366a40p-21, 0x1.caa4470d7d8c4p-24, \
    -0x1.2269e4ff591edp-26, 0x1.244498c280778p-29
