// A surface with paths: a button for each path; arrow keys rotate, + and - zoom, 0 resets the view.
const buttons = [...document.querySelectorAll("button[data-trace]")];
const home = structuredClone(page.layout.scene.camera.eye);

function sync() {
  for (const button of buttons) {
    const shown = picture.data[Number(button.dataset.trace)].visible;
    button.setAttribute("aria-pressed", String(shown === undefined || shown === true));
  }
}

function look(eye) {
  return Plotly.relayout(picture, { "scene.camera.eye": eye });
}

function turned(eye, sideways, upwards) {
  const flat = Math.hypot(eye.x, eye.y);
  const distance = Math.hypot(flat, eye.z);
  const around = Math.atan2(eye.y, eye.x) + sideways;
  const up = Math.min(1.5, Math.max(-1.5, Math.atan2(eye.z, flat) + upwards));
  return {
    x: distance * Math.cos(up) * Math.cos(around),
    y: distance * Math.cos(up) * Math.sin(around),
    z: distance * Math.sin(up),
  };
}

function nearer(eye, factor) {
  return { x: eye.x * factor, y: eye.y * factor, z: eye.z * factor };
}

const turn = Math.PI / 24;
const keys = {
  ArrowLeft: (eye) => turned(eye, -turn, 0),
  ArrowRight: (eye) => turned(eye, turn, 0),
  ArrowUp: (eye) => turned(eye, 0, turn),
  ArrowDown: (eye) => turned(eye, 0, -turn),
  "+": (eye) => nearer(eye, 0.9),
  "-": (eye) => nearer(eye, 1 / 0.9),
  0: () => home,
};

document.addEventListener("keydown", (event) => {
  const move = keys[event.key];
  if (!move || event.ctrlKey || event.altKey || event.metaKey) return;
  event.preventDefault();
  look(move(picture.layout.scene.camera.eye));
});

for (const button of buttons) {
  button.addEventListener("click", () => {
    const show = button.getAttribute("aria-pressed") !== "true";
    Plotly.restyle(picture, { visible: show ? true : "legendonly" }, [Number(button.dataset.trace)]);
  });
}
document.getElementById("reset").addEventListener("click", () => look(home));

draw().then(() => {
  picture.on("plotly_restyle", sync);
  sync();
});
