/**
 * Builds with dnt, which `build_npm.ts` starts where JSR answers, as a program
 * of its own: nothing of it gets into the lock file.
 *
 * `_dnt.ts STAGED OUT`: a folder with the library, and one for the package.
 */
const DNT = "jsr:@deno/dnt@^0.43.0";

const [staged, out] = Deno.args.map((path) => new URL(`file://${path}`));
const config = JSON.parse(
  await Deno.readTextFile(new URL("deno.json", staged)),
);
const { build } = await import(DNT);
await build({
  entryPoints: Object.entries<string>(config.exports).map(([name, path]) => ({
    name,
    path: new URL(path, staged).pathname,
  })),
  outDir: out.pathname,
  // It has the imports, and nothing else that an import map could have.
  importMap: new URL("deno.json", staged).href,
  // No shims: they would be dependencies.
  shims: {},
  test: false,
  typeCheck: false,
  scriptModule: false,
  declaration: "inline",
  declarationMap: false,
  skipSourceOutput: true,
  compilerOptions: {
    target: "ES2022",
    lib: ["ESNext", "DOM", "DOM.Iterable", "DOM.AsyncIterable"],
  },
  package: { name: config.name, version: config.version },
});

export {};
