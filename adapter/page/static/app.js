// The page: gets the models, asks for the numbers of those on the screen every two seconds, and shows one of them.

import { getJson, key } from "./api.js";
import { Detail } from "./detail.js";
import { el, setText } from "./dom.js";
import { ModelList } from "./list.js";
import { Numbers } from "./numbers.js";

const EVERY_MS = 2000;
const SLOWEST_MS = 15000;
// The list of all models is large on some servers: it is not asked for again sooner, however often it changes.
const LIST_AGAIN_MS = 6000;
const MOST_MODELS = 64;

const byId = (id) => document.getElementById(id);
const nodes = Object.fromEntries(["facts", "links", "forget", "notice", "lock", "columns", "detail", "search"].map((id) => [id, byId(id)]));
const numbers = new Numbers();
const list = new ModelList({ list: byId("models"), search: nodes.search, chips: byId("chips"), none: byId("none") }, () => {
  // What comes into view for the first time has no state of its own yet.
  if (list.visible.some((name) => !numbers.latest(name))) soon();
});
const page = { models: new Map(), catalogue: null, listedAt: 0, detail: null, shown: undefined, failures: 0, timer: 0, bounds: [], tick: 0, states: "" };

const chosen = () => decodeURIComponent(location.hash.slice(1)) || null;
const isWide = () => matchMedia("(min-width: 761px)").matches;

function notice(text) {
  setText(nodes.notice, text);
  nodes.notice.hidden = !text;
}

/** Ask for a key in the place of everything else; `problem` says what is wrong with the one in use. */
function lock(problem) {
  nodes.lock.hidden = false;
  nodes.columns.hidden = true;
  nodes.links.hidden = true;
  nodes.forget.hidden = true;
  setText(nodes.facts, "");
  setText(byId("lock-wrong"), problem);
  notice("");
  byId("key").value = "";
  byId("key").focus();
}

function unlock() {
  nodes.lock.hidden = true;
  nodes.columns.hidden = false;
  nodes.forget.hidden = !key.get();
  // A link shows no key.
  nodes.links.hidden = Boolean(key.get());
}

/** Say what went wrong; true if it is of a kind that goes away by itself. */
function explain(error) {
  if (error.status === 401) {
    const had = key.get();
    key.forget();
    lock(had ? error.message : "");
    return false;
  }
  if (error.status === 403) {
    lock("This key may not read: take one that was made with --read.");
    return false;
  }
  if (error.status === undefined) throw error;
  notice(`${error.message} Trying again.`);
  return true;
}

/** Get the list of models, and show it. */
async function loadList() {
  page.listedAt = performance.now();
  const used = key.get();
  const { models } = await getJson("available_models");
  // Who forgot the key meanwhile sees nothing of it any more.
  if (key.get() !== used) return;
  page.models = new Map(models.map((info) => [info.name, info]));
  list.show(models);
  unlock();
  await showChosen();
}

function signatureOf(info) {
  return JSON.stringify({ ...info, state: null, pack: null });
}

async function showChosen() {
  const wanted = chosen();
  let info = page.models.get(wanted);
  if (!info && !wanted && isWide()) info = page.models.values().next().value;
  document.body.dataset.view = wanted ? "model" : "list";
  document.title = info ? `${info.name} · SchwiftServe` : "SchwiftServe";
  list.select(info?.name ?? null);
  const signature = info ? signatureOf(info) : wanted;
  if (page.shown === signature) return;
  page.shown = signature;
  page.detail = null;
  if (!info) {
    const text = wanted ? `No model of this server is called ${wanted}.` : page.models.size ? "" : "No models yet: put one into models/ and run schwift reload.";
    nodes.detail.replaceChildren(el("a", { class: "back", href: "#" }, "← All models"), el("p", { class: "empty" }, text));
    return;
  }
  let facts, live;
  try {
    const name = encodeURIComponent(info.name);
    // With its numbers at once: nothing moves when they come.
    [facts, live] = await Promise.all([getJson(`page/model/${name}`), getJson(`page/live?models=${name}&known=${page.states}`)]);
  } catch (error) {
    page.shown = undefined;
    throw error;
  }
  if (page.shown !== signature) return;
  take(live);
  page.detail = new Detail(info, facts, Boolean(key.get()));
  nodes.detail.replaceChildren(...page.detail.nodes);
  page.detail.update(numbers, page.bounds);
}

