import { test } from "node:test";
import { assertEquals } from "./assert.ts";
import {
  importsOf,
  inspectDeclarations,
  inspectDocs,
  inspectFile,
} from "../scripts/_rules.ts";

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

test("`importsOf()` sees every kind of import", () => {
  const source = `
import "./a.ts";
import b, { type c } from "./b.ts";
export * from "./d.ts";
export type { E } from "./e.ts";
// import "./no.ts";
const f = import("./f.ts");
`;
  assertEquals(importsOf(source), [
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

test("`inspectDeclarations()` finds types of one runtime", () => {
  assertEquals(inspectDeclarations("a.d.ts", "// Buffer").length, 0);
  assertEquals(inspectDeclarations("a.d.ts", "let a: Buffer;").length, 1);
  assertEquals(inspectDeclarations("a.d.ts", "let a: Deno.Conn;").length, 1);
});
