import { run } from "./_process.ts";
import { resolveRuntime } from "./_runtimes.ts";

/** Strips the types of the files given, and lets imports name `.js` files. */
const STRIP = `
  const { readFileSync, writeFileSync } = require("node:fs");
  const { stripTypeScriptTypes } = require("node:module");
  process.removeAllListeners("warning");
  for (const pair of JSON.parse(readFileSync(0, "utf8"))) {
    const code = stripTypeScriptTypes(readFileSync(pair.from, "utf8"));
    writeFileSync(pair.to, code.replaceAll(/(["'])(\\.{1,2}\\/[^"'\\n]*)\\.ts\\1/g, "$1$2.js$1"));
  }
`;

async function copyTests(
  from: URL,
  to: URL,
  pairs: { from: string; to: string }[],
): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isDirectory) {
      await copyTests(
        new URL(`${name}/`, from),
        new URL(`${name}/`, to),
        pairs,
      );
    } else if (name.endsWith(".ts") && !name.endsWith(".d.ts")) {
      pairs.push({
        from: new URL(name, from).pathname,
        to: new URL(name.replace(/\.ts$/, ".js"), to).pathname,
      });
    } else {
      await Deno.copyFile(new URL(name, from), new URL(name, to));
    }
  }
}

/**
 * Node 20 reads no TypeScript: lays the files of the npm package, as they
 * were packed, and the tests with their types stripped beside each other, so
 * that the behaviour suite runs on what users of Node 20 install.
 */
export async function buildNode20Suite(
  root: URL,
  tarball: string,
): Promise<URL> {
  const suite = new URL("npm/node20/", root);
  await Deno.mkdir(suite, { recursive: true });
  const untar = await run("tar", [
    "-xzf",
    tarball,
    "--strip-components=1",
    "-C",
    suite.pathname,
  ]);
  if (untar.code !== 0) throw new Error(`Cannot unpack: ${untar.stderr}`);
  const pairs: { from: string; to: string }[] = [];
  await Deno.copyFile(new URL("deno.json", root), new URL("deno.json", suite));
  for (const folder of ["tests/", "examples/", "scripts/"]) {
    await copyTests(new URL(folder, root), new URL(folder, suite), pairs);
  }
  const { path } = await resolveRuntime("node24");
  const { code, stderr } = await run(path, ["-e", STRIP], {
    input: JSON.stringify(pairs),
  });
  if (code !== 0) {
    throw new Error(`Cannot strip types: ${stderr}`);
  }
  return suite;
}