function showFacts(live) {
  const ready = (live.states.ready ?? 0) + (live.states.asleep ?? 0);
  const all = Object.values(live.states).reduce((sum, count) => sum + count, 0);
  const state = live.draining ? "unavailable" : !live.triton_up || live.states.failed ? "failed" : ready < all ? "loading" : "ready";
  const words = live.draining ? "about to end" : !live.triton_up ? "Triton is down" : `${ready} of ${all} models ready`;
  const text = `${words} · ${live.in_flight} of ${live.in_flight_limit} in flight · v${live.version}`;
  if (nodes.facts.textContent === text && nodes.facts.dataset.state === state) return;
  nodes.facts.dataset.state = state;
  nodes.facts.replaceChildren(el("span", { class: `dot ${state}`, "aria-hidden": "true" }), el("strong", {}, words),
    el("span", { class: "rest" }, ` · ${live.in_flight} of ${live.in_flight_limit} in flight · v${live.version}`));
}

/** Take over what /page/live answered. */
function take(live) {
  page.bounds = live.latency_ms;
  numbers.add(live);
  if (live.states_of) list.setStates(live.states_of);
  page.states = live.states_sum;
}

async function step() {
  const used = key.get();
  if (page.catalogue === null) await loadList();
  const names = [...new Set([page.detail?.info.name, ...list.visible])].filter(Boolean).slice(0, MOST_MODELS);
  const live = await getJson(`page/live?models=${names.map(encodeURIComponent).join(",")}&known=${page.states}`);
  if (key.get() !== used) return;
  take(live);
  unlock();
  notice("");
  showFacts(live);
  list.update(numbers);
  page.detail?.update(numbers, page.bounds);
  if (page.catalogue !== live.catalogue && performance.now() - page.listedAt > LIST_AGAIN_MS) {
    await loadList();
    page.catalogue = live.catalogue;
  }
  page.catalogue ??= live.catalogue;
}

/** Make a step, and the next one later; nobody looks at a tab that is hidden. */
async function run() {
  clearTimeout(page.timer);
  const tick = ++page.tick;
  let again = true;
  try {
    if (document.hidden) return;
    await step();
    page.failures = 0;
  } catch (error) {
    page.failures += 1;
    again = explain(error);
  } finally {
    // Another one began meanwhile: it is that one's turn.
    if (again && tick === page.tick && !document.hidden) {
      page.timer = setTimeout(run, Math.min(EVERY_MS * 2 ** Math.min(page.failures, 5), page.failures ? SLOWEST_MS : EVERY_MS));
    }
  }
}

let waits = 0;
function soon() {
  clearTimeout(waits);
  waits = setTimeout(run, 150);
}

byId("lock-form").addEventListener("submit", (event) => {
  event.preventDefault();
  const value = byId("key").value.trim();
  if (!value) return;
  key.set(value);
  [page.catalogue, page.states] = [null, ""];
  run();
});
nodes.forget.addEventListener("click", () => {
  key.forget();
  clearTimeout(page.timer);
  page.tick += 1;
  page.shown = undefined;
  lock("");
});
byId("skip").addEventListener("click", (event) => {
  event.preventDefault();
  nodes.detail.focus();
});
addEventListener("hashchange", async () => {
  try {
    await showChosen();
    if (document.body.dataset.view === "model") window.scrollTo(0, 0);
    run();
  } catch (error) {
    explain(error);
  }
});
addEventListener("keydown", (event) => {
  const typing = /^(INPUT|TEXTAREA|SELECT)$/.test(document.activeElement?.tagName);
  if (event.key === "/" && !typing && !nodes.columns.hidden) {
    event.preventDefault();
    if (document.body.dataset.view === "model" && !isWide()) location.hash = "";
    nodes.search.focus();
  }
});
document.addEventListener("visibilitychange", run);
run();
