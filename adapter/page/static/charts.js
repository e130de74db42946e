// Sparklines of the last two minutes, as SVG: the newest at the right, a gap where nothing was.

import { svg } from "./dom.js";
import { KEPT } from "./numbers.js";

const WIDTH = 240;
const HEIGHT = 48;
const STEP = WIDTH / (KEPT - 1);

function path(values, most) {
  const first = KEPT - values.length;
  let line = "";
  let down = false;
  values.forEach((value, i) => {
    if (value === null || value === undefined) {
      down = false;
      return;
    }
    const x = ((first + i) * STEP).toFixed(1);
    const y = (HEIGHT - 2 - (Math.min(value, most) / most) * (HEIGHT - 6)).toFixed(1);
    // A point alone is a short line.
    line += down ? `L${x} ${y}` : `M${x} ${y}h2`;
    down = true;
  });
  return line;
}

/** A chart of one or more series. `kinds` are the classes of their lines; the first may have an area below it. */
export class Sparkline {
  constructor(label, kinds, area = false) {
    this.label = label;
    this.lines = kinds.map((kind) => svg("path", { class: `line ${kind}`, "vector-effect": "non-scaling-stroke" }));
    this.area = area ? svg("path", { class: `area ${kinds[0]}` }) : null;
    const ground = svg("path", { class: "ground", d: `M0 ${HEIGHT - 1}H${WIDTH}`, "vector-effect": "non-scaling-stroke" });
    this.node = svg("svg", {
      class: "spark", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label,
    }, ground, this.area, [...this.lines].reverse());
  }

  /** Draw lists of numbers, of which each may be null; `least` is the least that the height stands for. */
  draw(series, least, text) {
    const finite = series.flat().filter((value) => Number.isFinite(value));
    const most = Math.max(least, ...finite);
    series.forEach((values, i) => this.lines[i].setAttribute("d", path(values, most)));
    if (this.area) {
      const values = series[0].map((value) => value ?? 0);
      const first = ((KEPT - values.length) * STEP).toFixed(1);
      const line = path(values, most);
      this.area.setAttribute("d", line && `${line}V${HEIGHT - 1}H${first}Z`);
    }
    this.node.setAttribute("aria-label", `${this.label}: ${text}`);
  }
}

/** A strip that has the colour of the regime at each moment. */
export class Strip {
  constructor(label) {
    this.label = label;
    this.node = svg("svg", {
      class: "spark strip", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", role: "img", "aria-label": label,
    });
  }

  /** Draw words; equal ones that follow each other are one bar, and a busier word is a higher bar. */
  draw(words, heights, text) {
    const bars = [];
    const width = WIDTH / KEPT;
    const first = KEPT - words.length;
    for (let i = 0; i < words.length; i++) {
      const begin = i;
      while (i + 1 < words.length && words[i + 1] === words[i]) i++;
      const height = HEIGHT * (heights[words[begin]] ?? 0.1);
      bars.push(svg("rect", {
        class: `bar ${words[begin]}`, x: ((first + begin) * width).toFixed(2), y: (HEIGHT - height).toFixed(1),
        width: ((i - begin + 1) * width + 0.2).toFixed(2), height: height.toFixed(1),
      }));
    }
    this.node.replaceChildren(...bars);
    this.node.setAttribute("aria-label", `${this.label}: ${text}`);
  }
}

/** Return a bar of a share between 0 and 1. */
export function shareBar(share) {
  const width = Math.max(0, Math.min(1, share)) * 100;
  return svg("svg", { class: "share", viewBox: "0 0 100 8", preserveAspectRatio: "none", "aria-hidden": "true" },
    svg("rect", { class: "track", width: 100, height: 8 }),
    svg("rect", { class: "part", width: width.toFixed(2), height: 8 }));
}
