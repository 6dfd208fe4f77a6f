import type { TcpRuntime } from "./_runtime.ts";

const globals = globalThis as { Deno?: unknown; Bun?: unknown };

let loaded: Promise<{ readonly runtime: TcpRuntime }> | undefined;

/** The door of this runtime, opened on first use. */
export async function loadRuntime(): Promise<TcpRuntime> {
  loaded ??= globals.Deno !== undefined
    ? import("./_deno.ts")
    : globals.Bun !== undefined
    ? import("./_bun.ts")
    : import("./_node.ts");
  return (await loaded).runtime;
}
