import { parseJunit } from "./_junit.ts";
import type { TestCase } from "./_junit.ts";
import { run } from "./_process.ts";
import type { Runtime } from "./_runtimes.ts";

/** Bounds in ms. */
export interface Limits {
  /** A file that runs longer hangs: a test does, or what one left open. */
  readonly file: number;
  /** For one test, where the runtime has such a bound. */
  readonly test: number;
}

/** What came of one test file on one runtime. */
export interface FileResult {
  readonly cases: readonly TestCase[];
  /** What went wrong besides the failures of tests, and the last output. */
  readonly problem?: string;
}

function commandArgs(
  { name }: Runtime,
  file: string,
  report: string,
  limits: Limits,
): string[] {
  if (name === "deno") {
    return [
      "test",
      "-A",
      "--frozen",
      "--no-check",
      `--junit-path=${report}`,
      file,
    ];
  }
  if (name === "bun") {
    return [
      "test",
      `--timeout=${limits.test}`,
      "--reporter=junit",
      `--reporter-outfile=${report}`,
      `./${file}`,
    ];
  }
  // Without `--test`, which puts a bound for one test on the whole file before
  // Node 24, and without a forced exit: what a test leaves open is found out.
  return [
    `--test-timeout=${limits.test}`,
    "--test-reporter=junit",
    `--test-reporter-destination=${report}`,
    "--test-reporter=spec",
    "--test-reporter-destination=stdout",
    file,
  ];
}

/** Runs one test file in a process of its own. */
export async function runFile(
  runtime: Runtime,
  file: string,
  cwd: URL,
  limits: Limits,
): Promise<FileResult> {
  const report = await Deno.makeTempFile({ suffix: ".xml" });
  try {
    const { code, stdout, stderr } = await run(
      runtime.path,
      commandArgs(runtime, file, report, limits),
      { cwd, timeout: limits.file },
    );
    const cases = parseJunit(await Deno.readTextFile(report));
    // A file that cannot be loaded, crashes or hangs has no failed test.
    const blamed = cases.some(({ outcome }) => outcome === "failed");
    const why = code === 124
      ? `still running after ${limits.file / 1000} s`
      : cases.length === 0
      ? `exit code ${code}, no test ran`
      : code !== 0 && !blamed
      ? `exit code ${code}, though no test failed`
      : undefined;
    return why === undefined ? { cases } : {
      cases,
      problem: `${why}\n${stdout.slice(-4000)}${stderr.slice(-4000)}`,
    };
  } finally {
    await Deno.remove(report);
  }
}

/** Counts of tests. */
export interface Totals {
  passed: number;
  failed: number;
  skipped: number;
}

/** How the tests of one file went. */
export function countsOf({ cases, problem }: FileResult): Totals {
  const totals: Totals = { passed: 0, failed: 0, skipped: 0 };
  for (const { outcome } of cases) totals[outcome]++;
  if (problem !== undefined) totals.failed++;
  return totals;
}

/** What failed in one file: a line that names it, then details. */
export function failuresOf({ cases, problem }: FileResult): string[] {
  const failures = cases.filter(({ outcome }) => outcome === "failed")
    .map(({ name, detail }) => `${name}\n${detail}`);
  if (problem !== undefined) failures.push(problem);
  return failures;
}

/** Gathers what came of all files. */
export class Summary {
  /** By runtime. */
  readonly totals: Map<string, Totals> = new Map();
  readonly failures: string[] = [];
  /** What failed in a first try, and passed in a second one, alone. */
  readonly unsteady: string[] = [];
  #skipped = new Map<string, { why: string; on: Set<string> }>();

  /** Counts of one runtime. */
  of(runtime: string): Totals {
    let totals = this.totals.get(runtime);
    if (totals === undefined) {
      totals = { passed: 0, failed: 0, skipped: 0 };
      this.totals.set(runtime, totals);
    }
    return totals;
  }

  /** Something other than a test failed. */
  fail(runtime: string, what: string): void {
    this.of(runtime).failed++;
    this.failures.push(`${runtime} ${what}`);
  }

  /** Adds the result of a file; gives its own counts. */
  add(runtime: string, file: string, result: FileResult): Totals {
    const own = countsOf(result);
    for (const { name, outcome, detail } of result.cases) {
      if (outcome === "skipped") this.#skip(runtime, name, detail);
    }
    for (const failure of failuresOf(result)) {
      this.failures.push(`${runtime} ${file}: ${failure}`);
    }
    const totals = this.of(runtime);
    totals.passed += own.passed;
    totals.failed += own.failed;
    totals.skipped += own.skipped;
    return own;
  }

  #skip(runtime: string, name: string, detail: string): void {
    const known = this.#skipped.get(name) ?? { why: "", on: new Set() };
    // Only Node reports the reason; it is the same on the others.
    known.why ||= detail;
    known.on.add(runtime);
    this.#skipped.set(name, known);
  }

  /** One line for every skipped test: where, which, why. */
  get skipped(): string[] {
    return [...this.#skipped].map(([name, { why, on }]) =>
      `skipped on ${[...on].join(", ")}: ${name}${why && ` (${why})`}`
    ).sort();
  }

  /** Counts of all runtimes. */
  get all(): Totals {
    const all: Totals = { passed: 0, failed: 0, skipped: 0 };
    for (const { passed, failed, skipped } of this.totals.values()) {
      all.passed += passed;
      all.failed += failed;
      all.skipped += skipped;
    }
    return all;
  }
}

/** Files that may be given a second try: more is no accident. */
const MAX_AGAIN = 8;

/** A file that failed beside others. */
export interface FailedFile {
  readonly runtime: string;
  readonly file: string;
  readonly result: FileResult;
  /** Runs it once more. */
  again(): Promise<FileResult>;
}

/**
 * Runs what failed once more, one by one. A failure that does not come again
 * on a machine with nothing else to do is named as unsteady, so that it can be
 * looked after, and does not fail the run.
 */
export async function runAgain(
  failed: readonly FailedFile[],
  summary: Summary,
): Promise<void> {
  for (const { runtime, file, result, again } of failed) {
    const last = failed.length > MAX_AGAIN ? result : await again();
    summary.add(runtime, file, last);
    if (countsOf(last).failed > 0) continue;
    for (const failure of failuresOf(result)) {
      const [name] = failure.split("\n", 1);
      summary.unsteady.push(`${runtime} ${file}: ${name}`);
    }
  }
}
