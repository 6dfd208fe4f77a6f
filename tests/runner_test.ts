import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import { parseJunit } from "../scripts/_junit.ts";
import { nameJavaScript } from "../scripts/_node20.ts";
import { runAgain, runFile, Summary } from "../scripts/_runner.ts";
import { assert, assertEquals, assertMatch } from "./assert.ts";
import { runtime } from "./_support.ts";

test("`parseJunit()` tells what passed, failed and was skipped", () => {
  const xml = `<testsuites><testsuite>
<testcase name="a &quot;b&quot;" time="1"/>
<testcase name="c"><failure message="m">why &lt;</failure></testcase>
<testcase name="d"><skipped message="no tool"/></testcase>
</testsuite></testsuites>`;
  assertEquals(parseJunit(xml), [
    { name: 'a "b"', outcome: "passed", detail: "" },
    { name: "c", outcome: "failed", detail: "why <" },
    { name: "d", outcome: "skipped", detail: "no tool" },
  ]);
});

test("`parseJunit()` tells the error that Node wraps", () => {
  const xml = `<testcase name="a"><failure message="m">
[Error [ERR_TEST_FAILURE]: m] {
  code: 'ERR_TEST_FAILURE',
  cause: TypeError: \x1b[31mm\x1b[39m
      at a.ts:1:2
}
</failure></testcase>`;
  assertEquals(parseJunit(xml)[0].detail, "TypeError: m\n      at a.ts:1:2");
});

test("`nameJavaScript()` renames what is imported, not what is said", () => {
  assertEquals(
    nameJavaScript(`import { a } from "./a.ts";
import "../b/c.ts"; export * from "./d.ts"; await import("./e.ts");
new URL("./f.ts", import.meta.url); new URL("./g.ts");
const text = 'import "./h.ts"'; import i from "i.ts"; // from "./j.ts"
`),
    `import { a } from "./a.js";
import "../b/c.js"; export * from "./d.js"; await import("./e.js");
new URL("./f.js", import.meta.url); new URL("./g.ts");
const text = 'import "./h.ts"'; import i from "i.ts"; // from "./j.ts"
`,
  );
});

test("`parseJunit()` counts the groups of Deno no more than the others do", () => {
  const xml = `
<testcase name="group"></testcase>
<testcase name="group &gt; a &gt; b"></testcase>
<testcase name="alone &gt; c"></testcase>
<testcase name="bad"><failure message="1 test step failed"/></testcase>
<testcase name="bad &gt; d"><failure message="why"/></testcase>
<testcase name="worse"><failure message="in a hook"/></testcase>
<testcase name="worse &gt; e"></testcase>`;
  assertEquals(parseJunit(xml).map(({ name, outcome }) => [name, outcome]), [
    ["a > b", "passed"],
    ["alone > c", "passed"],
    ["d", "failed"],
    ["worse", "failed"],
    ["e", "passed"],
  ]);
});

test("`Summary` names what was skipped once, with the reason", () => {
  const summary = new Summary();
  const skipped = (detail: string) =>
    ({ cases: [{ name: "a", outcome: "skipped", detail }] }) as const;
  summary.add("deno", "a_test.ts", skipped(""));
  summary.add("node24", "a_test.ts", skipped("not installed: nc"));
  assertEquals(summary.skipped, [
    "skipped on deno, node24: a (not installed: nc)",
  ]);
  assertEquals(summary.all, { passed: 0, failed: 0, skipped: 2 });
});

test("`Summary` counts what failed outside of a test", () => {
  const summary = new Summary();
  const cases = [{ name: "a", outcome: "passed", detail: "" }] as const;
  summary.add("bun", "a_test.ts", { cases, problem: "exit code 1" });
  summary.fail("node22", "cannot be had");
  assertEquals(summary.all, { passed: 1, failed: 2, skipped: 0 });
  assertEquals(summary.failures, [
    "bun a_test.ts: exit code 1",
    "node22 cannot be had",
  ]);
});

