/* The state of one run, shared with Python (program.py: Run). */
typedef struct {
    T *weights, *partials;
    const T *rates;
    T *losses, *norms, *path;
    long long step, limit, period, slot, code;
    double tolerance;
    T loss, norm;
} Run;

/* Execute steps until the run stops or reaches step `limit`; evaluate the last point. */
__attribute__((visibility("default"))) void run(
    Run *r, const T *data, const T *uni, const T *sca, const int *tab, T *work
) {
    T LOCAL(w), LOCAL(g), LOCAL(m);
    T loss, norm = 0;
    long long step = r->step, code;
    const T tolerance = round_up(r->tolerance);
    for (long i = 0; i < COUNT; i++) w[i] = r->weights[i];
    for (;;) {
        loss = evaluate(w, g, data, uni, sca, tab, work);
        const int due = r->period && step % r->period == 0;
        J bad_partial = 0, bad_weight = 0;
        for (long i = 0; i < COUNT; i++) {
            m[i] = s_fma(-r->rates[i], g[i], w[i]);
            bad_partial |= -!(s_abs(g[i]) < INF_);
            bad_weight |= -!(s_abs(m[i]) < INF_);
        }
        code = bad_weight ? WEIGHT : 0;
        if (step >= r->limit) code = STEPS;
        if (tolerance > 0 || due || code) {
            norm = euclidean_norm(g, COUNT);
            if (norm < tolerance) code = TOLERANCE;
        }
        if (bad_partial) code = GRADIENT;
        if (!(s_abs(loss) < INF_)) code = LOSS;
        if (code) break;
        if (due) {
            r->losses[r->slot] = loss;
            r->norms[r->slot] = norm;
            for (long i = 0; i < COUNT; i++) r->path[r->slot * COUNT + i] = w[i];
            r->slot++;
        }
        for (long i = 0; i < COUNT; i++) w[i] = m[i];
        step++;
    }
    for (long i = 0; i < COUNT; i++) {
        r->weights[i] = w[i];
        r->partials[i] = g[i];
    }
    r->norm = euclidean_norm(g, COUNT);
    r->step = step;
    r->code = code;
    r->loss = loss;
}

/* Execute the runs first to end - 1 that have not stopped, each until it stops or its limit. */
__attribute__((visibility("default"))) void run_many(
    Run *runs, long first, long end,
    const T *data, const T *uni, const T *sca, const int *tab, T *work
) {
    for (long i = first; i < end; i++)
        if (!runs[i].code || runs[i].code == STEPS) run(runs + i, data, uni, sca, tab, work);
}
