import { accessSync, constants } from "node:fs";
import { join } from "node:path";
import process from "node:process";

const globals = globalThis as { Deno?: unknown; Bun?: unknown };

/** The runtime that this test process is. */
export const runtime: "deno" | "bun" | "node" = globals.Deno !== undefined
  ? "deno"
  : globals.Bun !== undefined
  ? "bun"
  : "node";

/** How HTTP is served in a test: by an engine, or by wire in HTTP/2 alone. */
export type Mode = "wire" | "native" | "h2";

/** The HTTP engines that there are on this runtime. */
export const engines: readonly ("wire" | "native")[] = runtime === "node"
  ? ["wire"]
  : ["wire", "native"];

/** The same, and HTTP/2. */
export const modes: readonly Mode[] = [...engines, "h2"];

/** Arguments that make this runtime's binary run a program. */
export const runArgs: readonly string[] = runtime === "deno"
  ? ["run", "-A", "--frozen"]
  : [];

/** The promise, or an error once `ms` have passed: no test waits for ever. */
export function within<T>(
  promise: T | PromiseLike<T>,
  ms = 5000,
  what = "The promise",
): Promise<T> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(
      () => reject(new Error(`${what} did not settle within ${ms} ms`)),
      ms,
    );
  });
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
}

/** Resolves once the condition holds; fails when it does not within `ms`. */
export async function until(
  condition: () => unknown,
  what = "The condition",
  ms = 5000,
): Promise<void> {
  const end = performance.now() + ms;
  while (!(await condition())) {
    if (performance.now() > end) {
      throw new Error(`${what} did not come true within ${ms} ms`);
    }
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
}

/** Path of a system tool; `undefined` when it is not installed. */
export function tool(name: string): string | undefined {
  const folders = [
    ...(process.env.PATH ?? "").split(":"),
    "/usr/sbin",
    "/sbin",
  ];
  for (const folder of folders) {
    if (folder === "") continue;
    const path = join(folder, name);
    try {
      accessSync(path, constants.X_OK);
      return path;
    } catch {
      // Not there: the next folder.
    }
  }
  return undefined;
}

/** `skip` option of a test that needs a system tool: why, or `false`. */
export function needs(...names: string[]): string | false {
  const missing = names.filter((name) => tool(name) === undefined);
  return missing.length > 0 && `not installed: ${missing.join(", ")}`;
}
