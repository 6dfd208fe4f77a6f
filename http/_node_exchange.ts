import { exchangeOf } from "./_exchange.ts";
import { goneError, makeIncoming, tellAborted } from "./_node_incoming.ts";
import { Answer } from "./_node_answer.ts";
import type { Outgoing } from "./_node_outgoing.ts";
import { NodeSocket } from "./_node_socket.ts";
import type { ServerContext } from "./types.ts";

/** A listener of `"request"` events of node:http. */
export type Listener = (request: object, response: object) => unknown;

/** Has a request answered by a listener. */
export function runListener(
  listener: Listener,
  request: Request,
  context: ServerContext,
): Promise<Response> {
  return new Promise((respond, refuse) => {
    const secure = request.url.startsWith("https:");
    const socket = new NodeSocket(context, secure);
    const incoming = makeIncoming(request, {
      context,
      socket,
      leave: (reason) => leave(reason),
    });
    const answer = new Answer({
      request,
      context,
      incoming,
      socket,
      respond,
      refuse,
      report: (error) => exchangeOf(request)?.report(error),
    });
    const { outgoing } = answer;
    const leave = (reason: unknown) => {
      tellAborted(incoming);
      answer.lose(reason);
      incoming.destroy(goneError());
    };
    socket.onDestroy = (error) => answer.destroy(error);
    socket.on("timeout", () => {
      const heard = [
        incoming.emit("timeout"),
        outgoing.emit("timeout"),
        socket.listenerCount("timeout") > 1,
      ];
      if (!heard.includes(true)) answer.abandon();
    });
    try {
      const result = listener(incoming, outgoing) as
        | PromiseLike<unknown>
        | undefined;
      if (typeof result?.then === "function") {
        result.then(undefined, (error: unknown) => answer.fail(error));
      }
    } catch (error) {
      answer.fail(error);
    }
    // Who has answered already need not hear of it.
    if (!outgoing.writableEnded && !outgoing.destroyed) {
      watch(request.signal, outgoing, leave);
    }
  });
}

/** Hears of a client that leaves, until the response is out. */
function watch(
  signal: AbortSignal,
  outgoing: Outgoing,
  leave: (reason: unknown) => void,
): void {
  const heard = () => leave(signal.reason);
  if (signal.aborted) {
    queueMicrotask(heard);
    return;
  }
  signal.addEventListener("abort", heard, { once: true });
  outgoing.on("close", () => signal.removeEventListener("abort", heard));
}
