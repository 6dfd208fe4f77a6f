import { describe, test } from "node:test";
import { serve } from "../http/mod.ts";
import type { HttpServer } from "../http/mod.ts";
import { connect, isUpgrade, upgrade } from "../ws/mod.ts";
import type {
  Listener,
  Message,
  Socket,
  UpgradeOptions,
  WebSocketCloseInfo,
} from "../ws/mod.ts";
import {
  assert,
  assertEquals,
  assertMatch,
  assertRejects,
  assertStringIncludes,
} from "./assert.ts";
import { hex } from "./_ws_frames.ts";
import { RawClient } from "./_ws_raw.ts";
import { summary } from "./_ws_support.ts";
import { engines, runtime, until, within } from "./_support.ts";

type AnyHandler = ((socket: Socket) => unknown) | Listener;

interface Running {
  server: HttpServer;
  url: string;
  /** The sockets of the server, in order. */
  sockets: Socket[];
  errors: unknown[];
}

const TEXT = 0x81;
const CLOSE = 0x88;
const PING = 0x89;

async function echo(socket: Socket): Promise<void> {
  for await (const message of socket) await socket.send(message);
}

for (const engine of engines) {
  const native = engine === "native";
  const onDeno = native && runtime === "deno";
  const onBun = native && runtime === "bun";

  /** Runs `fn` with a server of this engine. */
  const serving = async (
    handler: AnyHandler,
    fn: (running: Running) => Promise<void>,
    options?: UpgradeOptions,
  ): Promise<void> => {
    const sockets: Socket[] = [];
    const errors: unknown[] = [];
    const server = await serve((request) => {
      const watched: AnyHandler = typeof handler === "function"
        ? (socket) => {
          sockets.push(socket);
          return handler(socket);
        }
        : {
          ...handler,
          open(socket) {
            sockets.push(socket);
            return handler.open?.(socket);
          },
        };
      return upgrade(request, watched, options);
    }, {
      port: 0,
      hostname: "127.0.0.1",
      engine,
      onError(error) {
        errors.push(error);
        return new Response("failed", { status: 500 });
      },
    });
    try {
      await fn({
        server,
        url: server.url.replace("http", "ws"),
        sockets,
        errors,
      });
    } finally {
      await within(server.close({ timeout: 0 }));
    }
  };

  describe(`upgrade() on the ${engine} engine`, () => {
    test("tells the handler whom it talks to", async () => {
      await serving(echo, async ({ url, sockets }) => {
        const socket = await within(
          connect(`${url}a?b=c`, { protocols: ["p", "q"] }),
        );
        assertEquals(socket.protocol, "q");
        await socket.send("x");
        assertEquals(await within(socket.receive()), "x");
        const [own] = sockets;
        assertEquals(own.protocol, "q");
        assertEquals(own.extensions, "");
        assertEquals(own.url, `${url}a?b=c`);
        const { remoteAddress } = own;
        assert(remoteAddress.transport === "tcp");
        assertEquals(remoteAddress.hostname, "127.0.0.1");
        assert(remoteAddress.port > 0);
        assert(own.raw !== undefined);
        await within(socket.close());
      }, { protocols: ["q"], headers: { "x-more": "yes" } });
    });

    test("gives messages whose bytes are the user's own", async () => {
      const sizes = [1, 200, 300, 5000, 16_384, 30_000, 65_536, 200_000];
      const kept: Uint8Array[] = [];
      const listener: Listener = {
        message: (_, data) => void kept.push(data as Uint8Array),
      };
      await serving(listener, async ({ url }) => {
        const socket = await within(connect(url));
        let count = 0;
        for (let round = 0; round < 3; round++) {
          for (const size of sizes) {
            await within(socket.send(new Uint8Array(size).fill(++count)));
          }
        }
        await until(() => kept.length === count);
        // What comes later must not be seen in what came before.
        await within(socket.send(new Uint8Array(60_000)));
        await until(() => kept.length === count + 1);
        for (let i = 0; i < count; i++) {
          const bytes = kept[i];
          assertEquals(bytes.byteLength, sizes[i % sizes.length]);
          assert(bytes.every((byte) => byte === i + 1), `message ${i}`);
        }
        await within(socket.close());
      });
    });

    test("sends the headers of the options", async () => {
      await serving(echo, async ({ url }) => {
        const client = new RawClient(url);
        assertEquals(await client.answered(), 101);
        assertMatch(client.head, /\r\nset-cookie: a=1\r\n/i);
        assertMatch(
          client.head,
          /\r\nsec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK\+xOo=\r\n/i,
        );
        client.socket.destroy();
      }, { headers: { "set-cookie": "a=1" } });
    });

    test("answers a bad handshake in HTTP, and runs no handler", async () => {
      await serving(echo, async ({ url, sockets }) => {
        const cases: [Record<string, string | undefined>, number][] = [
          [{ "sec-websocket-version": "12" }, 426],
          [{ "sec-websocket-key": "short" }, 400],
          [{ upgrade: undefined }, 426],
          [{ origin: "https://evil.example" }, 403],
        ];
        for (const [fields, status] of cases) {
          const client = new RawClient(url, { fields });
          assertEquals(await client.answered(), status);
          client.socket.destroy();
        }
        assertEquals(sockets.length, 0);
      }, { origins: ["https://good.example"] });
    });

    test("delivers a frame that came with the handshake", async () => {
      await serving(echo, async ({ url }) => {
        const client = new RawClient(url, {
          behind: [{ first: TEXT, payload: hex("6869") }],
        });
        await until(() => client.told.length > 0, "the echo");
        assertEquals(client.told, ["hi"]);
        client.socket.destroy();
      });
    });

    test("closes with 1000 when the handler is done", async () => {
      await serving(async (socket) => {
        await socket.send("bye");
      }, async ({ url, sockets }) => {
        const socket = await within(connect(url));
        assertEquals(await within(socket.receive()), "bye");
        assertEquals(await within(socket.receive()), undefined);
        assertEquals(summary(await within(socket.closed)), "clean 1000");
        assertEquals((await within(sockets[0].closed)).clean, true);
      });
    });

    test("closes with 1011 and tells onError when it fails", async () => {
      const failure = new Error("secret");
      await serving(async (socket) => {
        await socket.receive();
        throw failure;
      }, async ({ url, sockets, errors }) => {
        const socket = await within(connect(url));
        await socket.send("x");
        assertEquals(summary(await within(socket.closed)), "clean 1011");
        const info = await within(sockets[0].closed);
        assertEquals(summary(info), "cut 1011");
        assertEquals(info.error?.cause, failure);
        assertEquals(errors, [failure]);
      });
    });

    test("tells onError nothing of a peer that is lost", async () => {
      await serving(echo, async ({ url, sockets, errors }) => {
        const client = new RawClient(url);
        await client.answered();
        await until(() => sockets.length === 1, "the socket");
        client.socket.destroy();
        assertEquals(
          summary(await within(sockets[0].closed)),
          "cut 1006",
        );
        await new Promise((resolve) => setTimeout(resolve, 10));
        assertEquals(errors, []);
      });
    });

    test("tells a listener all, in order", async () => {
      const told: string[] = [];
      await serving({
        open: () => void told.push("open"),
        message(socket, data) {
          told.push(`message ${data}`);
          void socket.send(data);
        },
        close: (_, info) => void told.push(`close ${summary(info)}`),
      }, async ({ url, sockets }) => {
        const socket = await within(connect(url));
        for (const message of ["a", "b", "c"]) await socket.send(message);
        for (const message of ["a", "b", "c"]) {
          assertEquals(await within(socket.receive()), message);
        }
        await within(socket.close(4000, "done"));
        await within(sockets[0].closed);
        assertEquals(told, [
          "open",
          "message a",
          "message b",
          "message c",
          "close clean 4000 done",
        ]);
      });
    });

    test("waits for the promise of a listener's message()", async () => {
      const told: Message[] = [];
      let release!: () => void;
      const gate = new Promise<void>((resolve) => release = resolve);
      await serving({
        message(socket, data) {
          told.push(data);
          if (data !== "a") return void socket.send(data);
          return gate;
        },
      }, async ({ url }) => {
        const socket = await within(connect(url));
        for (const message of ["a", "b", "c"]) await socket.send(message);
        await until(() => told.length > 0, "the first message");
        await new Promise((resolve) => setTimeout(resolve, 10));
        assertEquals(told, ["a"]);
        release();
        assertEquals(await within(socket.receive()), "b");
        assertEquals(await within(socket.receive()), "c");
        await within(socket.close());
      });
    });

    for (const end of ["close", "destroy"] as const) {
      test(`tells a listener of the end once, behind the message() that called ${end}()`, async () => {
        const told: string[] = [];
        let settle!: () => void;
        const gate = new Promise<void>((resolve) => settle = resolve);
        await serving({
          async message(socket, data) {
            void socket[end]();
            if (data === "later") await gate;
            told.push(`message ${data}`);
          },
          close: () => void told.push("close"),
        }, async ({ url, sockets }) => {
          for (const [i, data] of ["at once", "later"].entries()) {
            const socket = await within(connect(url));
            await socket.send(data);
            await within(socket.closed);
            await within(sockets[i].closed);
            if (data === "later") settle();
            const before = 2 * i;
            await until(() => told.length >= before + 2, "the end");
            await new Promise((resolve) => setTimeout(resolve, 10));
            assertEquals(told.slice(before), [`message ${data}`, "close"]);
          }
        });
      });
    }

    test("closes with 1009 past maxMessageSize", async () => {
      await serving(echo, async ({ url, sockets }) => {
        const socket = await within(connect(url));
        await socket.send("x".repeat(1000));
        assertEquals((await within(socket.receive()))?.length, 1000);
        await socket.send("x".repeat(1001));
        assertEquals((await within(socket.closed)).code, 1009);
        const info = await within(sockets[0].closed);
        assertEquals(info.error?.name, "SizeLimitError");
      }, { maxMessageSize: 1000 });
    });

    test("pings, where the engine can", async () => {
      let time: number | Error | undefined;
      await serving(async (socket) => {
        time = await socket.ping("hello").catch((error) => error);
      }, async ({ url }) => {
        const socket = await within(connect(url));
        await within(socket.closed);
      });
      if (onDeno) {
        assert(time instanceof Error);
        assertStringIncludes(time.message, 'engine: "wire"');
      } else {
        assert(typeof time === "number" && time >= 0);
      }
    });

    test("answers pings", async () => {
      await serving(echo, async ({ url }) => {
        const client = new RawClient(url);
        await client.answered();
        client.send({ first: PING, payload: hex("beef") });
        await until(() => client.told.includes("pong:beef"), "the pong");
        client.socket.destroy();
      });
    });

    test("destroy() ends it without a Close", async () => {
      await serving(async (socket) => {
        await socket.receive();
        socket.destroy();
      }, async ({ url, sockets }) => {
        const client = new RawClient(url);
        await client.answered();
        client.send({ first: TEXT, payload: hex("61") });
        const info = await within(
          until(() => sockets.length > 0).then(() => sockets[0].closed),
        );
        assertEquals(summary(info), "cut 1006");
        if (onDeno) {
          // Deno's own WebSocket has nothing harder than a Close.
          await until(() => client.told.includes("close:1001"), "the Close");
          client.socket.destroy();
        }
        await within(client.over);
        assertEquals(client.told, onDeno ? ["close:1001"] : []);
      });
    });

    test("heartbeat cuts off a peer that does not answer", async () => {
      await serving(echo, async ({ url, sockets }) => {
        const client = new RawClient(url);
        await client.answered();
        await until(() => sockets.length > 0, "the socket");
        const info = await within(sockets[0].closed);
        assertEquals(summary(info), "cut 1006");
        assertEquals(info.error?.phase, "heartbeat");
        assert(client.told.some((told) => told.startsWith("ping:")));
        client.socket.destroy();
      }, { heartbeat: 50 });
    });

    test("heartbeat leaves alone who answers", async () => {
      await serving(echo, async ({ url }) => {
        const socket = await within(connect(url));
        await new Promise((resolve) => setTimeout(resolve, 900));
        await socket.send("still");
        assertEquals(await within(socket.receive()), "still");
        await within(socket.close());
      }, { heartbeat: 250 });
    });

    test("idleTimeout closes an unused socket with 1001", async () => {
      await serving(echo, async ({ url }) => {
        const socket = await within(connect(url));
        assertEquals(summary(await within(socket.closed)), "clean 1001 Idle");
      }, { idleTimeout: 50 });
    });

    test("serves what is no upgrade beside it", async () => {
      const server = await serve(
        (request) =>
          isUpgrade(request) ? upgrade(request, echo) : new Response("page"),
        {
          port: 0,
          hostname: "127.0.0.1",
          engine,
        },
      );
      const page = await within(fetch(server.url));
      assertEquals(await page.text(), "page");
      const socket = await within(connect(server.url));
      await socket.send("x");
      assertEquals(await within(socket.receive()), "x");
      await within(socket.close());
      await within(server.close({ timeout: 0 }));
    });

    test("server.close() says 1001 to every socket and waits", async () => {
      const infos: WebSocketCloseInfo[] = [];
      const server = await serve(
        (request) =>
          upgrade(request, async (socket) => {
            socket.closed.then((info) => infos.push(info));
            await echo(socket);
          }),
        { port: 0, hostname: "127.0.0.1", engine },
      );
      const sockets = await within(Promise.all(
        [1, 2, 3].map(() => connect(server.url)),
      ));
      for (const socket of sockets) {
        await socket.send("x");
        await within(socket.receive());
      }
      await within(server.close());
      for (const socket of sockets) {
        assertEquals((await within(socket.closed)).code, 1001);
      }
      assertEquals(infos.length, 3);
    });

    if (onDeno) {
      test("refuses what Deno's own WebSocket cannot tell", async () => {
        await serving({ pong() {} }, async ({ url, errors }) => {
          await assertRejects(() => within(connect(url)), Error, "500");
          assertStringIncludes(`${errors[0]}`, 'engine: "wire"');
        });
      });
    }

    if (onBun) {
      test("refuses a maxMessageSize that Bun does not take", async () => {
        await serving(echo, async ({ url, errors }) => {
          await assertRejects(() => within(connect(url)), Error, "500");
          assertStringIncludes(`${errors[0]}`, 'engine: "wire"');
        }, { maxMessageSize: 1 << 30 });
      });
    }
  });
}

