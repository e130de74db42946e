// The same request as lines to copy. A key is never written into them: they read it from the environment.

const LITERALS = { true: "True", false: "False", null: "None" };

/** Return the address of this server, with the prefix of a proxy if there is one. */
export function base() {
  return new URL(".", document.baseURI).href.replace(/\/$/, "");
}

/** Write JSON as Python: its words, and strings without escapes that only JSON has. */
export function python(json) {
  return json.replace(/"(?:[^"\\]|\\.)*"|\b(?:true|false|null)\b/g, (found) =>
    found[0] === '"' ? JSON.stringify(JSON.parse(found)) : LITERALS[found]);
}

function curl(url, features, keyed) {
  const body = `{"features": ${features}}`.replaceAll("'", "'\\''");
  const header = keyed ? ` \\\n  -H "X-API-Key: $SCHWIFT_KEY"` : "";
  return `curl '${url}' \\\n  -H 'Content-Type: application/json'${header} \\\n  -d '${body}'`;
}

function requests(url, features, keyed) {
  const header = keyed ? `    headers={"X-API-Key": os.environ["SCHWIFT_KEY"]},\n` : "";
  return `${keyed ? "import os\n\n" : ""}import requests

answer = requests.post(
    "${url}",
    json={"features": ${python(features)}},
${header}    timeout=30,
)
answer.raise_for_status()
print(answer.json()["predictions"])`;
}

function script(url, features, keyed) {
  const header = keyed ? `, "X-API-Key": process.env.SCHWIFT_KEY` : "";
  return `const answer = await fetch("${url}", {
  method: "POST",
  headers: {"Content-Type": "application/json"${header}},
  body: JSON.stringify({features: ${features}}),
});
if (!answer.ok) throw new Error(await answer.text());
console.log((await answer.json()).predictions);`;
}

/** Write a value as Python; `missing` stands for null. */
function literal(value, missing) {
  if (Array.isArray(value)) return `[${value.map((item) => literal(item, missing)).join(", ")}]`;
  return value === null ? missing : python(JSON.stringify(value));
}

/** Return the rows of one tensor, as JSON values. */
function rowsOf(features, tensor, info) {
  if (tensor.columns.length) return features.map((row) => tensor.columns.map((name) => row[name]));
  const input = info.inputs.find(({ name }) => name === tensor.name) ?? info.inputs[0];
  const rows = Array.isArray(features) ? features : features[tensor.name];
  const isText = input.dtype === "string" && input.shape.length === 1;
  return isText ? rows.map((text) => [text]) : rows;
}

function arrayLines(tensor, i, features, info) {
  const rows = literal(rowsOf(features, tensor, info), tensor.datatype === "BYTES" ? '""' : "np.nan");
  const dtype = { object: "object", bool: "np.bool_" }[tensor.numpy] ?? `np.${tensor.numpy}`;
  return `x${i} = np.array(${rows}, dtype=${dtype})
t${i} = triton.InferInput("${tensor.name}", list(x${i}.shape), "${tensor.datatype}")
t${i}.set_data_from_numpy(x${i})`;
}

function tritonClient(name, features, keyed, info, facts) {
  const address = new URL(base());
  const secure = address.protocol === "https:" ? ", ssl=True" : "";
  const lines = facts.tensors.map((tensor, i) => arrayLines(tensor, i, features, info));
  const names = facts.tensors.map((_, i) => `t${i}`).join(", ");
  const header = keyed ? `, headers={"X-API-Key": os.environ["SCHWIFT_KEY"]}` : "";
  return `${keyed ? "import os\n\n" : ""}import numpy as np
import tritonclient.http as triton

client = triton.InferenceServerClient("${address.host}${address.pathname.replace(/\/$/, "")}"${secure})
${lines.join("\n")}
answer = client.infer("${name}", [${names}]${header})
print(answer.as_numpy("${facts.outputs[0]}"))`;
}

/** Return [title, lines] for each way to send `features`, which is JSON, to a model. */
export function snippets(info, facts, features, endpoint, keyed) {
  const url = `${base()}/${endpoint}/${info.name}`;
  const ways = [
    ["curl", curl(url, features, keyed)],
    ["requests", requests(url, features, keyed)],
    ["JavaScript", script(url, features, keyed)],
  ];
  const value = JSON.parse(features);
  const records = facts.tensors.some((tensor) => tensor.columns.length);
  // Only records say which column a value is for.
  const plain = !records || (Array.isArray(value) && value.every((row) => row && typeof row === "object" && !Array.isArray(row)));
  if (plain) ways.splice(2, 0, ["tritonclient", tritonClient(info.name, value, keyed, info, facts)]);
  return ways;
}
