// A descent on its curve: sliders for the learning rate and the step, and a play button.
const rate = document.getElementById("rate");
const step = document.getElementById("step");
const play = document.getElementById("play");
const status_line = document.getElementById("status");
let timer = null;

const real_minus = (text) => text.replace(/-/g, "\u2212");
const number = (value, digits) => real_minus(Number(value.toPrecision(digits)).toString());

function sentence(run, k) {
  const outside = run.w[k] < page.limits[0] || run.w[k] > page.limits[1];
  const where = `Step ${k}: w = ${number(run.w[k], 7)}, y = ${number(run.y[k], 7)}, slope ${number(run.slope[k], 4)}`;
  const next = k + 1 < run.w.length ? `; next step ${number(-run.rate * run.slope[k], 3)}` : "";
  return `${where}${outside ? " (outside the picture)" : ""}${next}. Whole run: ${run.outcome}`;
}

async function show() {
  const run = page.runs[Number(rate.value)];
  step.max = String(run.w.length - 1);
  const k = Number(step.value);
  const reach = 0.35;
  // Points of a diverging run beyond 1e15 are not drawn; the status line shows all of them.
  const last = run.y.findIndex((y) => Math.abs(y) > 1e15);
  const here = last < 0 || k < last ? [k] : [];
  const path = here.length ? k + 1 : last;
  const ends = here.flatMap(() => [run.w[k] - reach, run.w[k] + reach]);
  const lengths = run.w.slice(1).map((w, i) => Math.abs(w - run.w[i]));
  const numbers = lengths.map((_, i) => i + 1);
  document.getElementById("rate-value").textContent = number(run.rate, 3);
  document.getElementById("step-value").textContent = `${k} of ${run.w.length - 1}`;
  const decades = Math.log10(Math.max(...lengths) / Math.min(...lengths));
  await Plotly.update(picture, {
    x: [ends, run.w.slice(0, path), here.map(() => run.w[k]), numbers, numbers.slice(0, k)],
    y: [
      ends.map((w) => run.y[k] + run.slope[k] * (w - run.w[k])),
      run.y.slice(0, path), here.map(() => run.y[k]), lengths, lengths.slice(0, k),
    ],
  }, { "yaxis2.dtick": Math.max(1, Math.ceil(decades / 8)) }, page.moving);
  status_line.textContent = sentence(run, k);
}

function pause() {
  clearInterval(timer);
  timer = null;
  play.setAttribute("aria-pressed", "false");
  play.textContent = "Play";
}

function advance() {
  if (Number(step.value) >= Number(step.max)) return pause();
  step.value = String(Number(step.value) + 1);
  show();
}

play.addEventListener("click", () => {
  if (timer !== null) return pause();
  if (Number(step.value) >= Number(step.max)) step.value = "0";
  play.setAttribute("aria-pressed", "true");
  play.textContent = "Pause";
  timer = setInterval(advance, 150);
});
step.addEventListener("input", () => { pause(); show(); });
rate.addEventListener("input", show);

draw().then(show);