describe("upgrade() on the wire engine", () => {
  const serving = async (
    fn: (url: string, sockets: Socket[]) => Promise<void>,
    options?: UpgradeOptions,
  ) => {
    const sockets: Socket[] = [];
    const server = await serve(
      (request) =>
        upgrade(request, (socket) => {
          sockets.push(socket);
          return echo(socket);
        }, options),
      { port: 0, hostname: "127.0.0.1" },
    );
    try {
      await fn(server.url, sockets);
    } finally {
      await within(server.close({ timeout: 0 }));
    }
  };

  const broken: [string, { first: number; payload: Uint8Array }, number][] = [
    ["a reserved bit", { first: 0xc1, payload: hex("61") }, 1002],
    ["an unknown opcode", { first: 0x83, payload: hex("61") }, 1002],
    ["a lone continuation", { first: 0x80, payload: hex("61") }, 1002],
    ["bad UTF-8", { first: TEXT, payload: hex("ff") }, 1007],
    ["a bad close code", { first: CLOSE, payload: hex("03ed") }, 1002],
    [
      "too large a message",
      { first: TEXT, payload: new Uint8Array(70_000) },
      1009,
    ],
  ];
  for (const [name, frame, code] of broken) {
    test(`answers ${name} with ${code}, then ends TCP`, async () => {
      await serving(async (url, sockets) => {
        const client = new RawClient(url);
        await client.answered();
        client.send({ first: TEXT, payload: hex("6f6b") });
        await until(() => client.told.length > 0, "the echo");
        client.send(frame);
        await within(client.over);
        assertEquals(client.told, ["ok", `close:${code}`]);
        client.socket.end();
        assertEquals((await within(sockets[0].closed)).code, code);
      }, { maxMessageSize: 65_536 });
    });
  }

  test("echoes before it answers a Close in the same segment", async () => {
    await serving(async (url) => {
      const client = new RawClient(url, {
        behind: [{ first: CLOSE, payload: hex("0fa0") }],
      });
      await within(client.over);
      assertEquals(client.told, ["close:4000"]);
      client.socket.end();
    });
  });

  test("takes frames byte by byte", async () => {
    await serving(async (url) => {
      const client = new RawClient(url);
      await client.answered();
      const frame = hex("8184 01020304 60606060");
      for (const byte of frame) {
        client.socket.write(Uint8Array.of(byte));
        await new Promise((resolve) => setTimeout(resolve, 1));
      }
      await until(() => client.told.length > 0, "the echo");
      assertEquals(client.told, ["abcd"]);
      client.socket.destroy();
    });
  });

  test("is not kept by a client that never reads when it closes", async () => {
    await serving(async (url, sockets) => {
      const client = new RawClient(url, { deaf: true });
      await client.answered();
      await until(() => sockets.length > 0, "the socket");
      const [socket] = sockets;
      for (let i = 0; i < 200; i++) void socket.send(new Uint8Array(65_536));
      await within(socket.close());
      const info = await socket.closed;
      assertEquals(summary(info), "cut 1006");
      assertEquals(info.error?.phase, "close");
      client.socket.destroy();
    }, { closeTimeout: 100 });
  });
});
