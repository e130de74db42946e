// The form of one model, made from its signature: a row by fields, or any rows as JSON.

import { el, setText, tabs } from "./dom.js";
import { FieldError, jsonField, textField, valueField } from "./fields.js";

// A row of more values is written as JSON.
const MOST_FIELDS = 64;

function describe(input) {
  return `${input.dtype} [${input.shape.map((size) => (size === -1 ? "any" : size)).join(", ")}]`;
}

/** Return the fields of one input: what they send, and how the example's first row fills them. */
function inputFields(input, id) {
  const dims = input.shape.slice(1);
  if (input.dtype === "string" && !dims.length) {
    const field = textField(input.name, input.nullable, id);
    return { nodes: [field.node], literal: field.literal, fill: field.fill };
  }
  if (dims.length > 1 || (dims[0] ?? 1) < 0 || (dims[0] ?? 1) > MOST_FIELDS) {
    const field = jsonField(input.name, `one row: a list of shape [${dims.join(", ")}]`, id);
    return { nodes: [field.node], literal: field.literal, fill: field.fill };
  }
  const count = dims[0] ?? 1;
  const fields = Array.from({ length: count }, (_, i) => {
    const label = count === 1 ? input.name : `${input.name}[${i}]`;
    return valueField({ label, dtype: input.dtype, nullable: input.nullable }, `${id}-${i}`);
  });
  return {
    nodes: fields.map((field) => field.node),
    literal: () => `[${fields.map((field) => field.literal()).join(", ")}]`,
    fill: (row) => fields.forEach((field, i) => field.fill(row[i])),
  };
}

/** A record: named values, as models with columns take them. */
function recordFields(columns) {
  const fields = columns.map((column, i) => [column.name, valueField({ ...column, label: column.name }, `column-${i}`)]);
  return {
    nodes: fields.map(([, field]) => field.node),
    literal: () => `[{${fields.map(([name, field]) => `${JSON.stringify(name)}: ${field.literal()}`).join(", ")}}]`,
    fill: (features) => fields.forEach(([name, field]) => field.fill(features[0][name])),
  };
}

function isRecord(info, example) {
  const rows = Array.isArray(example) ? example : [];
  const record = rows[0] !== null && typeof rows[0] === "object" && !Array.isArray(rows[0]);
  return info.inputs.some((input) => input.columns) || (info.inputs.length > 1 && record);
}

/** Return the parts of the form: groups of nodes with a legend, the features that they send, and how they are filled. */
function layOut(info, example) {
  if (isRecord(info, example)) {
    const record = recordFields(info.inputs.flatMap((input) => input.columns ?? [input]));
    return { ...record, groups: [["", record.nodes]] };
  }
  const inputs = info.inputs.map((input, i) => [input, inputFields(input, `input-${i}`)]);
  if (inputs.length === 1) {
    const [[input, fields]] = inputs;
    return {
      groups: [[`${input.name}: ${describe(input)}`, fields.nodes]],
      literal: () => `[${fields.literal()}]`,
      fill: (features) => fields.fill(features[0]),
    };
  }
  return {
    groups: inputs.map(([input, fields]) => [`${input.name}: ${describe(input)}`, fields.nodes]),
    literal: () => `{${inputs.map(([input, fields]) => `${JSON.stringify(input.name)}: [${fields.literal()}]`).join(", ")}}`,
    fill: (features) => inputs.forEach(([input, fields]) => fields.fill(features[input.name][0])),
  };
}

/** The form of a model. `send` is called with the features as JSON; `changed` whenever they may have changed. */
export class PredictForm {
  #byJson = false;

  constructor(info, example, send, changed) {
    this.#make(info, example);
    this.problem = el("p", { class: "wrong", role: "alert" });
    this.button = el("button", { class: "primary", type: "submit" }, "Predict");
    const again = el("button", { class: "quiet", type: "button", onclick: () => { this.reset(); changed(); } }, "Example");
    again.hidden = example === null;
    const switcher = tabs("How to write the rows", [["One row", this.fieldsNode], ["JSON", this.jsonNode]], (i) => this.#turn(i));
    this.node = el("form", { class: "form", autocomplete: "off" },
      el("div", { class: "tools" }, switcher, again), this.fieldsNode, this.jsonNode, this.problem,
      el("div", { class: "send" }, this.button, el("span", { class: "hint" }, "Ctrl + Enter")));
    this.node.addEventListener("input", () => { setText(this.problem, ""); changed(); });
    this.node.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.node.requestSubmit();
    });
    this.node.addEventListener("submit", (event) => {
      event.preventDefault();
      const features = this.read();
      if (features !== null) send(features);
    });
    this.reset();
  }

  #make(info, example) {
    this.layout = layOut(info, example);
    this.example = example;
    const groups = this.layout.groups.map(([legend, nodes]) =>
      el("fieldset", {}, el("legend", { class: legend ? "" : "hidden" }, legend || "Columns"), el("div", { class: legend ? "fields bare" : "fields" }, nodes)));
    this.fieldsNode = el("div", {}, groups);
    this.json = jsonField("features", "rows, as the body's features", "features-json");
    this.jsonNode = el("div", {}, this.json.node);
  }

  /** What is written in one way goes along to the other, if it is whole. */
  #turn(i) {
    const byJson = i === 1;
    if (byJson && !this.#byJson) {
      try {
        this.json.node.querySelector("textarea").value = this.layout.literal();
      } catch { /* What stood there stays. */ }
    }
    this.#byJson = byJson;
  }

  /** Fill in the example. */
  reset() {
    if (this.example === null) return;
    this.layout.fill(this.example);
    this.json.fill(this.example);
    if (this.problem) setText(this.problem, "");
  }

  /** Return the features as JSON; null if a field is wrong, which is shown then unless `quiet`. */
  read(quiet = false) {
    try {
      return (this.#byJson ? this.json : this.layout).literal();
    } catch (error) {
      if (!(error instanceof FieldError)) throw error;
      if (quiet) return null;
      setText(this.problem, error.message);
      error.input.focus();
      return null;
    }
  }

  /** Show whether an answer is waited for. */
  set waiting(value) {
    this.button.disabled = value;
    setText(this.button, value ? "Waiting…" : "Predict");
  }
}
