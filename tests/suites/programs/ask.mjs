// Node's fetch, and its http with an agent that keeps connections: `node ask.mjs http://host:port`

import http from "node:http";
import { gunzipSync, gzipSync } from "node:zlib";

const url = process.argv[2];
const JSON_TYPE = { "Content-Type": "application/json" };
const doubled = (first) => JSON.stringify({ model: "double", predictions: [[first * 2, 4, 6]] });

const parts = {
  async "fetch predict"() {
    same(await ask([[1, 2, 3]]), doubled(1));
  },
  async "fetch HEAD"() {
    const answer = await fetch(`${url}/health`, { method: "HEAD" });
    same(`${answer.status}${await answer.text()}`, "200");
  },
  async "fetch gzip both ways"() {
    const body = gzipSync(JSON.stringify({ features: Array(10000).fill([1, 2, 3]) }));
    const headers = { ...JSON_TYPE, "Content-Encoding": "gzip" };
    const answer = await fetch(`${url}/predict/double`, { method: "POST", headers, body });
    same(answer.headers.get("content-encoding"), "gzip");
    same(await answer.text().then(normal), JSON.stringify({ model: "double", predictions: Array(10000).fill([2, 4, 6]) }));
  },
  async "fetch body of unknown length"() {
    const encoder = new TextEncoder();
    const body = new ReadableStream({
      start(stream) {
        stream.enqueue(encoder.encode('{"features": '));
        setTimeout(() => { stream.enqueue(encoder.encode("[[1, 2, 3]]}")); stream.close(); }, 50);
      },
    });
    const answer = await fetch(`${url}/predict/double`, { method: "POST", headers: JSON_TYPE, body, duplex: "half" });
    same(normal(await answer.text()), doubled(1));
  },
  async "fetch 100 at once"() {
    const answers = await Promise.all([...Array(100).keys()].map((i) => ask([[i, 2, 3]])));
    answers.forEach((answer, i) => same(answer, doubled(i)));
  },
  async "fetch an error's body"() {
    const answer = await fetch(`${url}/predict/double`, { method: "POST", headers: JSON_TYPE, body: '{"features": [[1]]}' });
    const { code } = await answer.json();
    same(`${answer.status} ${code}`, "422 bad_features");
  },
  async "http 100 on 8 kept connections"() {
    const agent = new http.Agent({ keepAlive: true, maxSockets: 8 });
    const answers = await Promise.all([...Array(100).keys()].map((i) => request(agent, { features: [[i, 2, 3]] })));
    answers.forEach(({ text }, i) => same(normal(text), doubled(i)));
    const ports = new Set(answers.map(({ port }) => port));
    agent.destroy();
    if (ports.size > 8) throw new Error(`${ports.size} connections were opened`);
  },
  async "http answer in gzip"() {
    const agent = new http.Agent();
    const { bytes, coding } = await request(agent, { features: Array(10000).fill([1, 2, 3]) }, { "Accept-Encoding": "gzip" });
    same(coding, "gzip");
    same(JSON.parse(gunzipSync(bytes)).predictions.length, 10000);
  },
};

async function ask(features) {
  const body = JSON.stringify({ features });
  return normal(await (await fetch(`${url}/predict/double`, { method: "POST", headers: JSON_TYPE, body })).text());
}

function request(agent, body, headers = {}) {
  const text = JSON.stringify(body);
  return new Promise((resolve, reject) => {
    const sent = http.request(
      `${url}/predict/double`,
      { method: "POST", agent, headers: { ...JSON_TYPE, "Content-Length": Buffer.byteLength(text), ...headers } },
      (answer) => {
        const port = answer.socket.localPort;
        const pieces = [];
        answer.on("data", (piece) => pieces.push(piece));
        answer.on("end", () => {
          const bytes = Buffer.concat(pieces);
          resolve({ bytes, text: bytes.toString(), port, coding: answer.headers["content-encoding"] });
        });
      },
    );
    sent.on("error", reject);
    sent.end(text);
  });
}

// 2.0 and 2 are one number here.
const normal = (text) => JSON.stringify(JSON.parse(text));

function same(got, wanted) {
  if (got !== wanted) throw new Error(`got ${got}, wanted ${wanted}`);
}

for (const [name, run] of Object.entries(parts)) {
  try {
    await run();
    console.log(`PASS ${name}`);
  } catch (error) {
    console.log(`FAIL ${name}: ${`${error}${error.cause ? ` ${error.cause}` : ""}`.replaceAll("\n", " ")}`);
  }
}
