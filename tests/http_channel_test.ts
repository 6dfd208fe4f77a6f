import { describe, test } from "node:test";
import { channel, SizeLimitError, TimeoutError } from "../http/mod.ts";
import type { ChannelHandlers, ChannelOptions } from "../http/mod.ts";
import { upgrade } from "../ws/mod.ts";
import { assert, assertEquals, assertMatch, assertRejects } from "./assert.ts";
import { client, kinds } from "./_channel_clients.ts";
import { Log, pollAt, SSE, withChannel } from "./_channel_support.ts";
import { getOn, rawClient, withServer } from "./_http_raw.ts";
import { deferred } from "./_client_support.ts";
import { engines, until, within } from "./_support.ts";

for (const engine of engines) {
  for (const kind of kinds) {
    describe(`channel() by ${kind} on the ${engine} engine`, () => {
      test("opens, takes and gives messages in order, and closes", () => {
        const log = new Log();
        const handlers: ChannelHandlers = {
          open(session) {
            log.open(session);
            assertEquals(session.send("welcome"), true);
            assertEquals(session.send('naïve\n"😀"\u2028\0'), true);
            session.send(new Uint8Array([0, 255, 128]));
          },
          async message(session, message) {
            log.message(session, message);
            await session.send(message);
          },
          close: (session, info) => log.close(session, info),
        };
        return withChannel(handlers, { engine }, async (server) => {
          const peer = await client(server, kind);
          await until(() => peer.got.length === 3, "The welcome");
          assertEquals(peer.got, [
            "welcome",
            'naïve\n"😀"\u2028\0',
            new Uint8Array([0, 255, 128]),
          ]);
          const session = log.last;
          assertEquals(session.kind, kind);
          assertMatch(session.id, /^[-_0-9A-Za-z]{24}$/);
          const sent: (string | Uint8Array<ArrayBuffer>)[] = [
            "",
            "é",
            new Uint8Array(),
            new Uint8Array(1000).fill(7),
          ];
          for (let i = 0; i < 40; i++) sent.push(`message ${i}`);
          for (const message of sent) await peer.send(message);
          await until(() => peer.got.length === 3 + sent.length, "The echoes");
          assertEquals(log.messages, sent);
          assertEquals(peer.got.slice(3), sent);
          // Many in one go, and the end behind them.
          for (let i = 0; i < 100; i++) session.send(`${i}`);
          const closed = session.close();
          assertEquals(session.send("too late"), false);
          await until(() => peer.ended, "The end");
          await within(closed);
          assertEquals(
            peer.got.slice(-100),
            Array.from({ length: 100 }, (_, i) => `${i}`),
          );
          assertEquals((await session.closed).clean, true);
          await until(() => log.infos.length > 0, "close");
          assertEquals(log.infos.map(({ clean }) => clean), [true]);
          await peer.drop();
        });
      });

      test("hears that the client says goodbye", () => {
        const log = new Log();
        return withChannel(log, { engine }, async (server) => {
          const peer = await client(server, kind);
          await peer.send("last words");
          await peer.close();
          await until(() => log.infos.length === 1, "close");
          assertEquals(log.messages, ["last words"]);
          assertEquals(log.infos[0].clean, true);
          assertEquals(log.last.send("nobody is there"), false);
        });
      });

      test("hears that the client is gone without a word", () => {
        const log = new Log();
        const options = { grace: 100 };
        return withChannel(log, { engine, options }, async (server) => {
          const peer = await client(server, kind);
          await until(() => log.sessions.length === 1, "open");
          await peer.drop();
          await until(() => log.infos.length === 1, "close");
          const { clean, error } = log.infos[0];
          assertEquals(clean, false);
          if (kind !== "websocket") assert(error instanceof TimeoutError);
          assertEquals(log.last.send("nobody is there"), false);
        });
      });

      test("ends when the server closes", async () => {
        const log = new Log();
        let requests = 0;
        const handler = (request: Request) => {
          requests++;
          return channel(request, log, { upgrade });
        };
        await withServer(handler, { engine }, async (server) => {
          const peer = await client(server, kind);
          await until(() => requests === (kind === "polling" ? 2 : 1), "open");
          await new Promise((resolve) => setTimeout(resolve, 50));
          log.last.send("before the end");
          const closed = server.close({ timeout: 10_000 });
          await until(() => peer.ended, "The end");
          assertEquals(peer.got, ["before the end"]);
          if (kind !== "websocket") {
            assertEquals(peer.ended, { clean: true, again: true });
          }
          await peer.drop();
          await within(closed, 5000, "close()");
          assertEquals(log.infos.length, 1);
        });
      });

      test("handles one message after the other", () => {
        const seen: string[] = [];
        const gate = deferred();
        const handlers: ChannelHandlers = {
          async open() {
            await gate.promise;
            seen.push("open");
          },
          async message(_, message) {
            seen.push(`< ${message}`);
            await new Promise((resolve) => setTimeout(resolve, 5));
            seen.push(`> ${message}`);
          },
          close: () => void seen.push("close"),
        };
        return withChannel(handlers, { engine }, async (server) => {
          const peer = await client(server, kind);
          const sent = [peer.send("1")];
          await new Promise((resolve) => setTimeout(resolve, 20));
          assertEquals(seen, []);
          gate.resolve();
          await within(sent[0]);
          await within(peer.send("2"));
          await until(() => seen.includes("> 2"), "The messages");
          await peer.close();
          await until(() => seen.includes("close"), "close");
          assertEquals(seen, ["open", "< 1", "> 1", "< 2", "> 2", "close"]);
        });
      });

      test("ends when a callback fails, and tells the server", () => {
        const errors: unknown[] = [];
        const log = new Log();
        const handlers: ChannelHandlers = {
          message(_, message) {
            throw new Error(`No ${message}`);
          },
          close: (session, info) => log.close(session, info),
        };
        const onError = (error: unknown) => {
          errors.push((error as Error).message);
          return new Response(null, { status: 500 });
        };
        return withChannel(handlers, { engine, onError }, async (server) => {
          const peer = await client(server, kind);
          await peer.send("thanks");
          await until(() => peer.ended, "The end");
          await until(() => log.infos.length === 1, "close");
          assertEquals(errors, ["No thanks"]);
          assertEquals(log.infos[0].clean, false);
          await peer.drop();
        });
      });

      test("makes who sends too much wait, and ends who does not", () => {
        const log = new Log();
        const options = {
          highWaterMark: 65_536,
          maxBuffered: 256 * 1024,
          // Of a WebSocket the same.
          upgrade: ((request, listener) =>
            upgrade(request, listener, {
              highWaterMark: 65_536,
              maxBuffered: 256 * 1024,
            })) as ChannelOptions["upgrade"],
        };
        // A native WebSocket of Deno has no backpressure.
        if (engine === "native" && kind === "websocket") return;
        return withChannel(log, { engine, options }, async (server, http) => {
          const block = "x".repeat(48_000);
          const raw = await rawClient(server);
          raw.send(getOn(
            "/",
            kind === "sse"
              ? SSE
              : kind === "polling"
              ? ""
              : "upgrade: websocket\r\nconnection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
          ));
          await raw.until("\r\n\r\n");
          await until(() => log.sessions.length === 1, "open");
          const session = log.last;
          raw.socket.pause();
          // Until the kernel is full: twice nothing happens for a while.
          const pause = (ms = 0) => new Promise((r) => setTimeout(r, ms));
          for (let n = 0, still = 0; still < 2; n++) {
            if (n % 8 === 0) await pause();
            const sent = session.send(block);
            if (sent === true) continue;
            let moved = false;
            Promise.resolve(sent).then(() => moved = true);
            for (still = 0; still < 2 && !moved; still++) {
              await Promise.race([sent, pause(150)]);
            }
            if (moved) still = 0;
          }
          // It waits, and is let in when the client goes on.
          const waiting = session.send("waited");
          assert(waiting instanceof Promise);
          await assertRejects(
            () => Promise.resolve(session.send("given up", { timeout: 10 })),
            TimeoutError,
          );
          raw.socket.resume();
          if (kind === "polling") {
            for (let cursor = 0;;) {
              const answer = await pollAt(
                http,
                server,
                `?channel=${session.id}&cursor=${cursor}`,
              );
              cursor = answer.cursor;
              const last = answer.messages[answer.messages.length - 1];
              if (last.data === "waited") break;
            }
            http.get(`${server.url}?channel=${session.id}&cursor=9`).catch(
              () => {},
            );
          }
          assertEquals(await within(waiting), true);
          raw.socket.pause();
          // Nobody waits: it is over, and nothing throws.
          for (let n = 0; n < 100_000; n++) {
            const sent = session.send(block);
            if (sent === false) break;
            if (sent !== true) sent.catch(() => {});
            if (n % 8 === 0 && sent === true) {
              await new Promise((r) => setTimeout(r));
            }
          }
          const { clean, error } = await within(session.closed);
          assertEquals(clean, false);
          assert(error instanceof SizeLimitError, `${error}`);
          assertEquals(session.send("over"), false);
          raw.destroy();
        });
      });
    });
  }
}
