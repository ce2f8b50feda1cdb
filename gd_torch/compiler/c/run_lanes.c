/* Independent runs first to end - 1, as the lanes of vectors; a block ends with its last run.
   weights, rates and partials: COUNT rows of `padded` runs; steps, codes, losses, norms: one per run. */
__attribute__((visibility("default"))) void run_lanes(
    T *weights, const T *rates, T *partials, J *steps, J *codes, T *losses, T *norms,
    long first, long end, long padded, long limit, double tolerance_,
    const T *uni, const T *sca, const int *tab
) {
    const T tolerance = least_not_below(tolerance_);
    for (long c = first; c < end; c += U * H * LANES) {
        V w[COUNT * U * H], r[COUNT * U * H], g[COUNT * U * H], last[COUNT * U * H];
        V loss[U * H], l[U * H], norm[U * H];
        I code[U * H], made[U * H];
        for (long i = 0; i < COUNT; i++)
            for (int u = 0; u < U * H; u++) {
                last[i * U * H + u] = K(0);
                w[i * U * H + u] = *(const VU *)(weights + i * padded + c + u * LANES);
                r[i * U * H + u] = *(const VU *)(rates + i * padded + c + u * LANES);
            }
        for (int u = 0; u < U * H; u++) {
            code[u] = made[u] = KI(0);
            loss[u] = norm[u] = K(0);
        }
        for (long step = 0;; step++) {
            evaluate(w, g, l, uni, sca, tab);
            I left = KI(0);
            for (int u = 0; u < U * H; u++) {
                V squares = K(0);
                I lost = KI(0), gone = KI(0), unsafe;
                for (long i = 0; i < COUNT; i++) {
                    const V d = g[i * U * H + u];
                    const V m = vfma(-r[i * U * H + u], d, w[i * U * H + u]);
                    squares = vfma(d, d, squares);
                    lost |= ~(vabs(d) < INF_);
                    gone |= ~(vabs(m) < INF_);
                }
                V n = vsqrt(squares);
                unsafe = ~((squares > TINY_SQUARE) & (squares < HUGE_SQUARE));
                if (any(unsafe & (code[u] == 0))) {
                    V peak = K(0), sum = K(0);
                    for (long i = 0; i < COUNT; i++) peak = vmax(peak, vabs(g[i * U * H + u]));
                    const I usable = (peak > 0) & (peak < INF_);
                    const V scale = SEL(usable, peak, K(1));
                    for (long i = 0; i < COUNT; i++) {
                        const V d = g[i * U * H + u] / scale;
                        sum = vfma(d, d, sum);
                    }
                    n = SEL(unsafe, SEL(usable, vsqrt(sum) * peak, peak), n);
                }
                I now = gone & KI(WEIGHT);
                if (step >= limit) now = KI(STEPS);
                now = (I)SEL(n < tolerance, (V)KI(TOLERANCE), (V)now);
                now = (I)SEL(lost, (V)KI(GRADIENT), (V)now);
                now = (I)SEL(~(vabs(l[u]) < INF_), (V)KI(LOSS), (V)now);
                I alive = code[u] == 0;
                loss[u] = SEL(alive, l[u], loss[u]);
                norm[u] = SEL(alive, n, norm[u]);
                if (any(alive & (now != 0)))
                    for (long i = 0; i < COUNT; i++) {
                        const long k = i * U * H + u;
                        last[k] = SEL(alive & (now != 0), g[k], last[k]);
                    }
                code[u] |= alive & now;
                alive = code[u] == 0;
                made[u] -= alive;
                left |= alive;
                for (long i = 0; i < COUNT; i++) {
                    const long k = i * U * H + u;
                    w[k] = SEL(alive, vfma(-r[k], g[k], w[k]), w[k]);
                }
            }
            if (!any(left)) break;
        }
        for (long i = 0; i < COUNT; i++)
            for (int u = 0; u < U * H; u++) {
                *(VU *)(weights + i * padded + c + u * LANES) = w[i * U * H + u];
                *(VU *)(partials + i * padded + c + u * LANES) = last[i * U * H + u];
            }
        for (int u = 0; u < U * H; u++) {
            *(IU *)(steps + c + u * LANES) = made[u];
            *(IU *)(codes + c + u * LANES) = code[u];
            *(VU *)(losses + c + u * LANES) = loss[u];
            *(VU *)(norms + c + u * LANES) = norm[u];
        }
    }
}