const files = {
  "mixed_test.ts": `import { describe, test } from "node:test";
describe("group", () => {
  test("passes", () => {});
  test("fails", () => { throw new Error("boom"); });
});
test("is skipped", { skip: "no tool" }, () => {});`,
  "lost_test.ts": `import "./nowhere.ts";`,
  "empty_test.ts": `export {};`,
  "crash_test.ts": `import { test } from "node:test";
import process from "node:process";
test("ends the process", () => process.exit(3));`,
  "hang_test.ts": `import { test } from "node:test";
test("waits for ever", () => new Promise(() => setInterval(() => {}, 99)));`,
};

/** What the runner says of a file; a process in it must not outlive it. */
async function verdicts(name: string): Promise<Record<string, string>> {
  const { resolveRuntime } = await import("../scripts/_runtimes.ts");
  const { path } = await resolveRuntime(name);
  const folder = await mkdtemp(join(tmpdir(), "sluice-runner-"));
  try {
    await mkdir(join(folder, "tests"));
    const found: Record<string, string> = {};
    for (const [file, source] of Object.entries(files)) {
      await writeFile(join(folder, "tests", file), source);
      const { cases, problem } = await runFile(
        { name, version: "", path },
        `tests/${file}`,
        pathToFileURL(`${folder}/`),
        { file: file === "hang_test.ts" ? 2000 : 30_000, test: 20_000 },
      );
      const counts = new Summary().add(name, file, { cases, problem });
      found[file] = `${counts.passed} ${counts.failed} ${counts.skipped}` +
        (problem === undefined ? "" : ` ${problem.split("\n")[0]}`);
    }
    return found;
  } finally {
    await rm(folder, { recursive: true });
  }
}

// The runner is a program for Deno, which runs the others.
if (runtime === "deno") {
  for (const name of ["deno", "bun", "node24"]) {
    test(`\`runFile()\` misses nothing that goes wrong on ${name}`, async () => {
      const found = await verdicts(name);
      assertEquals(found["mixed_test.ts"], "1 1 1");
      assertMatch(found["lost_test.ts"], /^0 1 0 exit code 1, no test ran/);
      assertMatch(found["empty_test.ts"], /^0 1 0 exit code 0, no test ran/);
      assertMatch(found["hang_test.ts"], /^0 1 0 still running after 2 s/);
      const [passed, failed] = found["crash_test.ts"].split(" ");
      assert(Number(failed) > 0, `${passed} passed, ${failed} failed`);
    });
  }
}

/** A file whose only test goes like this, first and then again. */
function twice(...outcomes: ["passed" | "failed", "passed" | "failed"]) {
  const [result, second] = outcomes.map((outcome) => ({
    cases: [{ name: "a", outcome, detail: "why" }],
  }));
  const failed = {
    runtime: "deno",
    file: "a_test.ts",
    result,
    runs: 0,
    again() {
      this.runs++;
      return Promise.resolve(second);
    },
  };
  failed.again = failed.again.bind(failed);
  return failed;
}

test("`runAgain()` names what passes then, and counts what does not", async () => {
  const [unsteady, broken] = [
    twice("failed", "passed"),
    twice("failed", "failed"),
  ];
  const summary = new Summary();
  await runAgain([unsteady, broken], summary);
  assertEquals([unsteady.runs, broken.runs], [1, 1]);
  assertEquals(summary.all, { passed: 1, failed: 1, skipped: 0 });
  assertEquals(summary.unsteady, ["deno a_test.ts: a"]);
  assertEquals(summary.failures, ["deno a_test.ts: a\nwhy"]);
});

test("`runAgain()` runs nothing again when more than eight files failed", async () => {
  const failed = Array.from({ length: 9 }, () => twice("failed", "passed"));
  const summary = new Summary();
  await runAgain(failed, summary);
  assertEquals(failed.map(({ runs }) => runs), new Array(9).fill(0));
  assertEquals(summary.all, { passed: 0, failed: 9, skipped: 0 });
  assertEquals(summary.unsteady, []);
});
