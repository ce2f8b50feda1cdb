/* Execute the independent runs first to end - 1 as lanes of vectors; a block of runs ends when all
   its runs have stopped. weights, rates and partials have the shape (COUNT, padded); steps, codes,
   losses and norms one number per run. */
__attribute__((visibility("default"))) void run_lanes(
    T *weights, const T *rates, T *partials, J *steps, J *codes, T *losses, T *norms,
    long first, long end, long padded, long limit, double tolerance_,
    const T *uni, const T *sca, const int *tab
) {
    const T tolerance = round_up(tolerance_);
    for (long c = first; c < end; c += U * H * LANES) {
        V w[COUNT * U * H], r[COUNT * U * H], g[COUNT * U * H], last[COUNT * U * H];
        V loss[U * H], l[U * H], norm[U * H];
        I code[U * H], step_count[U * H];
        for (long i = 0; i < COUNT; i++)
            for (int u = 0; u < U * H; u++) {
                last[i * U * H + u] = K(0);
                w[i * U * H + u] = *(const VU *)(weights + i * padded + c + u * LANES);
                r[i * U * H + u] = *(const VU *)(rates + i * padded + c + u * LANES);
            }
        for (int u = 0; u < U * H; u++) {
            code[u] = step_count[u] = KI(0);
            loss[u] = norm[u] = K(0);
        }
        for (long step = 0;; step++) {
            evaluate(w, g, l, uni, sca, tab);
            I running = KI(0);
            for (int u = 0; u < U * H; u++) {
                V squares = K(0);
                I bad_partial = KI(0), bad_weight = KI(0), unsafe;
                for (long i = 0; i < COUNT; i++) {
                    const V d = g[i * U * H + u];
                    const V m = vfma(-r[i * U * H + u], d, w[i * U * H + u]);
                    squares = vfma(d, d, squares);
                    bad_partial |= ~(vabs(d) < INF_);
                    bad_weight |= ~(vabs(m) < INF_);
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
                I new_code = bad_weight & KI(WEIGHT);
                if (step >= limit) new_code = KI(STEPS);
                new_code = (I)SEL(n < tolerance, (V)KI(TOLERANCE), (V)new_code);
                new_code = (I)SEL(bad_partial, (V)KI(GRADIENT), (V)new_code);
                new_code = (I)SEL(~(vabs(l[u]) < INF_), (V)KI(LOSS), (V)new_code);
                I alive = code[u] == 0;
                loss[u] = SEL(alive, l[u], loss[u]);
                norm[u] = SEL(alive, n, norm[u]);
                if (any(alive & (new_code != 0)))
                    for (long i = 0; i < COUNT; i++) {
                        const long k = i * U * H + u;
                        last[k] = SEL(alive & (new_code != 0), g[k], last[k]);
                    }
                code[u] |= alive & new_code;
                alive = code[u] == 0;
                step_count[u] -= alive;
                running |= alive;
                for (long i = 0; i < COUNT; i++) {
                    const long k = i * U * H + u;
                    w[k] = SEL(alive, vfma(-r[k], g[k], w[k]), w[k]);
                }
            }
            if (!any(running)) break;
        }
        for (long i = 0; i < COUNT; i++)
            for (int u = 0; u < U * H; u++) {
                *(VU *)(weights + i * padded + c + u * LANES) = w[i * U * H + u];
                *(VU *)(partials + i * padded + c + u * LANES) = last[i * U * H + u];
            }
        for (int u = 0; u < U * H; u++) {
            *(IU *)(steps + c + u * LANES) = step_count[u];
            *(IU *)(codes + c + u * LANES) = code[u];
            *(VU *)(losses + c + u * LANES) = loss[u];
            *(VU *)(norms + c + u * LANES) = norm[u];
        }
    }
}
