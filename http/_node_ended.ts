interface Streams {
  isReadable(stream: ReadableStream): boolean | null;
  isErrored(stream: ReadableStream): boolean;
}

interface Globals {
  readonly Bun?: unknown;
  readonly Deno?: unknown;
  readonly process?: { getBuiltinModule?(name: string): unknown };
}

const { Bun: bun, Deno: deno, process } = globalThis as Globals;

/** Node from 20.16 on tells how a Web Stream is; the others do not, or late. */
const streams = bun === undefined && deno === undefined
  ? process?.getBuiltinModule?.("node:stream") as Streams | undefined
  : undefined;

/**
 * Whether all that a stream had has been read, and it has closed: it need not
 * be asked. `false` also where nobody knows.
 */
export function hasEnded(stream: ReadableStream): boolean {
  return streams !== undefined && streams.isReadable(stream) === false &&
    !streams.isErrored(stream);
}
