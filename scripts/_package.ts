import { run } from "./_process.ts";

/**
 * A fresh folder with the tarball installed by npm and nothing else, and the
 * tests of the package copied beside: what a user has after `npm install`.
 */
export async function installPackage(
  root: URL,
  tarball: string,
): Promise<URL> {
  const folder = new URL(
    `file://${await Deno.makeTempDir({ prefix: "sluice-user-" })}/`,
  );
  await Deno.writeTextFile(
    new URL("package.json", folder),
    '{ "name": "user", "private": true, "type": "module" }\n',
  );
  const { code, stdout, stderr } = await run("npm", [
    "install",
    "--no-audit",
    "--no-fund",
    "--ignore-scripts",
    tarball,
  ], { cwd: folder, timeout: 120_000 });
  if (code !== 0) throw new Error(`Cannot install: ${stdout}${stderr}`);
  const tests = new URL("tests/package/", root);
  for await (const { name } of Deno.readDir(tests)) {
    await Deno.copyFile(new URL(name, tests), new URL(name, folder));
  }
  return folder;
}

/**
 * Type-checks programs against the installed package: first one that has
 * nothing but the package, then one that has Hono, too. Gives what the compiler
 * says, if anything.
 */
export async function checkTypes(
  root: URL,
  folder: URL,
  node: string,
): Promise<string | undefined> {
  const tsc = new URL("node_modules/typescript/bin/tsc", root).pathname;
  const check = async (project: string) => {
    const { code, stdout, stderr } = await run(node, [tsc, "-p", project], {
      cwd: folder,
      timeout: 120_000,
    });
    return code === 0 ? undefined : stdout + stderr;
  };
  const alone = await check("tsconfig.json");
  if (alone !== undefined) return alone;
  const hono = await Deno.realPath(new URL("node_modules/hono", root));
  await Deno.symlink(hono, new URL("node_modules/hono", folder));
  return await check("tsconfig.hono.json");
}
