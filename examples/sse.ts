/**
 * Server-sent events: any async iterable is a source, and it ends when the
 * client leaves. One that connects again goes on where it was.
 *
 * `curl -N http://127.0.0.1:8000/` shows a tick every second.
 */
import { http } from "../mod.ts";

async function* ticks(last: number, gone: AbortSignal) {
  for (let n = last + 1; !gone.aborted; n++) {
    yield { id: String(n), data: `tick ${n}` };
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}

const server = await http.serve(
  (request) =>
    http.eventStream((last, gone) => ticks(Number(last ?? 0), gone), {
      request,
    }),
  { hostname: "127.0.0.1", port: 8000 },
);
console.log(`curl -N ${server.url}`);
