import type { TcpRuntime } from "./_runtime.ts";

let loaded: Promise<TcpRuntime> | undefined;

/** The door of this runtime, opened on first use. */
export function loadRuntime(): Promise<TcpRuntime> {
  return loaded ??= import("./_node.ts").then((door) => door.runtime);
}
