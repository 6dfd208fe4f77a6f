import process from "node:process";
import { getSystemErrorMap, getSystemErrorName } from "node:util";
import type { Named } from "./_node_names.ts";

// What Node's own sockets stand on, found by the old way to it,
// `process.binding`. It is no public interface of Node: it is used where it
// looks as it is known, in versions of Node that it was tried in or after a
// trial (`_node_accept.ts`), and everywhere else `net.Socket` is.

/** A request to libuv that may be under way. */
export interface Request {
  oncomplete?: (this: Request, status: number, handle: unknown) => void;
  /** What it writes, which has to live as long. */
  bytes?: unknown;
  /** How it ended, when it has before anybody could be told. */
  readonly writeStatus?: number | null;
}

/** A socket of libuv, Node's `TCP` or `Pipe`: what is used of it. */
export interface Handle extends Named {
  onread: unknown;
  useUserBuffer(buffer: Uint8Array): unknown;
  readStart(): number;
  readStop(): number;
  writeBuffer(request: Request | null, bytes: Uint8Array): number | Request;
  writev(
    request: Request | null,
    pieces: readonly Uint8Array[],
    allBytes: true,
  ): number | Request;
  shutdown(request: Request): number;
  close(onClosed: () => void): void;
  ref(): void;
  unref(): void;
  // Only a TCP socket has these.
  reset?(onClosed: () => void): number;
  setNoDelay?(on: boolean): void;
  setKeepAlive?(on: boolean, seconds: number): void;
}

const METHODS = [
  "useUserBuffer",
  "readStart",
  "readStop",
  "writeBuffer",
  "writev",
  "shutdown",
  "close",
  "ref",
  "unref",
] as const;

/** How Node's own streams speak with libuv. */
export interface StreamWrap {
  /** What the last call or event gave beside its result. */
  readonly streamBaseState: Int32Array;
  readonly kReadBytesOrError: number;
  readonly kLastWriteWasAsync: number;
  /** Where a write takes no request and gives one: Node 26. */
  readonly kLastWriteErr?: number;
  readonly WriteWrap: new () => Request;
  readonly ShutdownWrap: new () => Request;
}

/** The newest of each line of Node that this was tried in. */
const TRIED: Readonly<Record<string, number>> = {
  20: 20,
  22: 23,
  24: 21,
  26: 10,
};

/** Whether this Node is one that was there when this was written. */
export function isTried(version: string = process.versions.node): boolean {
  const [major, minor] = version.split(".");
  return Number(minor) <= (TRIED[major] ?? -1);
}

/** `undefined` where it is not to be had, or looks another way. */
export function findWrap(): StreamWrap | undefined {
  const { versions, execArgv, env } = process;
  if (
    versions.bun !== undefined ||
    (versions as { deno?: string }).deno !== undefined ||
    // It would warn.
    execArgv.includes("--pending-deprecation") ||
    env.NODE_PENDING_DEPRECATION === "1" ||
    env.NODE_OPTIONS?.includes("--pending-deprecation")
  ) return undefined;
  try {
    const found = (process as unknown as {
      binding(name: string): Partial<StreamWrap>;
    }).binding("stream_wrap");
    return found.streamBaseState instanceof Int32Array &&
        Number.isInteger(found.kReadBytesOrError) &&
        Number.isInteger(found.kLastWriteWasAsync) &&
        typeof found.WriteWrap === "function" &&
        typeof found.ShutdownWrap === "function"
      ? found as StreamWrap
      : undefined;
  } catch {
    // Not with `--permission`, for one.
    return undefined;
  }
}

/** What the last handle was made by: so is the next one, mostly. */
let lastKind: unknown;

/** Whether it is a socket of libuv as it is known here. */
export function isHandle(value: unknown): value is Handle {
  if (typeof value !== "object" || value === null) return false;
  const handle = value as Record<string, unknown>;
  if (handle.constructor === lastKind) return true;
  const known = METHODS.every((method) => typeof handle[method] === "function");
  if (known) lastKind = handle.constructor;
  return known;
}

/** The status of libuv for a code, which each system numbers its own way. */
export function statusOf(code: string): number {
  for (const [status, [name]] of getSystemErrorMap()) {
    if (name === code) return status;
  }
  return NaN;
}

/** What Node makes of a status of libuv. */
export function systemError(status: number, call: string): Error {
  const code = getSystemErrorName(status);
  return Object.assign(new Error(`${call} ${code}`), {
    code,
    errno: status,
    syscall: call,
  });
}
