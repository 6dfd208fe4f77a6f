/**
 * Server-sent events: the body of a response is any async iterable, and it
 * ends when the client leaves.
 *
 * `curl -N http://127.0.0.1:8000/` shows a tick every second.
 */
import { http, streams } from "../mod.ts";

async function* ticks(gone: AbortSignal): AsyncGenerator<string> {
  for (let n = 1; !gone.aborted; n++) {
    yield `id: ${n}\ndata: tick ${n}\n\n`;
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

const server = await http.serve(
  (request) =>
    new Response(streams.toReadable(ticks(request.signal)), {
      headers: { "content-type": "text/event-stream" },
    }),
  { hostname: "127.0.0.1", port: 8000 },
);
console.log(`curl -N ${server.url}`);
