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
  return found === null ? "" : unescape(found[1]);
}

/** Reads the test cases of a JUnit report, as all three runtimes write it. */
export function parseJunit(xml: string): TestCase[] {
  const cases: TestCase[] = [];
  const pattern = /<testcase\b([^>]*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g;
  for (const [, tag, body = ""] of xml.matchAll(pattern)) {
    const mark = /<(failure|error|skipped)\b([^>]*?)(?:\/>|>([\s\S]*?)<\/\1>)/
      .exec(body);
    const detail = mark === null
      ? ""
      : [attribute(mark[2], "message"), unescape(mark[3] ?? "")].filter(Boolean)
        .join("\n");
    cases.push({
      name: attribute(tag, "name"),
      outcome: mark === null
        ? "passed"
        : mark[1] === "skipped"
        ? "skipped"
        : "failed",
      detail: detail.replaceAll(/<!\[CDATA\[|\]\]>/g, ""),
    });
  }
  return cases;
}
