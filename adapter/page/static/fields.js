// One value of a row, as a field of the form. Numbers are sent as they were typed: a number of JavaScript would round
// the last digits of an int64.

import { el } from "./dom.js";

const NUMBER = /^-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d+)?$/;
const INTEGER = /^-?(0|[1-9]\d*)(\.0+)?$/;

/** What is wrong with a field, and the field, to put the focus there. */
export class FieldError extends Error {
  constructor(message, input) {
    super(message);
    this.input = input;
  }
}

/** Return what JSON has for a dtype. */
export function kindOf(dtype) {
  if (dtype === "string") return "string";
  if (dtype === "bool") return "boolean";
  return /^u?int/.test(dtype) ? "integer" : "number";
}

function control(kind, nullable, id) {
  if (kind === "boolean") {
    return el("select", { id }, el("option", { value: "true" }, "true"), el("option", { value: "false" }, "false"));
  }
  const hint = nullable ? "missing" : kind === "string" ? "" : "0";
  const mode = kind === "string" ? null : kind === "integer" ? "numeric" : "decimal";
  return el("input", { id, type: "text", inputmode: mode, placeholder: hint, autocomplete: "off", spellcheck: "false" });
}

/** Make a field: its node, `literal()`, which returns its value as JSON or throws FieldError, and `fill(value)`. */
export function valueField({ label, dtype, nullable = false }, id) {
  const kind = kindOf(dtype);
  const input = control(kind, nullable, id);
  const note = nullable ? `${dtype}, may be empty` : dtype;
  const node = el("div", { class: "field" },
    el("label", { for: id, title: label }, label), input, el("span", { class: "hint", id: `${id}-hint` }, note));
  input.setAttribute("aria-describedby", `${id}-hint`);
  input.addEventListener("input", () => input.removeAttribute("aria-invalid"));

  function literal() {
    const text = kind === "string" ? input.value : input.value.trim();
    if (text === "" && nullable) return "null";
    if (kind === "boolean") return text;
    if (kind === "string") return JSON.stringify(text);
    const wanted = kind === "integer" ? INTEGER : NUMBER;
    if (!wanted.test(text)) {
      input.setAttribute("aria-invalid", "true");
      const got = text === "" ? "it is empty" : `not ${JSON.stringify(text)}`;
      throw new FieldError(`${label}: ${kind === "integer" ? "an integer" : "a number"} is needed, ${got}.`, input);
    }
    return text;
  }

  function fill(value) {
    input.value = value === null ? "" : String(value);
    input.removeAttribute("aria-invalid");
  }
  return { node, literal, fill };
}

/** The same for one text, which may be long. */
export function textField(label, nullable, id) {
  const input = el("textarea", { id, rows: 3, spellcheck: "false", placeholder: nullable ? "missing" : "" });
  const node = el("div", { class: "field wide" }, el("label", { for: id }, label), input);
  const literal = () => (input.value === "" && nullable ? "null" : JSON.stringify(input.value));
  return { node, literal, fill: (value) => { input.value = value ?? ""; } };
}

/** The same for a value of several axes or of many numbers, written as JSON. */
export function jsonField(label, hint, id) {
  const input = el("textarea", { id, rows: 6, class: "code", spellcheck: "false", "aria-describedby": `${id}-hint` });
  input.addEventListener("input", () => input.removeAttribute("aria-invalid"));
  const node = el("div", { class: "field wide" },
    el("label", { for: id }, label), input, el("span", { class: "hint", id: `${id}-hint` }, hint));

  function literal() {
    try {
      JSON.parse(input.value);
    } catch (error) {
      input.setAttribute("aria-invalid", "true");
      throw new FieldError(`${label}: this is not JSON: ${error.message}`, input);
    }
    return input.value.trim();
  }
  return { node, literal, fill: (value) => { input.value = value === undefined ? "" : JSON.stringify(value); } };
}
