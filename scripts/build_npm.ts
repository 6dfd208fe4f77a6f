/**
 * Builds the npm package into `npm/`: `sluice-net-VERSION.tgz`.
 *
 * dnt does it where JSR can be reached; where it cannot, `deno pack`, which
 * is part of Deno and needs no network, does. Both get the same staged copy of
 * the library (no tests, no stray files) and make modules and declarations in
 * the same places; the package.json is our own.
 */
import { run } from "./_process.ts";

const DNT = "jsr:@deno/dnt@^0.43.0";
const FOLDERS = ["streams", "tcp", "udp", "http", "ws"];
const FILES = ["mod.ts", "README.md", "LICENSE", "CHANGELOG.md"];

/** What the package takes from deno.json. */
export interface DenoJson {
  name: string;
  version: string;
  license: string;
  exports: Record<string, string>;
  imports: Record<string, string>;
}

/** The fields of package.json that are looked at. */
export interface PackageJson {
  readonly [key: string]: unknown;
  readonly exports: Record<string, { types: string; default: string }>;
}

async function copyFolder(from: URL, to: URL): Promise<void> {
  await Deno.mkdir(to, { recursive: true });
  for await (const entry of Deno.readDir(from)) {
    if (!entry.name.endsWith(".ts")) continue;
    await Deno.copyFile(new URL(entry.name, from), new URL(entry.name, to));
  }
}

/** A copy of what is published, and nothing else. */
async function stage(root: URL, config: DenoJson): Promise<URL> {
  const folder = new URL(
    `file://${await Deno.makeTempDir({ prefix: "sluice-npm-" })}/`,
  );
  for (const name of FOLDERS) {
    await copyFolder(new URL(`${name}/`, root), new URL(`${name}/`, folder));
  }
  for (const name of FILES) {
    await Deno.copyFile(new URL(name, root), new URL(name, folder));
  }
  const { name, version, license, exports } = config;
  // hono stays a bare name: whoever imports the adapter has hono.
  const { hono, "hono/": subpaths } = config.imports;
  const imports = { hono, "hono/": subpaths };
  await Deno.writeTextFile(
    new URL("deno.json", folder),
    JSON.stringify({ name, version, license, exports, imports }, null, 2),
  );
  return folder;
}

/** Whether JSR answers with dnt before anybody gets impatient. */
async function hasDnt(staged: URL): Promise<boolean> {
  const { code } = await run(
    Deno.execPath(),
    ["cache", "--no-lock", "--no-config", DNT],
    { cwd: staged, timeout: 20_000 },
  );
  return code === 0;
}

/** Fills `out` with modules and declarations made by dnt. */
async function buildWithDnt(staged: URL, out: URL): Promise<void> {
  const made = new URL("dnt/", staged);
  const { code, stdout, stderr } = await run(Deno.execPath(), [
    "run",
    "-A",
    "--no-lock",
    "--no-config",
    new URL("_dnt.ts", import.meta.url).pathname,
    staged.pathname,
    made.pathname,
  ], { cwd: staged, timeout: 300_000 });
  if (code !== 0) throw new Error(`Cannot build with dnt: ${stdout}${stderr}`);
  await Deno.rename(new URL("esm/", made), out);
}

/** Fills `out` with modules and declarations made by `deno pack`. */
async function buildWithDeno(staged: URL, out: URL): Promise<void> {
  const tarball = new URL("packed.tgz", staged).pathname;
  const packed = await run(Deno.execPath(), [
    "pack",
    "--allow-dirty",
    "--no-source-maps",
    "--output",
    tarball,
  ], { cwd: staged, timeout: 120_000 });
  if (packed.code !== 0) {
    throw new Error(`Cannot pack: ${packed.stdout}${packed.stderr}`);
  }
  await Deno.mkdir(out, { recursive: true });
  const untar = await run("tar", [
    "-xzf",
    tarball,
    "--strip-components=1",
    "-C",
    out.pathname,
  ]);
  if (untar.code !== 0) throw new Error(`Cannot unpack: ${untar.stderr}`);
}

