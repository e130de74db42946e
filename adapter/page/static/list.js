// The list of models: found by words, narrowed by state. It tells which of them are on the screen.

import { Sparkline } from "./charts.js";
import { el, setText } from "./dom.js";
import { short } from "./numbers.js";

// In the order of how much they want to be looked at.
const STATES = ["failed", "unavailable", "recovering", "loading", "waiting", "asleep", "ready"];

/** Return what is said of a model below its name. */
function about(info) {
  return [info.backend, info.version && `v${info.version}`, info.pack && `pack ${info.pack}`].filter(Boolean).join(" · ");
}

function makeRow(info) {
  const dot = el("span", { class: "dot", "aria-hidden": "true" });
  const name = el("span", { class: "name" }, info.name);
  const more = el("span", { class: "about" });
  const rate = el("span", { class: "rate" });
  const spark = new Sparkline("Requests a second", ["rate"], true);
  spark.node.setAttribute("aria-hidden", "true");
  const link = el("a", { href: `#${encodeURIComponent(info.name)}`, title: info.name },
    dot, el("span", { class: "who" }, name, more), el("span", { class: "pulse" }, spark.node, rate));
  return { node: el("li", {}, link), link, dot, more, rate, spark };
}

/** The list in a node; `changed` is called when other models come into view. */
export class ModelList {
  #rows = new Map();
  #models = new Map();
  #visible = new Set();
  #state = null;
  #chips = new Map();
  #words = [];

  constructor({ list, search, chips, none }, changed) {
    this.nodes = { list, search, chips, none };
    this.watcher = new IntersectionObserver((entries) => {
      for (const entry of entries) {
        const name = entry.target.dataset.name;
        if (entry.isIntersecting) this.#visible.add(name);
        else this.#visible.delete(name);
      }
      changed();
    }, { rootMargin: "60px" });
    search.addEventListener("input", () => {
      this.#words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
      this.#narrow();
    });
    search.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.#shown()[0]?.link.click();
      if (event.key === "ArrowDown") this.move(event, 1);
    });
    list.addEventListener("keydown", (event) => {
      if (event.key === "ArrowDown") this.move(event, 1);
      if (event.key === "ArrowUp") this.move(event, -1);
    });
  }

  /** Return the names of the models that are on the screen. */
  get visible() {
    return [...this.#visible];
  }

  /** Show these models, of /available_models; rows of those that stay are kept. */
  show(models) {
    this.#models = new Map(models.map((info) => [info.name, info]));
    for (const [name, row] of this.#rows) {
      if (this.#models.has(name)) continue;
      this.watcher.unobserve(row.node);
      row.node.remove();
      this.#rows.delete(name);
      this.#visible.delete(name);
    }
    for (const info of models) {
      let row = this.#rows.get(info.name);
      if (!row) {
        row = makeRow(info);
        row.node.dataset.name = info.name;
        this.#rows.set(info.name, row);
        this.watcher.observe(row.node);
      }
      setText(row.more, about(info));
      this.#setState(row, info.state);
      row.words = [info.name, info.description, about(info), ...(info.classes ?? [])].join(" ").toLowerCase();
    }
    const nodes = models.map((info) => this.#rows.get(info.name).node);
    // A row that is moved loses the focus.
    if (nodes.some((node, i) => this.nodes.list.children[i] !== node)) this.nodes.list.append(...nodes);
    this.#showChips();
    this.#narrow();
  }

  /** Take over the states of all models, by name. */
  setStates(states) {
    for (const [name, info] of this.#models) {
      if (!states[name] || states[name] === info.state) continue;
      info.state = states[name];
      this.#setState(this.#rows.get(name), info.state);
    }
    this.#showChips();
    this.#narrow();
  }

  /** Bring the rows on the screen up to date. */
  update(numbers) {
    for (const name of this.#visible) {
      const row = this.#rows.get(name);
      const latest = numbers.latest(name);
      if (!row || !latest) continue;
      this.#setState(row, latest.state);
      const rates = numbers.points(name).map((point) => point.rate);
      row.spark.draw([rates], 1, "");
      const now = numbers.now(name);
      const busy = latest.state === "ready" && now !== null;
      setText(row.rate, busy ? `${short(now.rate)}/s` : latest.state === "ready" ? "" : latest.state);
      row.rate.classList.toggle("still", busy && now.rate === 0);
    }
  }

  /** Mark the model that is looked at; null is none. */
  select(name) {
    for (const [other, row] of this.#rows) {
      if (other === name) row.link.setAttribute("aria-current", "page");
      else row.link.removeAttribute("aria-current");
    }
    this.#rows.get(name)?.node.scrollIntoView({ block: "nearest" });
  }

  /** Put the focus a row up or down; up from the first is the search field. */
  move(event, step) {
    const links = this.#shown().map((row) => row.link);
    const at = links.indexOf(document.activeElement) + step;
    event.preventDefault();
    if (at < 0) this.nodes.search.focus();
    else links[Math.min(at, links.length - 1)]?.focus();
  }

  #shown() {
    return [...this.#models.keys()].map((name) => this.#rows.get(name)).filter((row) => !row.node.hidden);
  }

  #setState(row, state) {
    row.dot.className = `dot ${state}`;
    row.link.setAttribute("aria-label", `${row.node.dataset.name}, ${state}`);
    row.node.dataset.state = state;
  }

  #showChips() {
    const counts = new Map();
    for (const info of this.#models.values()) counts.set(info.state, (counts.get(info.state) ?? 0) + 1);
    if (this.#state && !counts.has(this.#state)) this.#state = null;
    const states = STATES.filter((state) => counts.has(state));
    const wanted = [[null, `all ${this.#models.size}`], ...states.map((state) => [state, `${state} ${counts.get(state)}`])];
    for (const [state, chip] of this.#chips) {
      if (wanted.some(([other]) => other === state)) continue;
      chip.node.remove();
      this.#chips.delete(state);
    }
    // A button that is replaced while it is pressed is not clicked: each stays what it is.
    wanted.forEach(([state, text], i) => {
      if (!this.#chips.has(state)) this.#chips.set(state, this.#makeChip(state));
      const chip = this.#chips.get(state);
      setText(chip.text, text);
      chip.node.setAttribute("aria-pressed", String(this.#state === state));
      if (this.nodes.chips.children[i] !== chip.node) this.nodes.chips.insertBefore(chip.node, this.nodes.chips.children[i] ?? null);
    });
    this.nodes.chips.hidden = states.length < 2;
  }

  #makeChip(state) {
    const text = el("span");
    const choose = () => { this.#state = state; this.#showChips(); this.#narrow(); };
    const dot = state && el("span", { class: `dot ${state}`, "aria-hidden": "true" });
    return { text, node: el("button", { type: "button", class: "chip", onclick: choose }, dot, text) };
  }

  #narrow() {
    for (const [name, row] of this.#rows) {
      const fits = this.#words.every((word) => row.words.includes(word));
      row.node.hidden = !fits || (this.#state !== null && this.#models.get(name)?.state !== this.#state);
    }
    const none = this.#shown().length === 0;
    setText(this.nodes.none, !none ? "" : this.#models.size ? "No model fits." : "This server has no models yet.");
  }
}
