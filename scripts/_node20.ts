import { run } from "./_process.ts";
import { resolveRuntime } from "./_runtimes.ts";
import { scan } from "./_scan.ts";

/** Strips the types of the files given; Deno has no such thing. */
const STRIP = `
  const { readFileSync, writeFileSync } = require("node:fs");
  const { stripTypeScriptTypes } = require("node:module");
  process.removeAllListeners("warning");
  for (const { source, to } of JSON.parse(readFileSync(0, "utf8"))) {
    writeFileSync(to, stripTypeScriptTypes(source));
  }
`;

interface Source {
  source: string;
  to: string;
}

/** The source with every file that it imports or names by URL in JavaScript. */
export function nameJavaScript(source: string): string {
  const { code, bare } = scan(source);
  const pattern =
    /(?:\bfrom\s*|\bimport\s*\(?\s*|\bnew\s+URL\s*\(\s*(?=" *",\s*import\.meta\.url))" *"/g;
  let out = "";
  let end = 0;
  for (const { 0: found, index } of bare.matchAll(pattern)) {
    // Quotes are empty in `bare`; what they hold is in `code`.
    const place = index + found.length;
    out += source.slice(end, index);
    out += code.slice(index, place).replace(/(\.{1,2}\/.*)\.ts"$/, '$1.js"');
    end = place;
  }
  return out + source.slice(end);
}

async function copyTests(from: URL, to: URL, sources: Source[]): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const { name, isDirectory } of Deno.readDir(from)) {
    if (isDirectory) {
      const inner = `${name}/`;
      await copyTests(new URL(inner, from), new URL(inner, to), sources);
    } else if (name.endsWith(".ts") && !name.endsWith(".d.ts")) {
      sources.push({
        source: nameJavaScript(await Deno.readTextFile(new URL(name, from))),
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
  const sources: Source[] = [];
  await Deno.copyFile(new URL("deno.json", root), new URL("deno.json", suite));
  for (const folder of ["tests/", "examples/", "scripts/"]) {
    await copyTests(new URL(folder, root), new URL(folder, suite), sources);
  }
  const { path } = await resolveRuntime("node24");
  const { code, stderr } = await run(path, ["-e", STRIP], {
    input: JSON.stringify(sources),
  });
  if (code !== 0) {
    throw new Error(`Cannot strip types: ${stderr}`);
  }
  return suite;
}
