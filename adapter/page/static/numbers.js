// What models did lately, from counters that only grow: rates and percentiles are those between two of them.

export const KEPT = 60;
// After a longer pause what was before is another story.
const PAUSE_SECONDS = 30;
// The numbers shown are those of so many steps together, since those of one step leap.
const STEPS = 3;

/** Return the quantile of a histogram, within its bucket as if values lay there evenly; Infinity above the last bound. */
export function quantile(q, buckets, bounds) {
  const all = buckets.reduce((sum, count) => sum + count, 0);
  if (all <= 0) return null;
  let below = 0;
  for (let i = 0; i < bounds.length; i++) {
    if (below + buckets[i] >= q * all) {
      const from = i === 0 ? 0 : bounds[i - 1];
      return from + ((q * all - below) / buckets[i]) * (bounds[i] - from);
    }
    below += buckets[i];
  }
  return Infinity;
}

/** Return what happened between two samples of a model. */
export function between(old, now, bounds) {
  const seconds = now.at - old.at;
  const buckets = now.latency.map((count, i) => count - old.latency[i]);
  const calls = now.calls - old.calls;
  return {
    rate: (now.requests - old.requests) / seconds,
    errors: (now.errors - old.errors) / seconds,
    p50: quantile(0.5, buckets, bounds),
    p99: quantile(0.99, buckets, bounds),
    rows: calls > 0 ? (now.call_rows - old.call_rows) / calls : null,
    memory: now.memory,
    queued: now.queued,
    regime: now.regime,
  };
}

/** The samples of each model that was shown lately. */
export class Numbers {
  #samples = new Map();
  #points = new Map();
  #bounds = [];

  /** Take over what /page/live answered. */
  add(live) {
    this.#bounds = live.latency_ms;
    for (const [name, model] of Object.entries(live.models)) {
      const sample = { ...model, at: live.at };
      let samples = this.#samples.get(name) ?? [];
      let points = this.#points.get(name) ?? [];
      const last = samples.at(-1);
      if (last && sample.at <= last.at) continue;
      // A server that began anew counts from 0.
      if (last && (sample.at - last.at > PAUSE_SECONDS || sample.requests < last.requests)) [samples, points] = [[], []];
      else if (last) points.push(between(last, sample, this.#bounds));
      samples.push(sample);
      this.#samples.set(name, samples.slice(-STEPS - 1));
      this.#points.set(name, points.slice(-KEPT));
    }
  }

  /** Return what each step of a model came to, the newest last. */
  points(name) {
    return this.#points.get(name) ?? [];
  }

  /** Return a model's newest sample. */
  latest(name) {
    return this.#samples.get(name)?.at(-1);
  }

  /** Return what the last steps of a model came to, together; null while there is one sample alone. */
  now(name) {
    const samples = this.#samples.get(name) ?? [];
    return samples.length < 2 ? null : between(samples[0], samples.at(-1), this.#bounds);
  }
}

/** Write a number short, with three digits that count. */
export function short(value) {
  if (value >= 100) return Math.round(value).toLocaleString("en");
  if (value >= 10) return value.toFixed(1).replace(/\.0$/, "");
  return value.toFixed(2).replace(/\.?0+$/, "");
}

/** Write milliseconds; what is over the last bound of the histogram is only known to be more. */
export function milliseconds(value, bounds) {
  if (value === null) return "–";
  if (value === Infinity) return `> ${short((bounds?.at(-1) ?? 0) / 1000)} s`;
  return value >= 1000 ? `${short(value / 1000)} s` : `${short(value)} ms`;
}

/** Write bytes. */
export function bytes(value) {
  const mega = value / 1024 / 1024;
  return mega >= 1024 ? `${short(mega / 1024)} GB` : `${short(mega)} MB`;
}
