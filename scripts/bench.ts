/**
 * Runs the programs of `scripts/bench/` on Deno, Bun and Node 24, one after
 * the other, and shows what they print.
 *
 * ```sh
 * deno task bench [FILTER …] [--runtime deno,bun,node24]
 * ```
 * A filter is a program's name, or a part of it.
 */
import { parseArgs } from "node:util";
import { resolveRuntime } from "./_runtimes.ts";
import type { Runtime } from "./_runtimes.ts";

const root = new URL("../", import.meta.url);
const ARGS: Record<string, string[]> = {
  deno: ["run", "-A", "--unstable-net"],
};
const { values, positionals } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: { runtime: { type: "string", default: "deno,bun,node24" } },
});

const names: string[] = [];
for await (const { name } of Deno.readDir(new URL("scripts/bench/", root))) {
  // Programs that others start, and what they share, begin with `_`.
  if (name.endsWith(".ts") && !name.startsWith("_")) {
    names.push(name.slice(0, -".ts".length));
  }
}
names.sort();

/** The programs of a filter: the one that it names, else all it is a part of. */
function matching(filter: string): string[] {
  const found = names.includes(filter)
    ? [filter]
    : names.filter((name) => name.includes(filter));
  if (found.length === 0) {
    throw new Error(`No such benchmark: ${filter} (there are ${names})`);
  }
  return found;
}

const chosen = new Set(positionals.flatMap(matching));
const programs = names.filter((name) => chosen.size === 0 || chosen.has(name));
const runtimes: Runtime[] = [];
for (const name of values.runtime.split(",")) {
  if (name === "node20") {
    throw new Error(
      "Node 20 cannot run the benchmarks: it reads no TypeScript",
    );
  }
  runtimes.push(await resolveRuntime(name));
}
for (const program of programs) {
  for (const { name, path, version } of runtimes) {
    console.log(`\n== ${program} on ${name} ${version}`);
    const { code } = await new Deno.Command(path, {
      args: [...(ARGS[name] ?? []), `scripts/bench/${program}.ts`],
      cwd: root,
    }).spawn().status;
    if (code !== 0) Deno.exit(code);
  }
}
