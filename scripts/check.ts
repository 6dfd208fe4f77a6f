/**
 * The checks besides the tests: types, docs, house rules, and that both
 * registries get the same exports. `deno task check`.
 */
import { inspectDeclarations, inspectDocs, inspectFile } from "./_rules.ts";
import type { Finding } from "./_rules.ts";
import { run } from "./_process.ts";

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

async function deno(...args: string[]): Promise<{ ok: boolean; out: string }> {
  const { code, stdout, stderr } = await run(Deno.execPath(), args, {
    cwd: root,
  });
  return { ok: code === 0, out: stdout + stderr };
}

const findings: Finding[] = [];
for (const file of await libraryFiles()) {
  const source = await Deno.readTextFile(new URL(file, root));
  findings.push(...inspectFile(file, source));
}

const config = JSON.parse(await Deno.readTextFile(new URL("deno.json", root)));
const entries = Object.values<string>(config.exports);
for (const entry of entries) {
  const { code, stdout, stderr } = await run(
    Deno.execPath(),
    ["doc", "--json", entry],
    { cwd: root },
  );
  if (code !== 0) {
    findings.push({ rule: "docs can be read", file: entry, detail: stderr });
    continue;
  }
  const doc = JSON.parse(stdout);
  const nodes = doc.nodes ??
    Object.values<{ symbols?: { name: string; declarations: [] }[] }>(doc)
      .flatMap(({ symbols = [] }) =>
        symbols.flatMap(({ name, declarations }) =>
          declarations.map((declaration: object) => ({ name, ...declaration }))
        )
      );
  findings.push(...inspectDocs(entry, Array.isArray(nodes) ? nodes : []));
}

let failed = false;
for (
  const args of [
    ["check", "mod.ts", ...entries, "tests/", "scripts/", "examples/"],
    ["doc", "--lint", ...entries],
  ]
) {
  const { ok, out } = await deno(...args);
  console.log(`${ok ? "ok    " : "FAILED"} deno ${args.slice(0, 2).join(" ")}`);
  if (!ok) {
    failed = true;
    console.log(out);
  }
}

// What `deno task npm` built, if it has: its declarations.
for (const floor of FLOORS) {
  const folder = new URL(`npm/package/${floor}/`, root);
  try {
    for await (const { name } of Deno.readDir(folder)) {
      if (!name.endsWith(".d.ts") || name.startsWith("_")) continue;
      const source = await Deno.readTextFile(new URL(name, folder));
      findings.push(...inspectDeclarations(`${floor}/${name}`, source));
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
}

for (const { rule, file, detail } of findings) {
  console.log(`${file}: ${rule}: ${detail}`);
}
console.log(
  findings.length === 0
    ? "ok     house rules"
    : `FAILED house rules: ${findings.length}`,
);
Deno.exit(failed || findings.length > 0 ? 1 : 0);