/** Modules that no entry point reaches are packed as they are: not wanted. */
async function dropSources(folder: URL): Promise<void> {
  for await (const { name, isDirectory } of Deno.readDir(folder)) {
    if (isDirectory) await dropSources(new URL(`${name}/`, folder));
    else if (/(?<!\.d)\.ts$/.test(name)) {
      await Deno.remove(new URL(name, folder));
    }
  }
}

/** The package.json, whatever tool made the modules. */
export function packageJson(config: DenoJson): PackageJson {
  const { name, version, license } = config;
  const file = (entry: string, extension: string) =>
    entry.replace(/\.ts$/, extension);
  const hono = /^npm:hono@(.+)$/.exec(config.imports.hono)![1];
  return {
    name,
    version,
    description:
      "One streaming API for HTTP, WebSocket, TCP and UDP on Deno, Bun and Node",
    license,
    type: "module",
    sideEffects: false,
    engines: { node: ">=20" },
    main: file(config.exports["."], ".js"),
    types: file(config.exports["."], ".d.ts"),
    exports: Object.fromEntries(
      Object.entries(config.exports).map(([name, entry]) => [name, {
        types: file(entry, ".d.ts"),
        default: file(entry, ".js"),
      }]),
    ),
    peerDependencies: { hono },
    peerDependenciesMeta: { hono: { optional: true } },
  };
}

/**
 * Makes a package of the modules in a folder; says what is wrong with it
 * before anybody installs it.
 */
async function complete(
  staged: URL,
  out: URL,
  config: DenoJson,
): Promise<void> {
  await dropSources(out);
  const made = packageJson(config);
  await Deno.writeTextFile(
    new URL("package.json", out),
    JSON.stringify(made, null, 2) + "\n",
  );
  for (const file of FILES.slice(1)) {
    await Deno.copyFile(new URL(file, staged), new URL(file, out));
  }
  for (const { types, default: module } of Object.values(made.exports)) {
    for (const file of [types, module]) {
      const source = await Deno.readTextFile(new URL(file, out));
      if (/(?:from|import\() ?"[^"]*\.ts"/.test(source)) {
        throw new Error(`Cannot publish sources: ${file} imports one`);
      }
    }
  }
}

/** Builds the package; gives the path of its tarball. */
export async function buildNpm(root: URL): Promise<string> {
  const config: DenoJson = JSON.parse(
    await Deno.readTextFile(new URL("deno.json", root)),
  );
  const npm = new URL("npm/", root);
  await Deno.remove(npm, { recursive: true }).catch(() => {});
  await Deno.mkdir(npm, { recursive: true });
  const staged = await stage(root, config);
  const folder = new URL("package/", npm);
  try {
    let tool = "deno pack: JSR does not answer";
    if (await hasDnt(staged)) {
      try {
        await buildWithDnt(staged, folder);
        await complete(staged, folder, config);
        tool = "dnt";
      } catch (error) {
        console.error(error);
        tool = "deno pack: dnt failed";
        await Deno.remove(folder, { recursive: true }).catch(() => {});
      }
    }
    if (tool !== "dnt") {
      await buildWithDeno(staged, folder);
      await complete(staged, folder, config);
    }
    console.log(`Built with ${tool}`);
    const packed = await run("npm", ["pack", "--silent", folder.pathname], {
      cwd: npm,
      timeout: 60_000,
    });
    if (packed.code !== 0) {
      throw new Error(`Cannot pack with npm: ${packed.stderr}`);
    }
    return new URL(packed.stdout.trim().split("\n").pop()!, npm).pathname;
  } finally {
    await Deno.remove(staged, { recursive: true });
  }
}

if (import.meta.main) {
  console.log(await buildNpm(new URL("../", import.meta.url)));
}
