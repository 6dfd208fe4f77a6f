/**
 * Runs the programs of `scripts/bench/` on Deno, Bun and Node 24, one after
 * the other, and shows what they print. `deno task bench [FILTER …]`.
 */
import { resolveRuntime } from "./_runtimes.ts";

const root = new URL("../", import.meta.url);
const ARGS: Record<string, string[]> = {
  deno: ["run", "-A", "--unstable-net"],
};

const programs: string[] = [];
for await (const { name } of Deno.readDir(new URL("scripts/bench/", root))) {
  // Programs that others start, and what they share, begin with `_`.
  if (!name.endsWith(".ts") || name.startsWith("_")) continue;
  if (Deno.args.length > 0 && !Deno.args.some((arg) => name.includes(arg))) {
    continue;
  }
  programs.push(`scripts/bench/${name}`);
}
for (const program of programs.sort()) {
  for (const name of ["deno", "bun", "node24"]) {
    const { path, version } = await resolveRuntime(name);
    console.log(`\n== ${program} on ${name} ${version}`);
    const { code } = await new Deno.Command(path, {
      args: [...(ARGS[name] ?? []), program],
      cwd: root,
    }).spawn().status;
    if (code !== 0) Deno.exit(code);
  }
}
