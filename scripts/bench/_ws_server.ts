// A WebSocket echo server of one kind; prints `port N` when it listens.
//   _ws_server.ts loop | listener | native-loop | native-listener | ws |
//                 runtime
// `ws` is the package of npm, `runtime` what Deno or Bun have of their own.
import process from "node:process";
import { serve } from "../../http/mod.ts";
import { upgrade } from "../../ws/mod.ts";
import type { Listener, Socket } from "../../ws/mod.ts";

const where = { port: 0, hostname: "127.0.0.1" };
const kind = process.argv[2];

const listener: Listener = {
  message: (socket, data) => void socket.send(data),
};

async function loop(socket: Socket): Promise<void> {
  try {
    for await (const message of socket) await socket.send(message);
  } catch {
    // The load has gone.
  }
}

async function ours(
  engine: "wire" | "native",
  handler: Listener | ((socket: Socket) => unknown),
): Promise<number> {
  const server = await serve((request) => upgrade(request, handler), {
    ...where,
    engine,
  });
  const { address } = server;
  return address.transport === "unix" ? 0 : address.port;
}

interface Echo {
  binaryType: string;
  onmessage: (event: { data: string }) => void;
  send(data: string): void;
}

interface Natives {
  Deno?: {
    serve(
      options: object,
      handler: (request: Request) => Response,
    ): { addr: { port: number } };
    upgradeWebSocket(request: Request): { socket: Echo; response: Response };
  };
  Bun?: { serve(options: object): { port: number } };
}

function runtimeOwn(): number {
  const { Deno, Bun } = globalThis as unknown as Natives;
  if (Deno !== undefined) {
    return Deno.serve({ ...where, onListen() {} }, (request) => {
      const { socket, response } = Deno.upgradeWebSocket(request);
      socket.binaryType = "arraybuffer";
      socket.onmessage = ({ data }) => socket.send(data);
      return response;
    }).addr.port;
  }
  return Bun!.serve({
    ...where,
    fetch(request: Request, server: { upgrade(request: Request): void }) {
      server.upgrade(request);
    },
    websocket: {
      message: (socket: Echo, data: string) => socket.send(data),
    },
  }).port;
}

async function wsPackage(): Promise<number> {
  const { WebSocketServer } = await import("ws") as unknown as {
    WebSocketServer: new (options: object) => {
      on(event: string, listener: (socket: WsSocket) => void): void;
      address(): { port: number };
    };
  };
  interface WsSocket {
    on(event: string, listener: (data: unknown, binary: boolean) => void): void;
    send(data: unknown, options: { binary: boolean }): void;
  }
  const server = new WebSocketServer({ ...where, host: where.hostname });
  server.on("connection", (socket) => {
    socket.on("message", (data, binary) => socket.send(data, { binary }));
    socket.on("error", () => {});
  });
  await new Promise<void>((resolve) => server.on("listening", () => resolve()));
  return server.address().port;
}

const port = kind === "runtime"
  ? runtimeOwn()
  : kind === "ws"
  ? await wsPackage()
  : await ours(
    kind.startsWith("native") ? "native" : "wire",
    kind.endsWith("loop") ? loop : listener,
  );
console.log(`port ${port}`);
