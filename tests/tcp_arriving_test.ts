import { describe, test } from "node:test";
import { once } from "node:events";
import * as net from "node:net";
import { assert, assertEquals } from "./assert.ts";
import { until, within } from "./_support.ts";
import { collect } from "./_tcp_support.ts";
import { pem } from "./_tls_support.ts";
import * as http from "../http/mod.ts";
import * as tcp from "../tcp/mod.ts";

const TLS = { cert: pem("server.pem"), key: pem("server.key") };
const ca = pem("ca.pem");
const LOCAL = "127.0.0.1";
const HEADER = "PROXY UNKNOWN\r\n";

interface Layers {
  tls?: typeof TLS;
  proxyProtocol?: boolean;
}

const layers: [string, Layers][] = [
  ["TLS", { tls: TLS }],
  ["a PROXY header", { proxyProtocol: true }],
  ["a PROXY header and TLS", { tls: TLS, proxyProtocol: true }],
];

/** A server of either floor that takes two connections and answers. */
const servers: [string, (layers: Layers) => Promise<tcp.Server>][] = [
  [
    "`maxConnections` of tcp.serve()",
    (layers) =>
      tcp.serve(async (connection) => {
        for await (const chunk of connection) await connection.send(chunk);
      }, { hostname: LOCAL, port: 0, maxConnections: 2, ...layers }),
  ],
  [
    "`limits.connections` of http.serve()",
    (layers) =>
      http.serve(() => new Response("here"), {
        hostname: LOCAL,
        port: 0,
        engine: "wire",
        limits: { connections: 2 },
        ...layers,
      }),
  ],
];

async function silent(port: number): Promise<net.Socket> {
  const peer = net.connect({ host: LOCAL, port });
  peer.on("error", () => {});
  await within(once(peer, "connect"));
  return peer;
}

/** Whether a client that does all in order is answered. */
async function isAnswered(port: number, layers: Layers): Promise<boolean> {
  let connection: tcp.Connection | undefined;
  try {
    connection = await tcp.connect({ hostname: LOCAL, port });
    if (layers.proxyProtocol) await connection.send(HEADER);
    if (layers.tls) {
      connection = await connection.startTls({ ca, serverName: "localhost" });
    }
    await connection.send("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
    return await connection.receive() !== undefined;
  } catch {
    return false;
  } finally {
    connection?.destroy();
  }
}

describe("connections that have not come in yet", () => {
  for (const [limit, open] of servers) {
    for (const [layer, options] of layers) {
      test(`${limit} counts those in ${layer}`, async () => {
        const server = await open(options);
        const { address } = server;
        const port = address.transport === "unix" ? 0 : address.port;
        const peers: net.Socket[] = [];
        try {
          assert(await within(isAnswered(port, options)), "alone");
          await until(() => server.stats().connections === 0, "its end");
          peers.push(await silent(port));
          // The first is as far as it can be without being there.
          if (options.tls && options.proxyProtocol) peers[0].write(HEADER);
          peers.push(await silent(port));
          for (let refused = 1; refused <= 3; refused++) {
            const third = await silent(port);
            peers.push(third);
            const got = collect(third);
            await until(() => got.ended || got.error, "the refusal");
            assertEquals(got.bytes, 0);
            assertEquals(server.stats().refused, refused);
          }
          const { connections, accepted } = server.stats();
          assertEquals([connections, accepted], [0, 1]);
          // Whoever gives up, or fails, leaves a place.
          for (
            const leave of [
              () => peers[0].destroy(),
              () => peers[1].write("what is neither of the two\r\n\r\n"),
            ]
          ) {
            leave();
            await until(() => isAnswered(port, options), "a place");
            await until(() => server.stats().connections === 0, "its end");
          }
          // Both places are there again.
          const inside = await tcp.connect({ hostname: LOCAL, port });
          try {
            await until(() => isAnswered(port, options), "the other place");
          } finally {
            inside.destroy();
          }
        } finally {
          for (const peer of peers) peer.destroy();
          await within(server.close({ timeout: 0 }));
        }
      });
    }
  }
});
