/**
 * Builds the npm package into `npm/`: `sluice-net-VERSION.tgz`.
 *
 * dnt does it where JSR can be reached; where it cannot, `deno pack`, which
 * is part of Deno and needs no network, does. Both get the same staged copy of
 * the library (no tests, no stray files) and the package is checked to have
 * the same exports and no dependency.
 */
import { run } from "./_process.ts";

const DNT = "jsr:@deno/dnt@^0.43.0";
const FOLDERS = ["streams", "tcp", "udp", "http", "ws"];
const FILES = ["mod.ts", "README.md", "LICENSE", "CHANGELOG.md"];

interface DenoJson {
  name: string;
  version: string;
  license: string;
  exports: Record<string, string>;
  imports: Record<string, string>;
}

interface PackageJson {
  [key: string]: unknown;
  exports: Record<string, unknown>;
  dependencies?: Record<string, string>;
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

/** Builds with dnt; `false` where JSR does not answer. */
async function buildWithDnt(
  root: URL,
  staged: URL,
  config: DenoJson,
): Promise<boolean> {
  const cached = await run(Deno.execPath(), ["cache", "--no-lock", DNT], {
    cwd: staged,
    timeout: 20_000,
  });
  if (cached.code !== 0) return false;
  const { build } = await import(DNT);
  await build({
    entryPoints: Object.entries(config.exports).map(([name, path]) => ({
      name,
      path: new URL(path, staged).pathname,
    })),
    outDir: new URL("npm/dnt/", root).pathname,
    shims: {},
    test: false,
    scriptModule: false,
    typeCheck: false,
    package: packageFields(config),
  });
  for (const file of FILES.slice(1)) {
    await Deno.copyFile(
      new URL(file, staged),
      new URL(`npm/dnt/${file}`, root),
    );
  }
  return true;
}

/** Fields of package.json that no tool can know. */
function packageFields(config: DenoJson): Record<string, unknown> {
  return {
    name: config.name,
    version: config.version,
    description:
      "One streaming API for HTTP, WebSocket, TCP and UDP on Deno, Bun and Node",
    license: config.license,
    type: "module",
    sideEffects: false,
    engines: { node: ">=20" },
    peerDependencies: { hono: "^4" },
    peerDependenciesMeta: { hono: { optional: true } },
  };
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

async function buildWithDeno(
  root: URL,
  staged: URL,
  config: DenoJson,
): Promise<void> {
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
  const out = new URL("npm/package/", root).pathname;
  await Deno.mkdir(out, { recursive: true });
  const untar = await run("tar", [
    "-xzf",
    tarball,
    "--strip-components=1",
    "-C",
    out,
  ]);
  if (untar.code !== 0) throw new Error(`Cannot unpack: ${untar.stderr}`);
  await dropSources(new URL(`file://${out}`));
  const path = `${out}package.json`;
  const made: PackageJson = JSON.parse(await Deno.readTextFile(path));
  delete made.dependencies;
  const fields = { ...made, ...packageFields(config) };
  await Deno.writeTextFile(path, JSON.stringify(fields, null, 2) + "\n");
}

/** Says what is wrong with a built package, before anybody installs it. */
export function inspectPackage(
  built: PackageJson,
  config: { exports: Record<string, string> },
): string[] {
  const wrong: string[] = [];
  const want = Object.keys(config.exports).sort().join(" ");
  const have = Object.keys(built.exports ?? {}).filter((name) =>
    name !== "./package.json"
  ).sort().join(" ");
  if (want !== have) wrong.push(`exports are ${have}, not ${want}`);
  if (Object.keys(built.dependencies ?? {}).length > 0) {
    wrong.push(`it has dependencies: ${Object.keys(built.dependencies!)}`);
  }
  return wrong;
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
  try {
    const dnt = await buildWithDnt(root, staged, config);
    if (!dnt) await buildWithDeno(root, staged, config);
    console.log(`Built with ${dnt ? "dnt" : "deno pack: JSR does not answer"}`);
    const folder = new URL(dnt ? "dnt/" : "package/", npm);
    const built: PackageJson = JSON.parse(
      await Deno.readTextFile(new URL("package.json", folder)),
    );
    const wrong = inspectPackage(built, config);
    if (wrong.length > 0) {
      throw new Error(`The npm package is wrong: ${wrong.join("; ")}`);
    }
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
