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
  http: ["http", "tcp", "streams"],
  ws: ["ws", "http", "tcp", "streams"],
};

/** Modules that do no I/O, and are the same on every runtime. */
const PURE_NODE = new Set<string>();

const DOOR = /(^|\/)_(deno|bun|node)(_[a-z]+)?\.ts$/;
const ADAPTER = "http/hono.ts";

/** The source without comments; strings stay. */
export function stripComments(source: string): string {
  let out = "";
  for (let i = 0; i < source.length;) {
    const two = source.slice(i, i + 2);
    const one = source[i];
    if (two === "//") {
      const end = source.indexOf("\n", i);
      i = end === -1 ? source.length : end;
    } else if (two === "/*") {
      const end = source.indexOf("*/", i + 2);
      const stop = end === -1 ? source.length : end + 2;
      out += source.slice(i, stop).replace(/[^\n]/g, " ");
      i = stop;
    } else if (one === '"' || one === "'" || one === "`") {
      let k = i + 1;
      while (k < source.length && source[k] !== one) {
        k += source[k] === "\\" ? 2 : 1;
      }
      out += source.slice(i, k + 1);
      i = k + 1;
    } else {
      out += one;
      i++;
    }
  }
  return out;
}

/** What a module imports, type imports and dynamic ones too. */
export function importsOf(source: string): string[] {
  const found: string[] = [];
  const pattern =
    /(?:^|[\s;}])(?:import|export)\s[^"';]*?from\s*"([^"]+)"|import\s*"([^"]+)"|import\(\s*"([^"]+)"/g;
  for (
    const [, from, bare, dynamic] of stripComments(source).matchAll(pattern)
  ) {
    found.push(from ?? bare ?? dynamic);
  }
  return found;
}

function resolve(file: string, specifier: string): string {
  return new URL(specifier, `file:///${file}`).pathname.slice(1);
}

/** Every rule that can be seen in one library file. */
export function inspectFile(file: string, source: string): Finding[] {
  const findings: Finding[] = [];
  const report = (rule: string, detail: string) =>
    findings.push({ rule, file, detail });
  const code = stripComments(source);
  const door = DOOR.test(file);
  const floor = file.split("/")[0];

  if (!door) {
    for (const [found] of code.matchAll(/\b(?:Deno|Bun)\s*\.\s*[A-Za-z]\w*/g)) {
      report("runtime globals stay behind their doors", found);
    }
  }
  for (const specifier of importsOf(source)) {
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
  if (/\bimport\s*\(\s*[^"\s)]/.test(code)) {
    report("dynamic imports have a literal path", "import(…)");
  }
  const lines = source.split("\n").length - 1;
  if (lines > 600) report("a file has at most 600 lines", `${lines} lines`);
  if (/\bawait using\b|^\s*using\s+\w/m.test(code)) {
    report("no `using`: Node 22 cannot read it", "using");
  }
  if (
    /\bPromise\.withResolvers\b|\bArray\.fromAsync\b|\bObject\.groupBy\b/.test(
      code,
    )
  ) {
    report("nothing that Node 20 lacks", "withResolvers, fromAsync or groupBy");
  }
  return findings;
}

interface DocNode {
  name: string;
  kind: string;
  jsDoc?: { doc?: string; tags?: { kind: string }[] };
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

/** Types of one runtime have no place in what the package declares. */
export function inspectDeclarations(file: string, source: string): Finding[] {
  const findings: Finding[] = [];
  const found = /\b(?:Deno|Bun|NodeJS)\.\w+|\bBuffer\b|from "node:/.exec(
    stripComments(source),
  );
  if (found !== null) {
    findings.push({
      rule: "public declarations name no runtime's types",
      file,
      detail: found[0],
    });
  }
  return findings;
}
