"use strict";
// Shared by all pages: the data, the plot, and colours for light and dark mode.
const page = JSON.parse(document.getElementById("data").textContent);
const picture = document.getElementById("picture");
const dark = window.matchMedia("(prefers-color-scheme: dark)");

function colours() {
  const ink = dark.matches ? "#ececec" : "#222222";
  const grid = dark.matches ? "#3b424b" : "#d9d9d9";
  const all = { paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", "font.color": ink };
  for (const axis of page.axes) {
    all[axis + ".gridcolor"] = grid;
    all[axis + ".zerolinecolor"] = grid;
    all[axis + ".linecolor"] = grid;
  }
  return all;
}

function paint() {
  return Plotly.relayout(picture, colours());
}

async function draw() {
  await Plotly.newPlot(picture, page.data, page.layout, { displayModeBar: false, responsive: true });
  await paint();
  dark.addEventListener("change", paint);
}
