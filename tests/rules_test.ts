import { readFile } from "node:fs/promises";
import { test } from "node:test";
import { assertEquals, assertThrows } from "./assert.ts";
import {
  docNodes,
  importsOf,
  inspectDocs,
  inspectFile,
  inspectLint,
  inspectTypes,
} from "../scripts/_rules.ts";
import { scan } from "../scripts/_scan.ts";
import { packageJson } from "../scripts/build_npm.ts";

/** The rules that a file breaks. */
function broken(file: string, source: string): string[] {
  return inspectFile(file, source).map(({ rule }) => rule);
}

test("`inspectFile()` lets a clean file pass", () => {
  const source = `// Deno.serve is not used here
import { a } from "./a.ts";
import type { B } from "../streams/b.ts";
export const c: B = a("Deno");
`;
  assertEquals(broken("tcp/x.ts", source), []);
});

test("`inspectFile()` keeps runtimes behind their doors", () => {
  const globals = "runtime globals stay behind their doors";
  assertEquals(broken("tcp/x.ts", "Deno.listen({});"), [globals]);
  assertEquals(broken("http/x.ts", "Bun .serve({});"), [globals]);
  assertEquals(broken("tcp/_deno.ts", "Deno.listen({});"), []);
  const modules = "node: modules stay behind their doors";
  assertEquals(broken("tcp/x.ts", 'import net from "node:net";'), [modules]);
  assertEquals(broken("tcp/x.ts", 'await import("node:net");'), [modules]);
  assertEquals(broken("tcp/_node.ts", 'import net from "node:net";'), []);
});

test("`inspectFile()` lets floors import downwards only", () => {
  const rule = "a floor imports downwards only";
  assertEquals(broken("tcp/x.ts", 'import "../http/mod.ts";'), [rule]);
  assertEquals(broken("streams/x.ts", 'import "../tcp/mod.ts";'), [rule]);
  assertEquals(broken("udp/x.ts", 'import "../tcp/mod.ts";'), [rule]);
  assertEquals(broken("ws/x.ts", 'import "../http/mod.ts";'), []);
  assertEquals(broken("http/x.ts", 'import "../udp/mod.ts";'), []);
  assertEquals(broken("udp/x.ts", 'import "../http/mod.ts";'), [rule]);
});

test("`inspectFile()` refuses packages, aliases and computed imports", () => {
  const relative = "the library imports relative files only";
  assertEquals(broken("http/x.ts", 'import "hono";'), [relative]);
  assertEquals(broken("http/hono.ts", 'import "hono/ws";'), []);
  assertEquals(broken("http/x.ts", "await import(name);"), [
    "dynamic imports have a literal path",
  ]);
  assertEquals(broken("http/x.ts", 'import "./y";'), ["imports name the file"]);
});

test("`inspectFile()` refuses long files and newer syntax", () => {
  assertEquals(broken("tcp/x.ts", "a;\n".repeat(601)), [
    "a file has at most 600 lines",
  ]);
  assertEquals(broken("tcp/x.ts", "await using x = y;"), [
    "no `using`: Node 22 cannot read it",
  ]);
  assertEquals(broken("tcp/x.ts", "Promise.withResolvers();"), [
    "nothing that Node 20 lacks",
  ]);
});

test("`inspectFile()` is not misled by text", () => {
  const source = `const a = "Deno.serve"; const b = /["'\`]/;
const c = \`\${b ? "}" : \`Bun.serve\`} import "hono"; \`; // process.exit
/* import "./y" */ const d = a / 2; const e = "using x"; const f = d / 1;
`;
  assertEquals(broken("tcp/x.ts", source), []);
  assertEquals(broken("tcp/x.ts", 'const a = /"/; Deno.exit(); "'), [
    "runtime globals stay behind their doors",
  ]);
  assertEquals(broken("tcp/x.ts", "`${Deno.pid}`"), [
    "runtime globals stay behind their doors",
  ]);
});

