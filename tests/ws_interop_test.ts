import { after, before, describe, test } from "node:test";
import { createServer } from "node:http";
import { serve } from "../http/mod.ts";
import type { HttpServer } from "../http/mod.ts";
import { connect, upgrade } from "../ws/mod.ts";
import type { Message, Socket } from "../ws/mod.ts";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { summary } from "./_ws_support.ts";
import { engines, runtime, until, within } from "./_support.ts";
import { WsClient, WsServer } from "./_ws_package.ts";
import type { WsSocket } from "./_ws_package.ts";

const MESSAGES: Message[] = [
  "",
  "a",
  "naïve 漢字 😀",
  "x".repeat(125),
  "x".repeat(126),
  "é".repeat(40_000),
  "x".repeat(1_000_000),
  new Uint8Array(0),
  Uint8Array.of(0, 255, 128),
  new Uint8Array(65_535).fill(1),
  new Uint8Array(65_536).fill(2),
  new Uint8Array(1_000_000).fill(3),
];

/** An echo server that is not ours, with the behaviours the tests ask for. */
interface Foreign {
  name: string;
  start(): Promise<{ url: string; stop(): Promise<void> }>;
}

const foreign: Foreign[] = [{
  name: "the ws package",
  async start() {
    const server = new WsServer({
      port: 0,
      host: "127.0.0.1",
      handleProtocols: (offered) => offered.has("b") ? "b" : false,
    });
    server.on("connection", (socket: WsSocket) => {
      socket.on("message", (data, binary) => {
        if (`${data}` === "close me") socket.close(4001, "as you wish");
        else if (`${data}` === "cut me") socket.terminate();
        else if (`${data}` === "ping me") socket.ping("!");
        else socket.send(data, { binary });
      });
    });
    await new Promise<void>((resolve) => server.on("listening", resolve));
    return {
      url: `ws://127.0.0.1:${server.address().port}/`,
      stop: () =>
        new Promise<void>((resolve) => {
          for (const socket of server.clients) socket.terminate();
          server.close(() => resolve());
        }),
    };
  },
}];

interface AnySocket {
  send(data: string | Uint8Array | ArrayBuffer): void;
  close(code?: number, reason?: string): void;
}

function behave(socket: AnySocket, data: string | Uint8Array | ArrayBuffer) {
  if (data === "close me") socket.close(4001, "as you wish");
  else socket.send(data);
}

if (runtime === "deno") {
  foreign.push({
    name: "Deno.upgradeWebSocket",
    start() {
      const { Deno } = globalThis as unknown as {
        Deno: {
          serve(
            options: unknown,
            handler: (request: Request) => Response,
          ): { addr: { port: number }; shutdown(): Promise<void> };
          upgradeWebSocket(request: Request, options: unknown): {
            socket: WebSocket;
            response: Response;
          };
        };
      };
      const server = Deno.serve(
        { port: 0, hostname: "127.0.0.1", onListen() {} },
        (request) => {
          const protocol = request.headers.get("sec-websocket-protocol");
          const { socket, response } = Deno.upgradeWebSocket(request, {
            ...(protocol?.includes("b") ? { protocol: "b" } : {}),
          });
          socket.binaryType = "arraybuffer";
          socket.onmessage = ({ data }) => behave(socket, data);
          return response;
        },
      );
      return Promise.resolve({
        url: `ws://127.0.0.1:${server.addr.port}/`,
        stop: () => server.shutdown(),
      });
    },
  });
}

if (runtime === "bun") {
  foreign.push({
    name: "Bun.serve",
    start() {
      const { Bun } = globalThis as unknown as {
        Bun: {
          serve(options: unknown): {
            port: number;
            stop(force: boolean): Promise<void>;
          };
        };
      };
      const server = Bun.serve({
        port: 0,
        hostname: "127.0.0.1",
        fetch(
          request: Request,
          server: { upgrade(request: Request, options: unknown): boolean },
        ) {
          const protocol = request.headers.get("sec-websocket-protocol");
          server.upgrade(request, {
            headers: protocol?.includes("b")
              ? { "sec-websocket-protocol": "b" }
              : {},
          });
        },
        websocket: {
          message(socket: AnySocket, data: string | Uint8Array) {
            behave(socket, data);
          },
        },
      });
      return Promise.resolve({
        url: `ws://127.0.0.1:${server.port}/`,
        stop: () => server.stop(true),
      });
    },
  });
}

