import { scan } from "./_scan.ts";
import type { Scanned } from "./_scan.ts";

/** One thing that breaks a house rule. */
export interface Finding {
  readonly rule: string;
  readonly file: string;
  readonly detail: string;
}

const FLOORS: Record<string, readonly string[]> = {
  streams: ["streams"],
  tcp: ["tcp", "streams"],
  udp: ["udp", "streams"],
  http: ["http", "tcp", "udp", "streams"],
  ws: ["ws", "http", "tcp", "streams"],
};

/** Modules that do no I/O, and are the same on every runtime. */
const PURE_NODE = new Set(["node:crypto", "node:timers", "node:zlib"]);

/** What came to JavaScript after Node 20. */
const LATER =
  /\b(?:Promise\.(?:withResolvers|try)|Array\.fromAsync|(?:Object|Map)\.groupBy|Iterator\.from|RegExp\.escape|Symbol\.metadata)\b|\bimport\s+defer\b/;

const DOOR = /(^|\/)_(deno|bun|node)(_[a-z]+)?\.ts$/;
const ADAPTER = "http/hono.ts";

/** What a module imports, type imports and dynamic ones too. */
export function importsOf({ code, bare }: Scanned): string[] {
  const found: { at: number; specifier: string }[] = [];
  // Quotes are empty in `bare`, so that no text can look like an import.
  const pattern =
    /(?:^|[\s;}])(?:import|export)\s[^"';]*?from\s*"|\bimport\s*"|\bimport\s*\(\s*"/g;
  for (const { index, 0: text } of bare.matchAll(pattern)) {
    const start = index + text.length;
    found.push({ at: start, specifier: /^[^"]*/.exec(code.slice(start))![0] });
  }
  return found.map(({ specifier }) => specifier);
}

function resolve(file: string, specifier: string): string {
  return new URL(specifier, `file:///${file}`).pathname.slice(1);
}

/** Every rule that can be seen in one library file. */
export function inspectFile(file: string, source: string): Finding[] {
  const findings: Finding[] = [];
  const report = (rule: string, detail: string) =>
    findings.push({ rule, file, detail });
  const scanned = scan(source);
  const { bare } = scanned;
  const door = DOOR.test(file);
  const floor = file.split("/")[0];

  if (!door) {
    const pattern = /\b(?:(?:Deno|Bun)\s*[?!]?\.|process\s*\??\.)\s*\w+/g;
    for (const [found] of bare.matchAll(pattern)) {
      report("runtime globals stay behind their doors", found);
    }
  }
  for (const specifier of importsOf(scanned)) {
    if (specifier.startsWith("node:")) {
      if (!door && !PURE_NODE.has(specifier)) {
        report("node: modules stay behind their doors", specifier);
      }
    } else if (!specifier.startsWith(".")) {
      if (!(file === ADAPTER && /^hono(\/|$)/.test(specifier))) {
        report("the library imports relative files only", specifier);
      }
    } else {
      const target = resolve(file, specifier).split("/")[0];
      const allowed = FLOORS[floor];
      if (
        allowed !== undefined && file !== ADAPTER && !allowed.includes(target)
      ) {
        report("a floor imports downwards only", specifier);
      }
      if (!specifier.endsWith(".ts")) {
        report("imports name the file", specifier);
      }
    }
  }
  if (/\bimport\s*\(\s*[^"\s)]/.test(bare)) {
    report("dynamic imports have a literal path", "import(…)");
  }
  const lines = source.split("\n").length - 1;
  if (lines > 600) report("a file has at most 600 lines", `${lines} lines`);
  if (/\bawait using\b|^\s*using\s+\w/m.test(bare)) {
    report("no `using`: Node 22 cannot read it", "using");
  }
  if (
    LATER.test(bare)
  ) {
    report("nothing that Node 20 lacks", LATER.exec(bare)![0]);
  }
  return findings;
}

/** A part of what `deno doc --json` says of an exported name. */
export interface DocNode {
  name: string;
  kind: string;
  jsDoc?: { doc?: string; tags?: { kind: string }[] };
  def?: unknown;
}

/** What the entry points export, by module, as `deno doc --json` tells it. */
export function docNodes(json: string): Map<string, DocNode[]> {
  const { version, nodes } = JSON.parse(json) as {
    version: number;
    nodes: Record<
      string,
      { symbols: { name: string; declarations: Omit<DocNode, "name">[] }[] }
    >;
  };
  if (version !== 2) throw new Error(`Cannot read docs of version: ${version}`);
  return new Map(
    Object.entries(nodes).map(([url, { symbols }]) => [
      url,
      symbols.flatMap(({ name, declarations }) =>
        declarations.map((declaration) => ({ name, ...declaration }))
      ),
    ]),
  );
}

/** Public functions and classes have a description and an example. */
export function inspectDocs(file: string, nodes: DocNode[]): Finding[] {
  const documented = new Map<string, { doc: boolean; example: boolean }>();
  for (const { name, kind, jsDoc } of nodes) {
    if (kind !== "function" && kind !== "class") continue;
    const seen = documented.get(name) ?? { doc: false, example: false };
    seen.doc ||= (jsDoc?.doc ?? "") !== "";
    seen.example ||= jsDoc?.tags?.some(({ kind }) => kind === "example") ??
      false;
    documented.set(name, seen);
  }
  const findings: Finding[] = [];
  for (const [name, { doc, example }] of documented) {
    if (!doc) {
      findings.push({
        rule: "what is public is documented",
        file,
        detail: name,
      });
    } else if (!example && !name.endsWith("Error")) {
      findings.push({
        rule: "what is public has an @example",
        file,
        detail: name,
      });
    }
  }
  return findings;
}

/** Types of one runtime, and `any`, have no place in what is public. */
export function inspectTypes(file: string, nodes: DocNode[]): Finding[] {
  const findings: Finding[] = [];
  const walk = (name: string, part: unknown): void => {
    if (typeof part !== "object" || part === null) return;
    const { accessibility, kind, value } = part as Record<string, unknown>;
    if (accessibility === "private") return;
    if (kind === "keyword" && value === "any") {
      findings.push({ rule: "public types have no `any`", file, detail: name });
    }
    if (kind === "typeRef") {
      const { typeName } = value as { typeName: string };
      if (/^(?:Deno|Bun|NodeJS)\b|^Buffer$/.test(typeName)) {
        findings.push({
          rule: "public types are not those of one runtime",
          file,
          detail: `${name}: ${typeName}`,
        });
      }
    }
    for (const inner of Object.values(part)) walk(name, inner);
  };
  for (const { name, def } of nodes) walk(name, def);
  return findings;
}

/**
 * What `deno doc --lint` has against the entry points. That the adapter speaks
 * of Hono's own types is what it is for.
 */
export function inspectLint(output: string, adapter: string): Finding[] {
  const foreign = new Set<string>();
  const imports = /import\s+(?:type\s+)?\{([^}]*)\}\s+from\s+"(?:hono[^"]*)"/g;
  for (const [, list] of adapter.matchAll(imports)) {
    for (const name of list.split(",")) {
      foreign.add(name.replace(/\btype\b/, "").trim());
    }
  }
  const findings: Finding[] = [];
  const blocks = output.split(/^(?=error\[)/m)
    .filter((block) => block.startsWith("error["));
  const [, count = 0] = /Found (\d+) documentation/.exec(output) ?? [];
  if (Number(count) !== blocks.length) {
    findings.push({
      rule: "deno doc --lint can be read",
      file: "deno.json",
      detail: output,
    });
  }
  for (const block of blocks) {
    const [, rule, message] = /^error\[([\w-]+)\]: (.*)/.exec(block)!;
    const hidden = /references private type '(\w+)'/.exec(message)?.[1];
    if (hidden !== undefined && foreign.has(hidden)) continue;
    const place = /--> (?:.*\/)?([\w.-]+\/[\w.-]+:\d+)/.exec(block)?.[1] ??
      "?";
    findings.push({
      rule: `deno doc --lint: ${rule}`,
      file: place,
      detail: message,
    });
  }
  return findings;
}
