import { describe, test } from "node:test";
import { serve } from "../http/mod.ts";
import { connect, isUpgrade, upgrade } from "../ws/mod.ts";
import type { CompressOptions, Message } from "../ws/mod.ts";
import { assert, assertEquals } from "./assert.ts";
import { chromium, openPage } from "./_chromium.ts";
import { runtime, within } from "./_support.ts";

const local = { port: 0, hostname: "127.0.0.1" };
const text = Array.from({ length: 9000 }, (_, i) => `word ${i % 97}`).join(" ");
const MESSAGES: Message[] = [
  "",
  "small",
  text,
  text,
  "é漢😀".repeat(5000),
  new Uint8Array(100_000).fill(7),
];
const OPTIONS: CompressOptions[] = [
  {},
  { serverNoContextTakeover: false, clientNoContextTakeover: false },
  { serverMaxWindowBits: 10, clientMaxWindowBits: 10 },
];

interface BunServer {
  port: number;
  stop(force: boolean): Promise<void>;
}
const { Bun } = globalThis as unknown as {
  Bun?: { serve(options: unknown): BunServer };
};

describe("compress", () => {
  if (typeof WebSocket !== "undefined") {
    test("talks to the WebSocket of this runtime", async () => {
      for (const compress of OPTIONS) {
        const server = await serve(
          (request) =>
            upgrade(request, { message: (socket, data) => socket.send(data) }, {
              compress,
            }),
          local,
        );
        const socket = new WebSocket(server.url.replace("http", "ws"));
        socket.binaryType = "arraybuffer";
        const echoes: Message[] = [];
        try {
          await within(
            new Promise<void>((resolve, reject) => {
              socket.onopen = () => {
                for (const message of MESSAGES) {
                  socket.send(message as string);
                }
              };
              socket.onerror = () => reject(new Error("The client failed"));
              socket.onmessage = ({ data }) => {
                echoes.push(
                  typeof data === "string" ? data : new Uint8Array(data),
                );
                if (echoes.length === MESSAGES.length) resolve();
              };
            }),
            20_000,
          );
          assert(echoes.every((echo, i) => same(echo, MESSAGES[i])));
        } finally {
          socket.close();
          await within(server.close({ timeout: 0 }));
        }
      }
    });
  }

  if (runtime === "bun") {
    test("talks to Bun.serve with perMessageDeflate", async () => {
      const server = Bun!.serve({
        ...local,
        fetch: (request: Request, server: { upgrade(r: Request): boolean }) =>
          server.upgrade(request) ? undefined : new Response("no"),
        websocket: {
          perMessageDeflate: true,
          message(
            socket: { send(data: unknown, compress: boolean): void },
            data: unknown,
          ) {
            socket.send(data, true);
          },
        },
      });
      try {
        for (const compress of OPTIONS.slice(0, 2)) {
          const socket = await within(
            connect(`ws://127.0.0.1:${server.port}/`, { compress }),
          );
          assert(socket.extensions.startsWith("permessage-deflate"));
          for (const message of MESSAGES) {
            await socket.send(message);
            const echo = await within(Promise.resolve(socket.receive()));
            assert(same(echo!, message));
          }
          await within(socket.close());
        }
      } finally {
        await server.stop(true);
      }
    });
  }

  test("talks to Chromium", {
    skip: chromium === undefined && "not installed: chromium",
    timeout: 60_000,
  }, async () => {
    let compress: CompressOptions = {};
    const server = await serve(
      (request) =>
        isUpgrade(request)
          ? upgrade(request, { message: (socket, data) => socket.send(data) }, {
            compress,
          })
          : new Response("<!doctype html>", {
            headers: { "content-type": "text/html" },
          }),
      local,
    );
    const page = await openPage(server.url);
    try {
      await page.until("location.protocol === 'http:'");
      for (compress of OPTIONS) {
        const result = await page.evaluate(SCRIPT) as {
          same: number;
          extensions: string;
        };
        assertEquals(result.same, 4);
        assert(result.extensions.startsWith("permessage-deflate"));
      }
    } finally {
      await page.close();
      await within(server.close({ timeout: 0 }));
    }
  });
});

function same(one: Message, two: Message): boolean {
  return typeof one === "string"
    ? one === two
    : typeof two !== "string" && one.length === two.length &&
      one.every((byte, i) => byte === two[i]);
}

/** Run in the page: echoes, some of them alike. */
const SCRIPT = `new Promise((resolve, reject) => {
  const socket = new WebSocket(location.href.replace("http", "ws"));
  socket.binaryType = "arraybuffer";
  const text = Array.from({ length: 9000 }, (_, i) => "word " + i % 97).join(" ");
  const messages = [text, text, "", new Uint8Array(100000).fill(7)];
  let count = 0;
  let same = 0;
  socket.onerror = () => reject(new Error("no connection"));
  socket.onopen = () => {
    for (const message of messages) socket.send(message);
  };
  socket.onmessage = ({ data }) => {
    const sent = messages[count++];
    if (typeof sent === "string" ? data === sent :
      new Uint8Array(data).every((byte, i) => byte === sent[i]) &&
      data.byteLength === sent.length) same++;
    if (count < messages.length) return;
    const { extensions } = socket;
    socket.close();
    resolve({ same, extensions });
  };
})`;
