// A WebSocket server of one kind that does as it is told by lines on stdin:
// `memory` prints what its process has after a collection, `send` gives each
// of its sockets a text of 1 KiB.
//   _ws_many_server.ts listener | loop | ws | runtime
import process from "node:process";
import { createInterface } from "node:readline";
import { serve } from "../../http/mod.ts";
import { broadcast, upgrade } from "../../ws/mod.ts";
import type { Socket } from "../../ws/mod.ts";

const where = { port: 0, hostname: "127.0.0.1" };
const kind = process.argv[2];
const text = "x".repeat(1024);

interface Other {
  send(text: string): void;
}
interface Globals {
  gc?: () => void;
  Bun?: {
    gc(force: boolean): void;
    serve(options: object): {
      port: number;
      publish(topic: string, text: string): void;
    };
  };
  Deno?: {
    serve(
      options: object,
      handler: (request: Request) => Response,
    ): { addr: { port: number } };
    upgradeWebSocket(request: Request): {
      socket: Other & { onopen: () => void };
      response: Response;
    };
  };
}
const globals = globalThis as unknown as Globals;

let send: () => void;

async function start(): Promise<number> {
  if (kind === "ws") {
    const { WebSocketServer } = await import("ws") as unknown as {
      WebSocketServer: new (options: object) => {
        clients: Set<Other>;
        on(event: string, listener: () => void): void;
        address(): { port: number };
      };
    };
    const server = new WebSocketServer({ ...where, host: where.hostname });
    send = () => {
      for (const socket of server.clients) socket.send(text);
    };
    await new Promise<void>((resolve) => server.on("listening", resolve));
    return server.address().port;
  }
  const { Bun, Deno } = globals;
  if (kind === "runtime" && Bun !== undefined) {
    const server = Bun.serve({
      ...where,
      fetch(request: Request, server: { upgrade(request: Request): void }) {
        server.upgrade(request);
      },
      websocket: {
        open: (socket: { subscribe(topic: string): void }) =>
          socket.subscribe("all"),
        message() {},
      },
    });
    send = () => server.publish("all", text);
    return server.port;
  }
  if (kind === "runtime" && Deno !== undefined) {
    const sockets = new Set<Other>();
    const server = Deno.serve({ ...where, onListen() {} }, (request) => {
      const { socket, response } = Deno.upgradeWebSocket(request);
      socket.onopen = () => sockets.add(socket);
      return response;
    });
    send = () => {
      for (const socket of sockets) socket.send(text);
    };
    return server.addr.port;
  }
  const sockets = new Set<Socket>();
  const server = await serve(
    (request) =>
      upgrade(
        request,
        kind === "loop"
          ? async (socket) => {
            sockets.add(socket);
            for await (const _ of socket);
          }
          : { open: (socket) => sockets.add(socket), message() {} },
      ),
    where,
  );
  send = () => void broadcast(sockets, text);
  const { address } = server;
  return address.transport === "unix" ? 0 : address.port;
}

async function memory(): Promise<void> {
  for (let i = 0; i < 3; i++) {
    if (globals.Bun !== undefined) globals.Bun.gc(true);
    else globals.gc?.();
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  const { rss, heapUsed } = process.memoryUsage();
  console.log(`memory ${rss} ${heapUsed}`);
}

const port = await start();
console.log(`port ${port}`);
createInterface({ input: process.stdin }).on("line", (line) => {
  if (line === "memory") void memory();
  else send();
});
