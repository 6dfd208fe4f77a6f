/**
 * One server that joins four protocols: a line on a TCP port, a datagram on a
 * UDP port, a POST and a WebSocket message all go to every open page and to
 * every TCP client.
 *
 * ```sh
 * deno task demo
 * bun examples/bridge/main.ts
 * node examples/bridge/main.ts
 * ```
 */
import process from "node:process";
import { http, streams, tcp, udp, ws } from "../../mod.ts";
import { clean, Hub, MAX_TEXT } from "./hub.ts";
import type { Post } from "./hub.ts";
import { lines } from "./lines.ts";
import { listen } from "./listen.ts";
import { loadPage, reply, sameSite } from "./web.ts";

const hostname = "127.0.0.1";
const limit = 4 * MAX_TEXT; // bytes: a character has up to four
const stuck = { timeout: 10_000 }; // who takes nothing for so long is let go
const hub = new Hub();

const terminals = await listen(
  "tcp-port",
  (port) => tcp.serve(talk, { hostname, port, maxConnections: 1000 }),
);
const datagrams = await listen(
  "udp-port",
  (port) => udp.bind({ hostname, port }),
);
const [tcpPort, udpPort] = [terminals, datagrams].map(({ address }) =>
  place(address).split(":")[1]
);
const page = await loadPage({ TCP_PORT: tcpPort, UDP_PORT: udpPort });
const limits = { body: limit, connections: 1000 };
const web = await listen(
  "port",
  (port) => http.serve(answer, { hostname, port, limits }),
);

// UDP: a datagram is a message. There is no connection to answer on.
streams.consume(
  datagrams,
  (datagram) => hub.publish("udp", place(datagram), datagram.data),
);

console.log(`The bridge is open: ${web.url}

  TCP    nc ${hostname} ${tcpPort}
  UDP    nc -u ${hostname} ${udpPort}
  HTTP   curl -d "hello from curl" ${web.url}publish
  SSE    curl -N ${web.url}events

What you send with any of them shows up on the page and in every nc.
Ctrl-C ends it.`);

for (const signal of ["SIGINT", "SIGTERM"]) {
  process.once(signal, async () => {
    hub.close();
    const timeout = 1000;
    await Promise.all([
      web.close({ timeout }),
      terminals.close({ timeout }),
      datagrams.close({ timeout }),
    ]);
  });
}

/** TCP: a client says lines, and hears what anybody says. */
function talk(connection: tcp.Connection): Promise<void> {
  const from = place(connection.remoteAddress);
  return join(
    "tcp",
    from,
    lines(connection, MAX_TEXT),
    ({ line }) => line === undefined || connection.send(line, stuck),
  );
}

/** HTTP: the page, its WebSocket, its fallback, and a way in for programs. */
async function answer(
  request: Request,
  { remoteAddress }: http.ServerContext,
): Promise<Response> {
  if (!sameSite(request)) return reply(403, "Not for pages of other sites");
  const { pathname, searchParams } = new URL(request.url);
  const name = clean(searchParams.get("name") ?? "", 24);
  const from = name || place(remoteAddress);
  switch (`${request.method} ${pathname}`) {
    case "GET /":
      return page();
    case "GET /socket":
      return ws.upgrade(
        request,
        (socket) =>
          join("ws", from, socket, ({ json }) => socket.send(json, stuck)),
        {
          maxMessageSize: limit,
          heartbeat: 30_000,
        },
      );
    case "GET /events":
      return events(from, request.signal);
    case "POST /publish": {
      const text = await request.text();
      const told = await hub.publish("http", name || hostname, text);
      return reply(200, `Told ${told} listeners`);
    }
  }
  return reply(404, "There are /, /socket, /events and POST /publish");
}

/** Joins a connection to the hub until either side of it is over. */
async function join(
  via: "tcp" | "ws",
  from: string,
  says: AsyncIterable<string | Uint8Array>,
  hears: (post: Post) => boolean | Promise<boolean>,
): Promise<void> {
  const client = hub.join(via, from);
  const hearing = streams.consume(client.posts, hears);
  const saying = streams.consume(
    streams.from(says),
    (said) => hub.publish(via, from, said),
  );
  try {
    await Promise.race([saying, hearing]);
  } finally {
    client.leave();
  }
  await hearing; // what was said until now
}

/** The same posts, for a page that cannot have a WebSocket. */
function events(from: string, gone: AbortSignal): Response {
  const client = hub.join("sse", from);
  gone.addEventListener("abort", client.leave);
  async function* body(): AsyncGenerator<string> {
    for await (const { json } of client.posts) yield `data: ${json}\n\n`;
  }
  return new Response(streams.toReadable(body()), {
    headers: { "content-type": "text/event-stream" },
  });
}

function place(address: streams.Address | udp.Datagram): string {
  return "port" in address ? `${address.hostname}:${address.port}` : "";
}
