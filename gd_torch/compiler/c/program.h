/* Functions of every program: mask of valid rows, strided access to rows, the norm. */
#define IN_REGISTER(x) __asm__("" : REGISTER_(x)) /* force into a register */
INLINE I valid_rows(long first, long rows) { /* lanes of rows before `rows`: all bits 1 */
    I lane;
    for (int i = 0; i < LANES; i++) lane[i] = i;
    return lane < KI((J)(rows - first < LANES ? (rows - first < 0 ? 0 : rows - first) : LANES));
}
INLINE V load_strided(const T *p, long step) {
    V x;
    for (int i = 0; i < LANES; i++) x[i] = p[i * step];
    return x;
}
INLINE I load_strided_masks(const T *p, long step) {
    I x;
    for (int i = 0; i < LANES; i++) x[i] = ((const J *)p)[i * step];
    return x;
}
INLINE void store_strided(T *p, long step, long rows, V x) {
    for (int i = 0; i < LANES; i++) if (i < rows) p[i * step] = x[i];
}
INLINE void store_strided_masks(T *p, long step, long rows, I x) {
    for (int i = 0; i < LANES; i++) if (i < rows) ((J *)p)[i * step] = x[i];
}
INLINE T lane_product(const V *x) {
    T p = 1;
    for (int h = 0; h < H; h++) for (int i = 0; i < LANES; i++) p *= x[h][i];
    return p;
}
/* Round a bound up to type T: for x of type T, x < bound if and only if x < the result. */
static __attribute__((unused)) T round_up(double bound) {
    T near = (T)bound;
    if ((double)near < bound) {
        J bits;
        __builtin_memcpy(&bits, &near, sizeof near);
        bits += near < 0 ? -1 : 1;
        __builtin_memcpy(&near, &bits, sizeof near);
    }
    return near;
}
/* The Euclidean norm, scaled by the largest entry if a square could overflow or underflow. */
static __attribute__((unused)) T euclidean_norm(const T *g, long count) {
    V sums[H];
    for (int h = 0; h < H; h++) sums[h] = K(0);
    const long width = LANES * H;
    long i = 0;
    for (; i + width <= count; i += width)
        for (int h = 0; h < H; h++) {
            const V x = *(const VU *)(g + i + h * LANES);
            sums[h] = vfma(x, x, sums[h]);
        }
    T squares = count >= width ? lane_sum(sums) : 0;
    for (; i < count; i++) squares = s_fma(g[i], g[i], squares);
    if (squares > TINY_SQUARE && squares < HUGE_SQUARE) return s_sqrt(squares);
    T peak = 0;
    for (i = 0; i < count; i++) peak = s_max(peak, s_abs(g[i]));
    if (!(peak > 0 && peak < INF_)) return peak;
    squares = 0;
    for (i = 0; i < count; i++) squares = s_fma(g[i] / peak, g[i] / peak, squares);
    return s_sqrt(squares) * peak;
}
