// One model: what it is, how it is doing, a form that asks it, and the lines that do the same elsewhere.

import { showAnswer, showError } from "./answer.js";
import { postJson } from "./api.js";
import { Sparkline, Strip } from "./charts.js";
import { copyText, el, setText, tabs } from "./dom.js";
import { PredictForm } from "./form.js";
import { bytes, milliseconds, short } from "./numbers.js";
import { snippets } from "./snippets.js";

const REGIMES = {
  idle: "each request goes straight to the model",
  busy: "requests are joined by Triton's batcher",
  rush: "requests queue here and go out as few, full calls",
};
const HEIGHTS = { idle: 0.18, busy: 0.55, rush: 1 };

function tile(title, chart) {
  const value = el("span", { class: "value" }, "–");
  const more = el("span", { class: "more" });
  const node = el("div", { class: "tile" }, el("h3", {}, title), el("p", {}, value, more), chart?.node);
  return { node, value, more, chart };
}

function makeTiles() {
  return {
    rate: tile("Throughput", new Sparkline("Requests a second", ["rate", "errors"], true)),
    latency: tile("Latency", new Sparkline("Latency in milliseconds", ["p50", "p99"])),
    rows: tile("Batch size", new Sparkline("Rows a call", ["rows"], true)),
    regime: tile("Regime", new Strip("Regime")),
    memory: tile("Memory", new Sparkline("Memory in bytes", ["memory"], true)),
  };
}

function signature(info) {
  const shape = (tensor) => `[${tensor.shape.map((size) => (size === -1 ? "any" : size)).join(", ")}]`;
  const line = (name, dtype, more, kind = "") => el("tr", { class: kind },
    el("th", { scope: "row" }, name), el("td", {}, dtype), el("td", {}, more));
  const part = (title, tensors) => [
    el("tr", { class: "part" }, el("th", { colspan: 3, scope: "colgroup" }, title)),
    ...tensors.flatMap((tensor) => [
      line(tensor.name, tensor.dtype, `${shape(tensor)}${tensor.nullable ? " or null" : ""}`),
      ...(tensor.columns ?? []).map((column) => line(column.name, column.dtype, column.nullable ? "or null" : "", "column")),
    ]),
  ];
  const classes = info.classes && el("p", { class: "classes" }, el("span", { class: "hint" }, "Classes"),
    info.classes.slice(0, 60).map((label) => el("span", { class: "class" }, String(label))),
    info.classes.length > 60 ? `and ${info.classes.length - 60} more` : null);
  return el("section", { class: "card" }, el("h2", {}, "Signature"),
    el("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": "Inputs and outputs" },
      el("table", { class: "signature" }, el("tbody", {}, part("takes", info.inputs), part("answers", info.outputs)))),
    classes,
    el("p", { class: "hint" }, `Up to ${info.max_batch_rows} rows a call · ${info.endpoints.map((name) => `/${name}`).join(", ")}`));
}

/** The page of one model. `facts` is of /page/model; `keyed` says whether the lines to copy need a key. */
export class Detail {
  constructor(info, facts, keyed) {
    this.info = info;
    this.facts = facts;
    this.keyed = keyed;
    this.endpoint = info.endpoints.includes("predict") ? "predict" : info.endpoints[0];
    this.state = el("span", { class: "pill" });
    this.chips = el("span", { class: "tags" });
    this.notes = el("div", { class: "notes" });
    this.tiles = makeTiles();
    this.nodes = [
      el("a", { class: "back", href: "#" }, "← All models"),
      el("header", { class: "title" }, el("h1", {}, info.name), this.state, this.chips),
      info.description ? el("p", { class: "lead" }, info.description) : null,
      this.notes,
      el("section", { class: "tiles", "aria-label": "The last two minutes" }, Object.values(this.tiles).map(({ node }) => node)),
      el("div", { class: "halves" },
        el("div", { class: "half" }, this.#tryIt(), signature(info)), el("div", { class: "half" }, this.#answer(), this.#code())),
    ].filter(Boolean);
    this.#setState(info.state);
    this.#showLines();
  }

  #tryIt() {
    this.form = new PredictForm(this.info, this.facts.example, (features) => this.#send(features), () => this.#showLines());
    return el("section", { class: "card", "aria-labelledby": "try-title" },
      el("h2", { id: "try-title" }, "Try it ", el("code", {}, `POST /${this.endpoint}/${this.info.name}`)), this.form.node);
  }

  #answer() {
    this.answer = el("div", { class: "answer", "aria-live": "polite" }, el("p", { class: "empty" }, "Send a row to see what the model answers."));
    return el("section", { class: "card" }, el("h2", {}, "Answer"), this.answer);
  }

  #code() {
    this.lines = ["curl", "requests", "tritonclient", "JavaScript"].map((name) => [name, el("pre", { class: "lines", tabindex: "0" })]);
    this.shown = 0;
    const copy = el("button", { class: "quiet", type: "button" }, "Copy");
    copy.addEventListener("click", async () => {
      setText(copy, (await copyText(this.lines[this.shown][1])) ? "Copied" : "Press Ctrl + C");
      setTimeout(() => setText(copy, "Copy"), 1500);
    });
    const row = tabs("Ways to send it", this.lines, (i) => { this.shown = i; });
    return el("section", { class: "card" }, el("div", { class: "tools" }, el("h2", {}, "Call it from elsewhere"), copy), row,
      this.lines.map(([, pre]) => pre));
  }

