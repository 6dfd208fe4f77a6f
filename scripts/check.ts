/**
 * The checks besides the tests: types, docs and house rules.
 * `deno task check`.
 */
import { run } from "./_process.ts";
import {
  docNodes,
  inspectDocs,
  inspectFile,
  inspectLint,
  inspectTypes,
} from "./_rules.ts";
import type { Finding } from "./_rules.ts";

const root = new URL("../", import.meta.url);
const FLOORS = ["streams", "tcp", "udp", "http", "ws"];

async function libraryFiles(): Promise<string[]> {
  const files = ["mod.ts"];
  for (const floor of FLOORS) {
    for await (const { name } of Deno.readDir(new URL(`${floor}/`, root))) {
      if (name.endsWith(".ts")) files.push(`${floor}/${name}`);
    }
  }
  return files.sort();
}

const findings: Finding[] = [];
for (const file of await libraryFiles()) {
  const source = await Deno.readTextFile(new URL(file, root));
  findings.push(...inspectFile(file, source));
}

const config = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
const entries = Object.values<string>(config.exports);
const deno = (...args: string[]) => run(Deno.execPath(), args, { cwd: root });
const types = deno(
  "check",
  "-q",
  ...entries,
  "tests/",
  "scripts/",
  "examples/",
);

const doc = await deno("doc", "--json", ...entries);
if (doc.code !== 0) throw new Error(`Cannot read the docs: ${doc.stderr}`);
const modules = docNodes(doc.stdout);
for (const entry of entries) {
  const nodes = modules.get(new URL(entry, root).href) ?? [];
  if (nodes.length === 0) {
    findings.push({ rule: "entries export", file: entry, detail: "nothing" });
  }
  const file = entry.replace("./", "");
  findings.push(...inspectDocs(file, nodes), ...inspectTypes(file, nodes));
}

const lint = await deno("doc", "--lint", ...entries);
const adapter = await Deno.readTextFile(new URL("http/hono.ts", root));
findings.push(...inspectLint(lint.stdout + lint.stderr, adapter));

const { code, stdout, stderr } = await types;
console.log(code === 0 ? "ok     types" : `FAILED types\n${stdout}${stderr}`);
// A name that two entry points export is told once.
const told = new Set(
  findings.map(({ rule, file, detail }) => `${file}: ${rule}: ${detail}`),
);
for (const line of told) console.log(line);
console.log(
  told.size === 0
    ? "ok     docs and house rules"
    : `FAILED docs and house rules: ${told.size}`,
);
Deno.exit(code !== 0 || told.size > 0 ? 1 : 0);