for (const { name, start } of foreign) {
  describe(`connect() to ${name}`, () => {
    let server: { url: string; stop(): Promise<void> };
    before(async () => {
      server = await start();
    });
    after(() => within(server.stop()));

    test("echoes messages of every kind and size", async () => {
      const socket = await within(connect(server.url));
      const echoes = (async () => {
        const received: Message[] = [];
        while (received.length < MESSAGES.length) {
          received.push((await within(socket.receive()))!);
        }
        return received;
      })();
      for (const message of MESSAGES) await within(socket.send(message));
      assertEquals(await within(echoes), MESSAGES);
      await within(socket.close(1000, "thanks"));
      assertEquals((await socket.closed).clean, true);
      assertEquals((await socket.closed).code, 1000);
    });

    test("measures its ping", async () => {
      const socket = await within(connect(server.url));
      assert(await within(socket.ping()) >= 0);
      assert(await within(socket.ping("data")) >= 0);
      await within(socket.close());
    });

    test("hears its close code and reason", async () => {
      const socket = await within(connect(server.url));
      await socket.send("close me");
      assertEquals(await within(socket.receive()), undefined);
      assertEquals(
        summary(await within(socket.closed)),
        "clean 4001 as you wish",
      );
    });

    test("agrees on a subprotocol", async () => {
      const socket = await within(
        connect(server.url, { protocols: ["a", "b"] }),
      );
      assertEquals(socket.protocol, "b");
      await within(socket.close());
    });
  });
}

describe("connect() to the ws package", () => {
  test("is told 1006 when it terminates", async () => {
    const server = await foreign[0].start();
    const socket = await within(connect(server.url));
    await socket.send("cut me");
    const info = await within(socket.closed);
    assertEquals(summary(info), "cut 1006");
    await within(server.stop());
  });

  test("answers its pings", async () => {
    const server = new WsServer({ port: 0, host: "127.0.0.1" });
    const pong = new Promise<string>((resolve) => {
      server.on("connection", (socket: WsSocket) => {
        socket.on("pong", (data) => resolve(`${data}`));
        socket.ping("are you there");
      });
    });
    await new Promise<void>((resolve) => server.on("listening", resolve));
    const socket = await within(
      connect(`ws://127.0.0.1:${server.address().port}/`),
    );
    assertEquals(await within(pong), "are you there");
    await within(socket.close());
    await new Promise<void>((resolve) => server.close(() => resolve()));
  });

  test("hears why it refuses", async () => {
    const http = createServer((_, response) => {
      response.writeHead(403, { "x-why": "because" }).end("no");
    });
    http.on("upgrade", (_, socket) => {
      socket.end("HTTP/1.1 418 Teapot\r\nX-Why: tea\r\n\r\n");
    });
    await new Promise<void>((resolve) =>
      http.listen(0, "127.0.0.1", () => resolve())
    );
    const { port } = http.address() as { port: number };
    const error = await assertRejects(
      () => within(connect(`ws://127.0.0.1:${port}/`)),
      Error,
      "418",
    ) as Error & { headers: Headers };
    assertEquals(error.headers.get("x-why"), "tea");
    await new Promise((resolve) => http.close(resolve));
  });
});

interface Told {
  messages: Message[];
  closed: Promise<{ code: number; reason: string; clean?: boolean }>;
  send(data: Message): void;
  close(code?: number, reason?: string): void;
  protocol: string;
}

type Client = (url: string, protocols?: string[]) => Promise<Told>;

