/**
 * Runs every `tests/*_test.ts` on every runtime, two at a time, and ends with
 * a line `N passed, N failed, N skipped`. A file that fails is run once more,
 * alone, when all others are done: what passes then is told of by name.
 *
 * ```sh
 * deno task test [FILTER …] [--runtime deno,bun,node24] [--jobs N] [--soak]
 * ```
 * A filter is a part of a file's name; `--soak` takes the long ones, of
 * `tests/soak/`. On Node 20, which cannot read TypeScript, the same tests run
 * on the npm package.
 */
import { parseArgs } from "node:util";
import { buildNode20Suite } from "./_node20.ts";
import { checkTypes, installPackage } from "./_package.ts";
import { run } from "./_process.ts";
import { countsOf, failuresOf, runAgain, runFile, Summary } from "./_runner.ts";
import type { FailedFile, FileResult, Limits } from "./_runner.ts";
import { resolveRuntime, runtimeNames } from "./_runtimes.ts";
import type { Runtime } from "./_runtimes.ts";
import { buildNpm } from "./build_npm.ts";

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
const names = values.runtime.split(",");
const limits: Limits = values.soak
  ? { file: 1_800_000, test: 1_700_000 }
  : { file: 180_000, test: 60_000 };

interface Job {
  readonly runtime: Runtime;
  readonly file: string;
  readonly cwd: URL;
}

const summary = new Summary();
const failed: FailedFile[] = [];
const started = performance.now();

function isWanted(file: string): boolean {
  return positionals.length === 0 || positionals.some((p) => file.includes(p));
}

async function testFiles(): Promise<string[]> {
  const folder = values.soak ? "tests/soak/" : "tests/";
  const files: string[] = [];
  for await (const { name } of Deno.readDir(new URL(folder, root))) {
    if (name.endsWith("_test.ts") && isWanted(name)) {
      files.push(`${folder}${name}`);
    }
  }
  return files.sort();
}

/** Runs a file and tells how that went. */
async function runJob({ runtime, file, cwd }: Job): Promise<FileResult> {
  const start = performance.now();
  const result = await runFile(runtime, file, cwd, limits);
  const { passed, failed, skipped } = countsOf(result);
  const seconds = ((performance.now() - start) / 1000).toFixed(1);
  console.log(
    `${failed > 0 ? "FAILED" : "ok    "} ${runtime.name.padEnd(6)} ${file} (` +
      `${passed}${failed ? `, ${failed} failed` : ""}` +
      `${skipped ? `, ${skipped} skipped` : ""}) ${seconds} s`,
  );
  for (const detail of failuresOf(result)) console.log(detail.slice(0, 2000));
  return result;
}

async function work(jobs: Job[]): Promise<void> {
  for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) {
    const { runtime, file } = job;
    const result = await runJob(job);
    if (countsOf(result).failed === 0) summary.add(runtime.name, file, result);
    else {
      const again = () => {
        console.log(`\n${runtime.name} ${file} once more, alone`);
        return runJob(job);
      };
      failed.push({ runtime: runtime.name, file, result, again });
    }
  }
}

/** The jobs for one runtime; what cannot be prepared is a failure. */
async function prepare(name: string, files: string[]): Promise<Job[]> {
  const runtime = await resolveRuntime(name);
  console.log(`${name} ${runtime.version}: ${runtime.path}`);
  // For tests that need another runtime, to talk with.
  Deno.env.set(`SLUICE_${name.toUpperCase()}`, runtime.path);
  if (name !== "node20") {
    return files.map((file) => ({ runtime, file, cwd: root }));
  }
  if (files.length === 0) return [];
  const cwd = await buildNode20Suite(root, await tarball());
  return files.map((file) => ({
    runtime,
    file: file.replace(/\.ts$/, ".js"),
    cwd,
  }));
}

/** The package as its users have it, on the oldest and the current Node. */
async function preparePackage(name: string): Promise<Job> {
  const runtime = await resolveRuntime(name);
  user ??= await installPackage(root, await tarball());
  if (name === "node24") {
    const wrong = await checkTypes(root, user, runtime.path);
    summary.add(name, "types of the package", {
      cases: [{
        name: "the package's types need no other types",
        outcome: wrong === undefined ? "passed" : "failed",
        detail: wrong ?? "",
      }],
    });
  }
  return { runtime, file: "package_test.mjs", cwd: user };
}

let built: Promise<string> | undefined;
let user: URL | undefined;
function tarball(): Promise<string> {
  return built ??= buildNpm(root);
}

/** A failure here is one of the run, and does not keep the rest from it. */
async function attempt<T>(
  name: string,
  what: string,
  action: () => Promise<T>,
): Promise<T | undefined> {
  try {
    return await action();
  } catch (error) {
    console.log(`FAILED ${name.padEnd(6)} ${what}`);
    summary.fail(
      name,
      `${what}: ${error instanceof Error ? error.message : error}`,
    );
  }
}

const install = await run(Deno.execPath(), ["install", "--frozen"], {
  cwd: root,
});
if (install.code !== 0) {
  console.error(`Cannot install the dev packages: ${install.stderr}`);
  Deno.exit(1);
}
const files = await testFiles();
const wantsPackage = !values.soak && isWanted("package_test");
if (files.length === 0 && !wantsPackage) {
  console.error(`No test file matches: ${positionals.join(" ")}`);
  Deno.exit(1);
}
const jobs: Job[] = [];
for (const name of names) summary.of(name);
for (const name of names) {
  const own = await attempt(name, "is prepared", () => prepare(name, files));
  jobs.push(...own ?? []);
  if (wantsPackage && (name === "node20" || name === "node24")) {
    const job = await attempt(
      name,
      "the package is prepared",
      () => preparePackage(name),
    );
    if (job !== undefined) jobs.push(job);
  }
}
await Promise.all(
  Array.from({ length: Number(values.jobs) }, () => work(jobs)),
);
await runAgain(failed, summary);
if (user !== undefined) await Deno.remove(user, { recursive: true });

for (const name of names) {
  const { passed } = summary.of(name);
  if (passed === 0) summary.fail(name, "passed no test");
}
for (const failure of summary.failures) console.log(`\n--- ${failure}`);
console.log();
for (const line of summary.skipped) console.log(line);
for (const line of summary.unsteady) {
  console.log(`failed the first time, passed alone: ${line}`);
}
for (const [name, { passed, failed, skipped }] of summary.totals) {
  // Not in the shape of the closing line, which there is only one of.
  console.log(
    `${name.padEnd(6)} passed ${passed}, failed ${failed}, skipped ${skipped}`,
  );
}
console.log(`in ${((performance.now() - started) / 1000).toFixed(0)} s`);
const { all } = summary;
console.log(
  `${all.passed} passed, ${all.failed} failed, ${all.skipped} skipped`,
);
Deno.exit(all.failed === 0 ? 0 : 1);
