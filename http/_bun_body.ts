import { isUtf8 } from "node:buffer";
import type { BodyInside } from "./_response_parts.ts";

interface BunNamespace {
  peek: {
    <T>(promise: Promise<T>): T;
    status(promise: Promise<unknown>): "pending" | "fulfilled" | "rejected";
  };
}

interface Jsc {
  /** Bytes that an object takes, with those of a body that it holds whole. */
  estimateShallowMemoryUsageOf(value: object): number;
}

const { Bun: bun, process } = globalThis as unknown as {
  Bun: BunNamespace;
  process: { getBuiltinModule?: (name: string) => Jsc | undefined };
};

const Native = globalThis.Response;

export { isUtf8 };

/**
 * Tells whether a Response has its body whole, by its size in memory: there is
 * no other way that would not spoil one that it has not. `undefined` where
 * that does not tell them apart, or no more.
 */
export function wholeness(): ((response: Response) => boolean) | undefined {
  const sizeOf = process.getBuiltinModule?.("bun:jsc")
    ?.estimateShallowMemoryUsageOf;
  if (typeof sizeOf !== "function") return undefined;
  const empty = sizeOf(new Response(null));
  const unknown = [
    () => new Response(new ReadableStream()),
    () =>
      new Response(
        new ReadableStream({
          start(controller) {
            controller.enqueue(new Uint8Array(1000));
          },
        }),
        { headers: { "x-long": "x".repeat(1000) }, status: 201 },
      ),
    () =>
      new Response(
        new ReadableStream({
          type: "bytes",
          pull(controller) {
            controller.enqueue(new Uint8Array(1000));
          },
        }),
      ),
    () => new Response(new Response("x".repeat(1000)).clone().body),
  ];
  const known: [string | Uint8Array<ArrayBuffer>, number][] = [
    ["12345", 5],
    [new Uint8Array(1000), 1000],
  ];
  for (const make of unknown) {
    if (sizeOf(make()) !== empty) return undefined;
  }
  for (const [body, size] of known) {
    const headers = { "x-long": "x".repeat(1000) };
    if (sizeOf(new Response(body)) !== empty + size) return undefined;
    if (sizeOf(new Response(body, { headers })) !== empty + size) {
      return undefined;
    }
  }
  // These count too: of what has one, as one that was fetched, it cannot tell.
  return (response) =>
    sizeOf(response) > empty && response.statusText === "" &&
    response.url === "" && isBare(response);
}

/** Whether it has no fields of its own, nor those of a class: they count too. */
function isBare(response: Response): boolean {
  return Object.getPrototypeOf(response) === Native.prototype &&
    Reflect.ownKeys(response).length === 0;
}

/**
 * The way to the bytes of a body that a Response has whole. `undefined` where
 * there is none.
 */
export function bodyInside(): BodyInside | undefined {
  const isWhole = wholeness();
  if (isWhole === undefined) return undefined;
  return (response) => {
    if (!isWhole(response)) return undefined;
    const bytes = response.bytes();
    switch (bun.peek.status(bytes)) {
      case "fulfilled":
        return bun.peek(bytes);
      case "rejected":
        bytes.catch(() => {});
        throw new TypeError(
          "Cannot send the response: its body was read before",
        );
      default:
        return new ReadableStream({
          async pull(controller) {
            controller.enqueue(await bytes);
            controller.close();
          },
        });
    }
  };
}
