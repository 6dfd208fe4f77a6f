import { NetError } from "../streams/errors.ts";
import { show } from "./_address.ts";
import type { Endpoint } from "./_runtime.ts";

const POSIX = /^E[A-Z0-9]+$/;

/** The POSIX name of what a runtime raised, alike on all of them. */
export function codeOf(error: unknown): string {
  const { code, name } = (error ?? {}) as { code?: unknown; name?: unknown };
  if (typeof code === "string" && POSIX.test(code)) return code;
  // Deno's own refusals for want of --allow-net.
  if (name === "NotCapable" || name === "PermissionDenied") return "EACCES";
  return "ERR_UDP";
}

/** A `NetError` that says what was being done, and where. */
export function udpError(
  error: unknown,
  phase: "bind" | "send" | "join" | "leave",
  what: string,
  endpoint?: Endpoint,
): NetError {
  if (error instanceof NetError) return error;
  const code = codeOf(error);
  return new NetError(`Cannot ${what}: ${code}`, {
    code,
    phase,
    retryable: phase === "send" && code !== "EACCES" && code !== "EMSGSIZE",
    ...(endpoint && { address: { transport: "udp", ...endpoint } }),
    cause: error,
  });
}

/** Why a datagram could not go out. */
export function sendError(
  error: unknown,
  hostname: string,
  port: number,
): NetError {
  const endpoint = { hostname, port };
  return udpError(error, "send", `send to ${show(hostname, port)}`, endpoint);
}
