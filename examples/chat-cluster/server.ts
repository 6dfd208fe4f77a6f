/** One of the chat's servers: `main.ts` starts three. */
import { connect } from "@nats-io/transport-node";
import { readFile } from "node:fs/promises";
import process from "node:process";
import { parseArgs } from "node:util";
import { http, streams, ws } from "../../mod.ts";
import { Room } from "./room.ts";
import type { Line } from "./room.ts";

const { values: { name, nats } } = parseArgs({
  options: {
    name: { type: "string", default: "one" },
    nats: { type: "string", default: "127.0.0.1:4222" },
  },
});

// What one server publishes, the subscribers of all servers receive.
const bus = new streams.Bus<Line>();
const room = new Room(bus.subscribe("lines", { capacity: 10_000 }));
const broker = await connect({ servers: nats, maxReconnectAttempts: -1 });
const link = await streams.backplane(bus, streams.natsBackplane(broker), {
  onLoss: ({ count, error }) =>
    console.error(`${count} lost: ${error.message}`),
});

const page = (await readFile(new URL("page.html", import.meta.url), "utf8"))
  .replace("SERVER", name);

const server = await http.serve((request) => {
  if (new URL(request.url).pathname !== "/socket") {
    const headers = { "content-type": "text/html; charset=utf-8" };
    return new Response(page, { headers });
  }
  return ws.upgrade(request, talk, {
    maxMessageSize: 65_536,
    heartbeat: 15_000,
  });
}, { hostname: "127.0.0.1", port: 0 });

// `main.ts` reads the port, and ends our standard input to end us.
console.log((server.address as { port: number }).port);
process.stdin.resume().once("end", () => process.exit());

/** A client says what it has seen; then what it has to say, numbered. */
async function talk(socket: ws.Socket): Promise<void> {
  const hello = parse(await socket.receive({ timeout: 10_000 }));
  const author = String(hello.author).slice(0, 40);
  const seen = new Map(Object.entries(hello.seen ?? {}) as [string, number][]);

  const news = room.join(seen);
  const hearing = streams.consume(news, (json) => socket.send(json));
  try {
    for await (const message of socket) {
      const { n, text } = parse(message);
      if (typeof n !== "number" || typeof text !== "string") break;
      await bus.publish("lines", { author, n, text: text.slice(0, 1000) });
      // The client keeps it until the broker has it: if we die before that,
      // it says it again to another server.
      link.flush().then((kept) => kept && socket.send(`{"kept":${n}}`));
    }
  } finally {
    news.close();
    await hearing;
  }
}

function parse(message: string | Uint8Array | undefined) {
  return JSON.parse(String(message ?? "{}")) as Partial<Line> & {
    seen?: Record<string, number>;
  };
}
