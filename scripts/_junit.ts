/** One test of a report. */
export interface TestCase {
  readonly name: string;
  readonly outcome: "passed" | "failed" | "skipped";
  /** Why it failed or was skipped. */
  readonly detail: string;
}

const ENTITIES: Record<string, string> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
};

function unescape(text: string): string {
  return text.replace(
    /&(?:#x([0-9a-f]+)|#(\d+)|(\w+));/gi,
    (all, hex, decimal, name) =>
      hex !== undefined
        ? String.fromCodePoint(parseInt(hex, 16))
        : decimal !== undefined
        ? String.fromCodePoint(Number(decimal))
        : ENTITIES[name] ?? all,
  );
}

function attribute(tag: string, name: string): string {
  const found = new RegExp(`\\s${name}="([^"]*)"`).exec(tag);
  // Node escapes the quotes of a name twice.
  return found === null ? "" : unescape(found[1]).replaceAll("&quot;", '"');
}

/** What is said of a failure or a skip; the longer form tells it all. */
function reason(tag: string, body = ""): string {
  const long = unescape(body.replaceAll(/<!\[CDATA\[|\]\]>/g, "")).trim();
  // Node wraps the error that counts in one of its own.
  const cause = /\n\s*cause: ([\s\S]*)\n\}$/.exec(long)?.[1];
  const text = cause ?? (long === "" ? attribute(tag, "message") : long);
  // deno-lint-ignore no-control-regex -- assertions color what they compare
  return text.replaceAll(/\x1b\[\d+m/g, "");
}

/**
 * Reads the test cases of a JUnit report, as all three runtimes write it.
 * Deno counts a group as a test, too, and puts its name before those of its
 * tests; the others do not, so here a group counts only if it failed by itself.
 */
export function parseJunit(xml: string): TestCase[] {
  const cases: TestCase[] = [];
  const pattern = /<testcase\b([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g;
  for (const [, tag, body = ""] of xml.matchAll(pattern)) {
    const mark = /<(failure|error|skipped)\b([^>]*?)(?:\/>|>([\s\S]*?)<\/\1>)/
      .exec(body);
    const detail = mark === null ? "" : reason(mark[2], mark[3]);
    cases.push({
      name: attribute(tag, "name"),
      outcome: mark === null
        ? "passed"
        : mark[1] === "skipped"
        ? "skipped"
        : "failed",
      detail,
    });
  }
  return ungroup(cases);
}

function ungroup(cases: TestCase[]): TestCase[] {
  const groups = new Map<string, { failed: boolean }>();
  const names = new Set(cases.map(({ name }) => name));
  const parent = (name: string) => {
    for (
      let end = name.lastIndexOf(" > ");
      end > 0;
      end = name.lastIndexOf(" > ", end - 1)
    ) {
      const before = name.slice(0, end);
      if (names.has(before)) return before;
    }
  };
  for (const { name, outcome } of cases) {
    const group = parent(name);
    if (group === undefined) continue;
    const { failed } = groups.get(group) ?? { failed: false };
    groups.set(group, { failed: failed || outcome === "failed" });
  }
  return cases
    .filter(({ name, outcome }) => {
      const group = groups.get(name);
      return group === undefined || (outcome === "failed" && !group.failed);
    })
    .map((test) => {
      const group = parent(test.name);
      return group === undefined
        ? test
        : { ...test, name: test.name.slice(group.length + 3) };
    });
}
