/**
 * Runs every `tests/*_test.ts` on every runtime, two at a time, and ends with
 * a line `N passed, N failed, N skipped`.
 *
 * ```sh
 * deno task test [FILTER …] [--runtime deno,bun,node24] [--jobs N] [--soak]
 * ```
 * A filter is a part of a file's name; `--soak` takes the long ones, of
 * `tests/soak/`. On Node 20, which cannot read
 * TypeScript, the same tests run on the npm package.
 */
import { parseArgs } from "node:util";
import { buildNode20Suite } from "./_node20.ts";
import { checkTypes, installPackage } from "./_package.ts";
import { buildNpm } from "./build_npm.ts";
import { parseJunit } from "./_junit.ts";
import { resolveRuntime, run, runtimeNames } from "./_runtimes.ts";
import type { Runtime } from "./_runtimes.ts";

/** A test file that runs longer than this hangs. */
const fileTimeout = () => values.soak ? 1_800_000 : 180_000;
/** The bound of one test. */
const testTimeout = () => values.soak ? 1_700_000 : 60_000;

const root = new URL("../", import.meta.url);
const { values, positionals } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    runtime: { type: "string", default: runtimeNames.join(",") },
    jobs: { type: "string", default: "2" },
    soak: { type: "boolean", default: false },
  },
});

interface Job {
  readonly runtime: Runtime;
  readonly file: string;
  readonly cwd: URL;
}

interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

const totals = new Map<string, Totals>();
const skipped = new Map<string, Set<string>>();
const failures: string[] = [];

async function testFiles(): Promise<string[]> {
  const files: string[] = [];
  const folder = values.soak ? "tests/soak/" : "tests/";
  for await (const { name } of Deno.readDir(new URL(folder, root))) {
    if (!name.endsWith("_test.ts")) continue;
    if (positionals.length > 0 && !positionals.some((p) => name.includes(p))) {
      continue;
    }
    files.push(`${folder}${name}`);
  }
  return files.sort();
}

function commandArgs({ runtime, file }: Job, report: string): string[] {
  if (runtime.name === "deno") {
    return ["test", "-A", "--no-check", `--junit-path=${report}`, file];
  }
  if (runtime.name === "bun") {
    return [
      "test",
      `--timeout=${testTimeout()}`,
      "--reporter=junit",
      `--reporter-outfile=${report}`,
      `./${file}`,
    ];
  }
  return [
    // Without --test-force-exit: a socket or timer left behind is found out.
    "--test",
    `--test-timeout=${testTimeout()}`,
    "--test-reporter=junit",
    `--test-reporter-destination=${report}`,
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
    file,
  ];
}

async function runJob(job: Job): Promise<void> {
  const { runtime, file } = job;
  const report = await Deno.makeTempFile({ suffix: ".xml" });
  const started = performance.now();
  const output = await run(runtime.path, commandArgs(job, report), {
    cwd: job.cwd,
    timeout: fileTimeout(),
  });
  const cases = parseJunit(await Deno.readTextFile(report).catch(() => ""));
  await Deno.remove(report);
  const sum = totals.get(runtime.name)!;
  const count = { passed: 0, failed: 0, skipped: 0 };
  for (const { name, outcome, detail } of cases) {
    count[outcome]++;
    if (outcome === "skipped") {
      const key = `${name}${detail === "" ? "" : ` (${detail})`}`;
      if (!skipped.has(key)) skipped.set(key, new Set());
      skipped.get(key)!.add(runtime.name);
    }
    if (outcome === "failed") {
      failures.push(`${runtime.name} ${file}: ${name}\n${detail}`);
    }
  }
  // A file that could not be loaded, crashed or hung has no failed case.
  if ((output.code !== 0 || cases.length === 0) && count.failed === 0) {
    count.failed++;
    const why = output.code === 124
      ? `still running after ${fileTimeout() / 1000} s`
      : cases.length === 0
      ? `exit code ${output.code}, no test ran`
      : `exit code ${output.code}`;
    const tail = (output.stdout + output.stderr).slice(-4000);
    failures.push(`${runtime.name} ${file}: ${why}\n${tail}`);
  }
  sum.passed += count.passed;
  sum.failed += count.failed;
  sum.skipped += count.skipped;
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  const mark = count.failed > 0 ? "FAILED" : "ok";
  console.log(
    `${mark.padEnd(6)} ${runtime.name.padEnd(6)} ${file} (${count.passed}` +
      `${count.failed ? `, ${count.failed} failed` : ""}` +
      `${count.skipped ? `, ${count.skipped} skipped` : ""}) ${seconds} s`,
  );
}

async function work(jobs: Job[]): Promise<void> {
  for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
    await runJob(job);
  }
}

const install = await run(Deno.execPath(), ["install"], { cwd: root });
if (install.code !== 0) {
  console.error(`Cannot install the dev packages: ${install.stderr}`);
  Deno.exit(1);
}
const files = await testFiles();
const names = values.runtime.split(",");
const wantsPackage = !values.soak && (positionals.length === 0 ||
  positionals.some((p) => "package_test".includes(p)));
if (files.length === 0 && !wantsPackage) {
  console.error(`No test file matches: ${positionals.join(" ")}`);
  Deno.exit(1);
}
const jobs: Job[] = [];
let tarball: string | undefined;
let user: URL | undefined;
for (const name of names) {
  const runtime = await resolveRuntime(name);
  totals.set(name, { passed: 0, failed: 0, skipped: 0 });
  console.log(`${name} ${runtime.version}: ${runtime.path}`);
  const packed = name === "node20" || (name === "node24" && wantsPackage);
  if (packed) tarball ??= await buildNpm(root);
  const cwd = name === "node20" && files.length > 0
    ? await buildNode20Suite(root, tarball!)
    : root;
  for (const file of files) {
    const path = name === "node20" ? file.replace(/\.ts$/, ".js") : file;
    jobs.push({ runtime, file: path, cwd });
  }
  if (packed && wantsPackage) {
    user ??= await installPackage(root, tarball!);
    jobs.push({ runtime, file: "package_test.mjs", cwd: user });
    if (name === "node24") {
      const wrong = await checkTypes(root, user, runtime.path);
      totals.get(name)![wrong === undefined ? "passed" : "failed"]++;
      if (wrong !== undefined) failures.push(`package types\n${wrong}`);
    }
  }
}
const started = performance.now();
await Promise.all(
  Array.from({ length: Number(values.jobs) }, () => work(jobs)),
);

if (user !== undefined) await Deno.remove(user, { recursive: true });

for (const failure of failures) console.log(`\n--- ${failure}`);
console.log();
for (const [name, on] of [...skipped].sort()) {
  console.log(`skipped on ${[...on].join(", ")}: ${name}`);
}
const all = { passed: 0, failed: 0, skipped: 0 };
for (const [name, sum] of totals) {
  if (sum.passed === 0) {
    console.log(`No test passed on ${name}`);
    all.failed++;
  }
  all.passed += sum.passed;
  all.failed += sum.failed;
  all.skipped += sum.skipped;
  console.log(
    `${name}: ${sum.passed} passed, ${sum.failed} failed, ${sum.skipped} skipped`,
  );
}
console.log(`${((performance.now() - started) / 1000).toFixed(0)} s`);
console.log(
  `${all.passed} passed, ${all.failed} failed, ${all.skipped} skipped`,
);
Deno.exit(all.failed === 0 ? 0 : 1);
