import { describe, test } from "node:test";
import { serve } from "../http/mod.ts";
import { isUpgrade, upgrade } from "../ws/mod.ts";
import type { Socket } from "../ws/mod.ts";
import { assertEquals } from "./assert.ts";
import { chromium, openPage } from "./_chromium.ts";
import { summary } from "./_ws_support.ts";
import { engines, until, within } from "./_support.ts";
import { pem } from "./_tls_support.ts";

/** Run in the page: echoes of many kinds, then a close by either side. */
const SCRIPT = `(async () => {
  const open = (protocols) => new Promise((resolve, reject) => {
    const socket = new WebSocket(location.href.replace("http", "ws"), protocols);
    socket.binaryType = "arraybuffer";
    socket.onopen = () => resolve(socket);
    socket.onerror = () => reject(new Error("no connection"));
  });
  const closed = (socket) => new Promise((resolve) => {
    socket.onclose = ({ code, reason, wasClean }) =>
      resolve(code + " " + reason + " " + wasClean);
  });
  const socket = await open(["a", "b"]);
  const messages = ["", "naïve 漢字 😀", "x".repeat(100000),
    new Uint8Array([0, 255]), new Uint8Array(300000).fill(7)];
  const echoes = new Promise((resolve) => {
    let count = 0;
    let same = 0;
    socket.onmessage = ({ data }) => {
      const sent = messages[count++];
      if (typeof sent === "string" ? data === sent :
        new Uint8Array(data).every((byte, i) => byte === sent[i]) &&
        data.byteLength === sent.length) same++;
      if (count === messages.length) resolve(same);
    };
  });
  for (const message of messages) socket.send(message);
  const same = await echoes;
  socket.close(4000, "from the page");
  const first = await closed(socket);
  const other = await open();
  other.send("close me");
  const second = await closed(other);
  return { protocol: socket.protocol, same, first, second,
    extensions: socket.extensions };
})()`;

const tls = { cert: pem("server.pem"), key: pem("server.key") };

describe("upgrade()", () => {
  test("talks to Chromium over HTTP/2 (RFC 8441)", {
    skip: chromium === undefined && "not installed: chromium",
    timeout: 60_000,
  }, async () => {
    const spoken: string[] = [];
    const server = await serve((request, context) => {
      if (!isUpgrade(request)) {
        return new Response("<!doctype html>", {
          headers: { "content-type": "text/html" },
        });
      }
      spoken.push(context.protocol);
      return upgrade(request, async (socket) => {
        for await (const message of socket) {
          if (message === "close me") await socket.close(4001, "by us");
          else await socket.send(message);
        }
      }, { protocols: ["b"], origins: [server.url.slice(0, -1)] });
    }, { port: 0, hostname: "127.0.0.1", tls });
    const page = await openPage(server.url);
    try {
      await page.until("location.protocol === 'https:'");
      assertEquals(await page.evaluate(SCRIPT), {
        protocol: "b",
        extensions: "",
        same: 5,
        first: "4000 from the page true",
        second: "4001 by us true",
      });
      assertEquals(spoken, ["h2", "h2"]);
    } finally {
      await page.close();
      await within(server.close({ timeout: 0 }));
    }
  });

  for (const engine of engines) {
    test(`talks to Chromium on the ${engine} engine`, {
      skip: chromium === undefined && "not installed: chromium",
      timeout: 60_000,
    }, async () => {
      const sockets: Socket[] = [];
      const server = await serve((request) => {
        if (!isUpgrade(request)) {
          return new Response("<!doctype html>", {
            headers: { "content-type": "text/html" },
          });
        }
        return upgrade(request, async (socket) => {
          sockets.push(socket);
          for await (const message of socket) {
            if (message === "close me") await socket.close(4001, "by us");
            else await socket.send(message);
          }
        }, { protocols: ["b"], origins: [server.url.slice(0, -1)] });
      }, { port: 0, hostname: "127.0.0.1", engine });
      const page = await openPage(server.url);
      try {
        await page.until("location.protocol === 'http:'");
        assertEquals(await page.evaluate(SCRIPT), {
          protocol: "b",
          extensions: "",
          same: 5,
          first: "4000 from the page true",
          second: "4001 by us true",
        });
        await until(() => sockets.length === 2, "both sockets");
        assertEquals(
          summary(await within(sockets[0].closed)),
          "clean 4000 from the page",
        );
        assertEquals((await within(sockets[1].closed)).code, 4001);
      } finally {
        await page.close();
        await within(server.close({ timeout: 0 }));
      }
    });
  }
});
