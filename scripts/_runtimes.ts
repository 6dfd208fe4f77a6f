import versions from "./runtimes.json" with { type: "json" };
import { run } from "./_process.ts";

/** A runtime to run tests on: its name and how to start it. */
export interface Runtime {
  readonly name: string;
  readonly version: string;
  readonly path: string;
}

/** Names of all runtimes, in the order they are tested in. */
export const runtimeNames: readonly string[] = [
  "deno",
  ...Object.keys(versions),
];

/** Where the runtimes were found last time. */
const CACHE = new URL("../.cache/runtimes.json", import.meta.url);

async function readCache(): Promise<Record<string, string>> {
  try {
    return JSON.parse(await Deno.readTextFile(CACHE));
  } catch {
    return {};
  }
}

async function isVersion(path: string, version: string): Promise<boolean> {
  try {
    const { code, stdout } = await run(path, ["--version"]);
    return code === 0 && stdout.trim().replace(/^v/, "") === version;
  } catch {
    return false;
  }
}

/**
 * Finds a runtime of the pinned version, or fetches it through npm, which has
 * them for every platform.
 */
export async function resolveRuntime(name: string): Promise<Runtime> {
  if (name === "deno") {
    return { name, version: Deno.version.deno, path: Deno.execPath() };
  }
  const version = (versions as Record<string, string>)[name];
  if (version === undefined) {
    throw new Error(
      `Unknown runtime: ${name} (there are ${runtimeNames.join(", ")})`,
    );
  }
  const cache = await readCache();
  const known = cache[`${name} ${version}`];
  if (known !== undefined && await isVersion(known, version)) {
    return { name, version, path: known };
  }
  const path = await fetchRuntime(name, version);
  await Deno.mkdir(new URL("./", CACHE), { recursive: true });
  await Deno.writeTextFile(
    CACHE,
    JSON.stringify({ ...cache, [`${name} ${version}`]: path }, null, 2),
  );
  return { name, version, path };
}

async function fetchRuntime(name: string, version: string): Promise<string> {
  const tool = name.startsWith("node") ? "node" : name;
  const print = `${tool} -e "console.log(process.execPath)"`;
  // A download may fail once; a second time it is the answer.
  for (let attempt = 1;; attempt++) {
    const { code, stdout, stderr } = await run("npx", [
      "-y",
      "-p",
      `${tool}@${version}`,
      "-c",
      print,
    ], { timeout: 300_000 });
    const path = stdout.trim().split("\n").pop() ?? "";
    if (code === 0 && path !== "") return path;
    if (attempt === 2) {
      throw new Error(`Cannot get ${tool}@${version} from npm: ${stderr}`);
    }
  }
}