test("`scan()` keeps every place in the file", () => {
  const source = 'a("b\\"c", /[/"]\\//g, `d${{ e: `f` }}g`) / 2 // h';
  const { bare, code } = scan(source);
  assertEquals(code, source.replace("// h", "    "));
  assertEquals(bare, 'a("    ", /      /g, ` ${{ e: ` ` }} `) / 2     ');
});

test("`importsOf()` sees every kind of import", () => {
  const source = `
import "./a.ts";
import b, { type c } from "./b.ts";
export * from "./d.ts";
export type { E } from "./e.ts";
// import "./no.ts";
const f = import("./f.ts");
const no = 'import "./no.ts"';
`;
  assertEquals(importsOf(scan(source)), [
    "./a.ts",
    "./b.ts",
    "./d.ts",
    "./e.ts",
    "./f.ts",
  ]);
});

test("`inspectDocs()` wants a description and an example", () => {
  const nodes = [
    { name: "a", kind: "function" },
    { name: "b", kind: "function", jsDoc: { doc: "B" } },
    {
      name: "c",
      kind: "class",
      jsDoc: { doc: "C", tags: [{ kind: "example" }] },
    },
    { name: "d", kind: "interface" },
  ];
  assertEquals(
    inspectDocs("mod.ts", nodes).map(({ detail }) => detail),
    ["a", "b"],
  );
});

test("`docNodes()` reads the second version of the docs, and no other", () => {
  const declarations = [{ kind: "function", def: {} }];
  const nodes = { "file:///a.ts": { symbols: [{ name: "a", declarations }] } };
  assertEquals(
    docNodes(JSON.stringify({ version: 2, nodes })).get("file:///a.ts"),
    [{ name: "a", kind: "function", def: {} }],
  );
  assertThrows(() => docNodes('{ "version": 3 }'), Error, "of version: 3");
});

test("`inspectTypes()` finds `any` and the types of one runtime", () => {
  const reference = (typeName: string) => ({
    kind: "typeRef",
    value: { typeName },
  });
  const any = { kind: "keyword", value: "any" };
  const found = (def: unknown) =>
    inspectTypes("mod.ts", [{ name: "f", kind: "function", def }])
      .map(({ detail }) => detail);
  assertEquals(found({ params: [{ tsType: any }] }), ["f"]);
  assertEquals(found({ returnType: reference("Deno.Conn") }), ["f: Deno.Conn"]);
  assertEquals(found({ returnType: reference("Buffer") }), ["f: Buffer"]);
  assertEquals(found({ returnType: reference("Uint8Array") }), []);
  assertEquals(
    found({ properties: [{ accessibility: "private", tsType: any }] }),
    [],
  );
});

test("`inspectLint()` lets the adapter speak of Hono's types only", () => {
  const block = (name: string) =>
    `error[private-type-ref]: public type 'f' references private type '${name}'
  --> /home/me/sluice/http/hono.ts:7:1
`;
  const source = 'import type { Context } from "hono";';
  const lint = (names: string[], count: number) =>
    inspectLint(
      `${
        names.map(block).join("\n")
      }\nFound ${count} documentation lint errors.`,
      source,
    ).map(({ rule, file }) => `${file} ${rule}`);
  assertEquals(lint(["Context"], 1), []);
  assertEquals(lint(["Context", "Hidden"], 2), [
    "http/hono.ts:7 deno doc --lint: private-type-ref",
  ]);
  assertEquals(lint([], 1), ["deno.json deno doc --lint can be read"]);
});

test("`packageJson()` has the exports of deno.json and no dependency", async () => {
  const config = JSON.parse(
    await readFile(new URL("../deno.json", import.meta.url), "utf8"),
  );
  const made = packageJson(config);
  assertEquals(Object.keys(made.exports), Object.keys(config.exports));
  assertEquals(made.exports["./hono"], {
    types: "./http/hono.d.ts",
    default: "./http/hono.js",
  });
  assertEquals([made.dependencies, made.name, made.version], [
    undefined,
    config.name,
    config.version,
  ]);
  assertEquals(made.peerDependencies, { hono: "^4.7.0" });
  assertEquals(made.peerDependenciesMeta, { hono: { optional: true } });
});
