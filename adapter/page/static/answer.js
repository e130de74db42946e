// An answer as people read it: probabilities as bars, one value large, all else as a table; an error in its own words.

import { shareBar } from "./charts.js";
import { el } from "./dom.js";
import { kindOf } from "./fields.js";
import { milliseconds, short } from "./numbers.js";

const MOST_ROWS = 100;
// More rows than these are a table, and more classes are only the likeliest.
const MOST_BARS = { rows: 3, classes: 12 };
const REMEDIES = {
  0: "Is it running, and is this address still right?",
  401: "The key is missing or no longer valid.",
  403: "The key in use does not allow this model.",
  429: "This client's quota is used up for now.",
  503: "The model or the server cannot take the request now.",
  504: "The deadline passed before the model answered.",
};

function isScores(row, output) {
  if (!Array.isArray(row) || row.length < 2 || kindOf(output.dtype) !== "number") return false;
  return row.every((value) => typeof value === "number" && value >= 0 && value <= 1)
    && Math.abs(row.reduce((sum, value) => sum + value, 0) - 1) < 1e-3;
}

function percent(share) {
  const value = share * 100;
  return value > 0 && value < 0.01 ? "< 0.01 %" : `${value.toFixed(value >= 10 && value <= 99.9 ? 1 : 2)} %`;
}

function bars(row, names, title) {
  const best = row.indexOf(Math.max(...row));
  const order = row.map((_, i) => i);
  if (row.length > MOST_BARS.classes) order.sort((a, b) => row[b] - row[a]);
  const shown = order.slice(0, MOST_BARS.classes);
  const lines = shown.map((i) => el("li", { class: i === best ? "best" : null },
    el("span", { class: "name" }, names[i]), shareBar(row[i]), el("span", { class: "value", title: String(row[i]) }, percent(row[i]))));
  const left = row.length - shown.length;
  return el("div", { class: "scores" }, title && el("h4", {}, title), el("ul", { class: "bars" }, lines),
    left > 0 ? el("p", { class: "hint" }, `and ${left} classes less likely`) : null);
}

function cell(value) {
  if (value === null) return el("td", { class: "null" }, "null");
  if (typeof value === "number") return el("td", { class: "number" }, String(value));
  return el("td", {}, typeof value === "string" ? value : JSON.stringify(value));
}

function table(rows, names) {
  const wide = Array.isArray(rows[0]);
  const heads = wide ? rows[0].map((_, i) => names?.[i] ?? (rows[0].length === 1 ? "value" : String(i))) : ["value"];
  const body = rows.slice(0, MOST_ROWS).map((row, i) =>
    el("tr", {}, el("th", { scope: "row" }, String(i)), (wide ? row : [row]).map(cell)));
  return el("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": "Predictions" },
    el("table", { class: "predictions" },
      el("thead", {}, el("tr", {}, el("th", { scope: "col" }, "row"), heads.map((head) => el("th", { scope: "col" }, head)))),
      el("tbody", {}, body)),
    rows.length > MOST_ROWS ? el("p", { class: "hint" }, `and ${rows.length - MOST_ROWS} more rows`) : null);
}

/** Return the name of a class for an output that has its label or its place, else the value itself. */
function named(value, info, output) {
  const classes = info.classes;
  const texts = classes?.some((label) => typeof label !== "number" || !Number.isInteger(label));
  if (!classes || !texts || kindOf(output.dtype) !== "integer") return null;
  return classes[value] === undefined ? null : String(classes[value]);
}

function showOutput(rows, output, info) {
  const classes = info.classes?.map(String);
  const fits = classes && Array.isArray(rows[0]) && rows[0].length === classes.length && classes.length > 1;
  if (rows.length && rows.length <= MOST_BARS.rows && rows.every((row) => isScores(row, output))) {
    const names = fits ? classes : rows[0].map((_, i) => `class ${i}`);
    return rows.map((row, i) => bars(row, names, rows.length > 1 ? `row ${i}` : null));
  }
  const alone = rows.length === 1 ? [rows[0]].flat(Infinity) : [];
  if (alone.length === 1 && alone[0] !== null) {
    const label = named(alone[0], info, output);
    const more = label === null ? null : el("span", { class: "hint" }, `place ${alone[0]} among the classes`);
    return [el("p", { class: "single" }, label ?? String(alone[0])), more];
  }
  return rows.length ? [table(rows, fits ? classes : null)] : [el("p", { class: "hint" }, "no rows")];
}

/** Show an answer of 200 in a node. */
export function showAnswer(node, info, answer) {
  const predictions = answer.body.predictions;
  const outputs = Array.isArray(predictions) ? [[info.outputs[0], predictions]]
    : info.outputs.map((output) => [output, predictions[output.name]]);
  const parts = outputs.map(([output, rows]) => el("div", { class: "output" },
    outputs.length > 1 ? el("h4", {}, output.name) : null, showOutput(rows, output, info)));
  const raw = el("details", {}, el("summary", {}, "As JSON"), el("pre", { class: "raw", tabindex: "0" }, answer.text.slice(0, 20000)));
  const head = el("p", { class: "verdict" }, el("span", { class: "pill ready" }, String(answer.status)),
    el("span", {}, milliseconds(answer.milliseconds)), el("span", { class: "hint id" }, answer.requestId));
  node.replaceChildren(head, ...parts, raw);
}

/** Show an error in a node: what the server said, and what it may mean. */
export function showError(node, refusal) {
  const remedy = REMEDIES[refusal.status];
  const wait = refusal.retryAfter ? `Try again in ${short(Number(refusal.retryAfter))} s.` : "";
  const head = el("p", { class: "verdict" },
    el("span", { class: "pill failed" }, refusal.status ? String(refusal.status) : "no answer"),
    refusal.code ? el("code", {}, refusal.code) : null, el("span", { class: "hint id" }, refusal.requestId));
  node.replaceChildren(el("div", { class: "error" }, head, el("p", { class: "said" }, refusal.message),
    remedy || wait ? el("p", { class: "hint" }, [remedy, wait].filter(Boolean).join(" ")) : null));
}