function wsPackage(url: string, protocols: string[] = []): Promise<Told> {
  const socket = new WsClient(url, protocols);
  const messages: Message[] = [];
  socket.on("message", (data, binary) => {
    messages.push(
      binary
        ? new Uint8Array(data.buffer, data.byteOffset, data.byteLength).slice()
        : `${data}`,
    );
  });
  const closed = new Promise<{ code: number; reason: string }>((resolve) => {
    socket.on(
      "close",
      (code, reason) => resolve({ code, reason: `${reason}` }),
    );
  });
  return new Promise((resolve, reject) => {
    socket.on("error", reject);
    socket.on("open", () =>
      resolve({
        messages,
        closed,
        send: (data) => socket.send(data),
        close: (code, reason) => socket.close(code, reason),
        protocol: socket.protocol,
      }));
  });
}

function builtIn(url: string, protocols: string[] = []): Promise<Told> {
  const socket = new WebSocket(url, protocols);
  socket.binaryType = "arraybuffer";
  const messages: Message[] = [];
  socket.onmessage = ({ data }) => {
    messages.push(typeof data === "string" ? data : new Uint8Array(data));
  };
  const closed = new Promise<{ code: number; reason: string; clean: boolean }>(
    (resolve) => {
      socket.onclose = ({ code, reason, wasClean }) =>
        resolve({ code, reason, clean: wasClean });
    },
  );
  return new Promise((resolve, reject) => {
    socket.onerror = () => reject(new Error("WebSocket error"));
    socket.onopen = () =>
      resolve({
        messages,
        closed,
        send: (data) => socket.send(data as Uint8Array<ArrayBuffer>),
        close: (code, reason) => socket.close(code, reason),
        protocol: socket.protocol,
      });
  });
}

const clients: [string, Client][] = [
  ["the ws package", wsPackage],
  ...(typeof WebSocket === "undefined"
    ? []
    : [[`the WebSocket of ${runtime}`, builtIn] as [string, Client]]),
];

for (const engine of engines) {
  let server: HttpServer;
  let last: Socket;
  const withServer = (name: string, fn: () => void) =>
    describe(name, () => {
      before(async () => {
        server = await serve((request) =>
          upgrade(request, async (socket) => {
            last = socket;
            for await (const message of socket) {
              if (message === "close me") {
                await socket.close(4001, "as you wish");
              } else if (message === "fail") throw new Error("secret");
              else await socket.send(message);
            }
          }, { protocols: ["b"], headers: { "x-more": "yes" } }), {
          port: 0,
          hostname: "127.0.0.1",
          engine,
          onError: () => new Response(null, { status: 500 }),
        });
      });
      after(() => within(server.close({ timeout: 0 })));
      fn();
    });

  for (const [name, open] of clients) {
    withServer(`upgrade() on the ${engine} engine with ${name}`, () => {
      test("echoes messages of every kind and size", async () => {
        const client = await within(open(server.url.replace("http", "ws")));
        for (const message of MESSAGES) client.send(message);
        await until(
          () => client.messages.length === MESSAGES.length,
          "the last echo",
        );
        assertEquals(client.messages, MESSAGES);
        client.close(1000, "thanks");
        assertEquals((await within(client.closed)).code, 1000);
        const info = await within(last.closed);
        assertEquals(summary(info), "clean 1000 thanks");
      });

      test("is told our close code and reason", async () => {
        const client = await within(open(server.url.replace("http", "ws")));
        client.send("close me");
        const { code, reason } = await within(client.closed);
        assertEquals(`${code} ${reason}`, "4001 as you wish");
        assertEquals((await within(last.closed)).code, 4001);
      });

      test("is told 1011 when the handler fails", async () => {
        const client = await within(open(server.url.replace("http", "ws")));
        client.send("fail");
        const { code, reason } = await within(client.closed);
        assertEquals(`${code} ${reason}`, "1011 ");
      });

      test("agrees on a subprotocol", async () => {
        const client = await within(
          open(server.url.replace("http", "ws"), ["a", "b"]),
        );
        assertEquals(client.protocol, "b");
        assertEquals(last.protocol, "b");
        client.close();
        await within(client.closed);
      });
    });
  }
}