  /** Write what the form has into the lines to copy; while it is not whole, they stay as they were. */
  #showLines() {
    const features = this.form.read(true) ?? (this.features === undefined ? JSON.stringify(this.facts.example ?? []) : null);
    if (features === null) return;
    let ways;
    try {
      ways = new Map(snippets(this.info, this.facts, features, this.endpoint, this.keyed));
    } catch {
      return;
    }
    this.features = features;
    for (const [name, pre] of this.lines) {
      setText(pre, ways.get(name) ?? "# Write the rows as records, with the names of the columns, to see them as tensors.");
    }
  }

  async #send(features) {
    this.form.waiting = true;
    try {
      const answer = await postJson(`${this.endpoint}/${encodeURIComponent(this.info.name)}`, `{"features": ${features}}`);
      showAnswer(this.answer, this.info, answer);
    } catch (error) {
      showError(this.answer, error.status === undefined ? { status: 0, message: String(error), code: "", requestId: "" } : error);
    } finally {
      this.form.waiting = false;
      if (matchMedia("(max-width: 1080px)").matches) this.answer.scrollIntoView({ block: "nearest" });
    }
  }

  #setState(state) {
    this.state.className = `pill ${state}`;
    setText(this.state, state);
  }

  /** Bring the numbers up to date. */
  update(numbers, bounds) {
    const latest = numbers.latest(this.info.name);
    if (!latest) return;
    this.#setState(latest.state);
    this.#showTags(latest);
    this.#showNotes(latest);
    this.#showTiles(latest, numbers.now(this.info.name), numbers.points(this.info.name), bounds);
  }

  #showTags(latest) {
    const tags = [this.info.backend, this.info.version && `v${this.info.version}`, latest.pack && `pack ${latest.pack}`,
      latest.moved_out > 0 && !latest.pack && "moved out of its pack",
      latest.load_seconds !== null && `loaded in ${short(latest.load_seconds)} s`,
      latest.recoveries > 0 && `recovered ${latest.recoveries}×`].filter(Boolean);
    if (this.tags === tags.join("\n")) return;
    this.tags = tags.join("\n");
    this.chips.replaceChildren(...tags.map((text) => el("span", { class: "tag" }, text)));
  }

  #showNotes(latest) {
    const notes = [];
    const bad = !["ready", "asleep"].includes(latest.state);
    if (latest.reason) notes.push([bad ? "bad" : "", latest.reason]);
    else if (bad) notes.push(["", `The model is ${latest.state}: requests are answered 503 until it is ready.`]);
    if (latest.state === "asleep") notes.push(["", "Asleep, to save memory: the next request loads it and waits for that."]);
    if (latest.breaker !== "closed") notes.push(["bad", `Its circuit breaker is ${latest.breaker.replace("_", " ")}: requests are refused for a while, since too many failed.`]);
    if (latest.last_failure) {
      const at = new Date(latest.last_failure.at * 1000).toLocaleTimeString();
      notes.push(["", `Last failed request, ${at}: ${latest.last_failure.code}, ${latest.last_failure.reason}`]);
    }
    const text = JSON.stringify(notes);
    if (this.noted === text) return;
    this.noted = text;
    this.notes.replaceChildren(...notes.map(([kind, line]) => el("p", { class: `note ${kind}` }, line)));
  }

  #showTiles(latest, now, points, bounds) {
    const { rate, latency, rows, regime, memory } = this.tiles;
    const show = (item, value, more) => { setText(item.value, value); setText(item.more, more); };
    const of = (field) => points.map((point) => (Number.isFinite(point[field]) ? point[field] : null));

    show(rate, now ? `${short(now.rate)}/s` : "–", now?.errors > 0 ? `${short(now.errors)}/s errors` : latest.queued > 0 ? `${latest.queued} waiting` : "");
    rate.more.classList.toggle("bad", now?.errors > 0);
    const failing = points.some((point) => point.errors > 0);
    rate.chart.draw([of("rate"), failing ? of("errors") : []], 1, rate.value.textContent);

    show(latency, now ? milliseconds(now.p50, bounds) : "–", now?.p99 != null ? `p99 ${milliseconds(now.p99, bounds)}` : "");
    latency.more.classList.add("p99");
    latency.chart.draw([of("p50"), of("p99")], 2, `p50 ${latency.value.textContent}, ${latency.more.textContent}`);

    show(rows, now?.rows != null ? short(now.rows) : "–", now?.rows != null ? "rows a call" : "");
    rows.chart.draw([of("rows")], 2, rows.value.textContent);

    show(regime, latest.regime, "");
    regime.node.title = REGIMES[latest.regime] ?? "";
    regime.chart.draw(points.map((point) => point.regime), HEIGHTS, latest.regime);

    show(memory, latest.memory ? bytes(latest.memory) : "–", latest.memory ? "" : "not known");
    memory.chart.draw([of("memory")], 1, memory.value.textContent);
  }
}
