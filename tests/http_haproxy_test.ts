// Servers of ours behind HAProxy: it tells by the PROXY protocol whom it
// speaks for, talks HTTP/2 to a server where it is told to, and takes
// WebSockets along on either version of HTTP.

import { writeFileSync } from "node:fs";
import * as net from "node:net";
import { join } from "node:path";
import { describe, test } from "node:test";
import { assertEquals } from "./assert.ts";
import { LOCAL } from "./_proxies.ts";
import { start } from "./_proxy_peers.ts";
import type { Peer } from "./_proxy_peers.ts";
import { engines, needs, within } from "./_support.ts";
import { serve } from "../http/mod.ts";
import type { HttpServer, ServeOptions, ServerContext } from "../http/mod.ts";
import { connect, upgrade } from "../ws/mod.ts";

/** A server of ours: how it is to serve, and what HAProxy is told of it. */
interface Plan {
  readonly options: ServeOptions;
  readonly how: string;
}

const plans: Record<string, Plan> = {
  v1: { options: { proxyProtocol: true }, how: "send-proxy" },
  v2: { options: { proxyProtocol: true }, how: "send-proxy-v2" },
  // With TLVs behind the addresses.
  v2tlv: {
    options: { proxyProtocol: true },
    how: "send-proxy-v2 proxy-v2-options crc32c,unique-id,authority",
  },
  h2: { options: { protocols: ["h2"] }, how: "proto h2" },
  either: { options: { protocols: ["h2", "http/1.1"] }, how: "proto h2" },
};
for (const engine of engines) {
  plans[engine] = { options: { engine, trustProxy: 1 }, how: "" };
}

function config(port: number, servers: Map<string, HttpServer>): string {
  const names = [...servers.keys()];
  const rules = names.map((name) =>
    `  use_backend ${name} if { path_beg /${name}/ }`
  );
  const backends = [...servers].map(([name, { address }]) => {
    const at = address.transport === "tcp" ? address.port : 0;
    return `backend ${name}\n  server s ${LOCAL}:${at} ${plans[name].how}`;
  });
  return `
defaults
  mode http
  timeout connect 10s
  timeout client 20s
  timeout server 20s
  option forwardfor
frontend all
  bind ${LOCAL}:${port}
${rules.join("\n")}
${backends.join("\n")}
`;
}

async function answer(
  name: string,
  request: Request,
  context: ServerContext,
): Promise<Response> {
  const { byteLength } = await request.arrayBuffer();
  const { clientAddress, remoteAddress } = context;
  // Deno's own server cannot tell it.
  const protocol = name === "native" ? undefined : context.protocol;
  return Response.json({ protocol, clientAddress, remoteAddress, byteLength });
}

async function withHaproxy(run: (port: number) => Promise<void>) {
  const servers = new Map<string, HttpServer>();
  let peer: Peer | undefined;
  try {
    for (const [name, { options }] of Object.entries(plans)) {
      const server = await serve(
        (request, context) =>
          request.headers.has("upgrade")
            ? upgrade(request, {
              message: (socket, data) => void socket.send(data),
            })
            : answer(name, request, context),
        { ...options, hostname: LOCAL, port: 0 },
      );
      servers.set(name, server);
    }
    peer = await start("haproxy", (port, folder) => {
      const file = join(folder, "haproxy.cfg");
      writeFileSync(file, config(port, servers));
      return ["-f", file];
    });
    await within(run(peer.port), 20_000, "The test");
  } finally {
    await peer?.close();
    for (const server of servers.values()) await server.close({ timeout: 0 });
  }
}

/** Asks on a connection of its own; gives its port, too. */
function ask(port: number, path: string, body: string): Promise<[
  number,
  Record<string, unknown>,
]> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ host: LOCAL, port });
    let own = 0;
    let text = "";
    socket.once("connect", () => {
      own = socket.localPort!;
      socket.write(
        `POST ${path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n` +
          `content-length: ${body.length}\r\n\r\n${body}`,
      );
    });
    socket.on("data", (chunk) => void (text += chunk));
    socket.once("error", reject);
    socket.once("close", () => {
      const [head, content = ""] = text.split("\r\n\r\n");
      if (!head.startsWith("HTTP/1.1 200 ")) reject(new Error(head));
      else resolve([own, JSON.parse(content)]);
    });
  });
}

describe("serve() behind HAProxy", { skip: needs("haproxy") }, () => {
  test("knows the client by the PROXY protocol, or by who told it", () =>
    withHaproxy(async (port) => {
      const body = "x".repeat(100_000);
      for (const name of Object.keys(plans)) {
        const [own, told] = await ask(port, `/${name}/`, body);
        assertEquals(told.byteLength, body.length, name);
        assertEquals(told.clientAddress, LOCAL, name);
        if (name !== "native") {
          const h2 = plans[name].how.includes("h2");
          assertEquals(told.protocol, h2 ? "h2" : "http/1.1", name);
        }
        if (name.startsWith("v")) {
          assertEquals(
            told.remoteAddress,
            { transport: "tcp", hostname: LOCAL, port: own },
            name,
          );
        }
      }
    }));

  test("upgrades to WebSockets on both versions of HTTP", () =>
    withHaproxy(async (port) => {
      for (const name of Object.keys(plans)) {
        const socket = await connect(`ws://${LOCAL}:${port}/${name}/`);
        await socket.send(name);
        assertEquals(await socket.receive(), name);
        await socket.send(new Uint8Array(100_000));
        const back = await socket.receive() as Uint8Array;
        assertEquals(back.byteLength, 100_000, name);
        await socket.close(4000, "Done");
        assertEquals((await socket.closed).code, 4000, name);
      }
    }));
});
