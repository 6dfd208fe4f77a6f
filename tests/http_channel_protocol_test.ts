import { spawn } from "node:child_process";
import { describe, test } from "node:test";
import { channel, SizeLimitError } from "../http/mod.ts";
import {
  assert,
  assertEquals,
  assertNotEquals,
  assertRejects,
  assertThrows,
} from "./assert.ts";
import { eventsOf, opened } from "./_channel_clients.ts";
import type { PollAnswer } from "./_channel_clients.ts";
import { Log, pollAt, SSE, withChannel } from "./_channel_support.ts";
import { get, getOn, rawClient, statusOf, withServer } from "./_http_raw.ts";
import type { RawClient } from "./_http_raw.ts";
import { engines, needs, until, within } from "./_support.ts";

for (const engine of engines) {
  describe(`channel() on the ${engine} engine`, () => {
    test("goes on with a stream of events that was cut, at each event", () => {
      const log = new Log();
      return withChannel(log, { engine }, async (server) => {
        let last = "";
        const got: string[] = [];
        for (let round = 0; round < 8; round++) {
          const raw = await rawClient(server);
          raw.send(getOn(
            "/",
            SSE + (last === "" ? "" : `last-event-id: ${last}\r\n`),
          ));
          await raw.until("event: channel");
          assertEquals(raw.text.includes('"resumed":true'), round > 0);
          const { id } = log.last;
          // Some come while it is there, some while it is not.
          for (let i = 0; i < 3; i++) log.last.send(`${round}.${i}`);
          // It has seen one more each time when it is cut.
          if (round % 3 !== 0) await raw.until(`"data":"${round - 1}.2"`);
          await raw.until(`"data":"${round}.${round % 3}"`);
          const text = raw.text.slice(
            0,
            raw.text.indexOf(`"data":"${round}.${round % 3}"`),
          );
          raw.destroy();
          for (
            const [, number, data] of raw.text.slice(
              0,
              text.length + 20,
            ).matchAll(/"id":(\d+),"data":"([^"]*)"/g)
          ) {
            got.push(data);
            last = `${id}/${number}`;
          }
        }
        assertEquals(log.sessions.length, 1);
        const wanted: string[] = [];
        for (let round = 0; round < 8; round++) {
          for (let i = 0; i < 3; i++) wanted.push(`${round}.${i}`);
        }
        assertEquals(got, wanted.slice(0, got.length));
        assert(got.length >= 21, `${got}`);
        log.last.destroy();
      });
    });

    test("gives a new session to who missed too much", () => {
      const log = new Log();
      const options = { replay: 1000 };
      return withChannel(log, { engine, options }, async (server) => {
        const first = await rawClient(server);
        first.send(getOn("/", SSE));
        await first.until("event: channel");
        const session = log.last;
        for (let i = 0; i < 100; i++) session.send(`message ${i}`);
        await first.until("message 99");
        first.destroy();
        const second = await rawClient(server);
        second.send(getOn("/", `${SSE}last-event-id: ${session.id}/3\r\n`));
        await second.until("event: channel");
        assertEquals(log.sessions.length, 2);
        assertNotEquals(log.last.id, session.id);
        assert(!second.text.includes("message"));
        const { error } = await within(session.closed);
        assert(error instanceof SizeLimitError);
        second.destroy();
        log.last.destroy();
      });
    });

    test("stops an EventSource that comes back to what is over", () => {
      const log = new Log();
      return withChannel(log, { engine }, async (server) => {
        const raw = await rawClient(server);
        raw.send(getOn("/", SSE));
        await raw.until("event: channel");
        await within(log.last.close());
        await raw.until('event: close\ndata: {"clean":true}\n\n');
        raw.destroy();
        const again = await rawClient(server);
        again.send(get("/", `${SSE}last-event-id: ${log.last.id}/0\r\n`));
        assertEquals(statusOf(await again.untilEnd()), 204);
        again.destroy();
        // One that nobody knows is opened anew.
        const fresh = await rawClient(server);
        fresh.send(getOn("/", `${SSE}last-event-id: unknown/0\r\n`));
        await fresh.until("event: channel");
        assertEquals(log.sessions.length, 2);
        fresh.destroy();
        log.last.destroy();
      });
    });

    test("ends a stream of events when another takes its place", () => {
      const log = new Log();
      return withChannel(log, { engine }, async (server) => {
        const first = await rawClient(server);
        first.send(getOn("/", SSE));
        await first.until("event: channel");
        const second = await rawClient(server);
        second.send(getOn("/", `${SSE}last-event-id: ${log.last.id}/0\r\n`));
        await second.until('"resumed":true');
        await first.until("0\r\n\r\n");
        log.last.send("for the second");
        await second.until("for the second");
        assert(!first.text.includes("for the second"));
        first.destroy();
        second.destroy();
        log.last.destroy();
      });
    });

    test("gives a poll's answer again until it is acknowledged", () => {
      const log = new Log();
      return withChannel(log, { engine }, async (server, http) => {
        const { channel, cursor } = await pollAt(http, server);
        assertEquals(cursor, 0);
        const at = (cursor: number) =>
          pollAt(http, server, `?channel=${channel}&cursor=${cursor}`);
        for (const text of ["a", "b", "c"]) log.last.send(text);
        const texts = ({ messages }: PollAnswer) => messages.map(opened);
        assertEquals(texts(await at(0)), ["a", "b", "c"]);
        // The answer is lost at every byte there is: it asks again.
        for (const bytes of [1, 20, 150, 300]) {
          const raw = await rawClient(server);
          raw.send(getOn(`/?channel=${channel}&cursor=0`));
          await until(() => raw.text.length >= Math.min(bytes, 100));
          raw.destroy();
          assertEquals(texts(await at(0)), ["a", "b", "c"]);
        }
        assertEquals(texts(await at(2)), ["c"]);
        assertEquals(texts(await at(0)), ["c"]);
        log.last.send("d");
        const answer = await at(3);
        assertEquals(texts(answer), ["d"]);
        assertEquals(answer.cursor, 4);
        const wrong = await http.get(
          `${server.url}?channel=${channel}&cursor=5`,
        );
        assertEquals(wrong.status, 400);
        log.last.destroy();
      });
    });

    test("ends a poll after a time", () => {
      const log = new Log();
      const options = { poll: 50 };
      return withChannel(log, { engine, options }, async (server, http) => {
        const { channel } = await pollAt(http, server);
        const query = `?channel=${channel}&cursor=0`;
        const empty = { channel, cursor: 0, messages: [] };
        assertEquals(await pollAt(http, server, query), empty);
        log.last.send("one");
        assertEquals((await pollAt(http, server, query)).cursor, 1);
        log.last.destroy();
      });
    });

    test("ends a poll for another one", () => {
      const log = new Log();
      return withChannel(log, { engine }, async (server, http) => {
        const { channel } = await pollAt(http, server);
        const query = getOn(`/?channel=${channel}&cursor=0`);
        const polls = [await rawClient(server), await rawClient(server)];
        for (const poll of polls) poll.send(query);
        const isReplaced = (poll: RawClient) =>
          poll.text.includes('"messages":[],"replaced":true');
        await until(() => polls.some(isReplaced), "The end of the first");
        log.last.send("for the second");
        const second = polls.find((poll) => !isReplaced(poll))!;
        await second.until('"data":"for the second"');
        assertEquals(polls.filter(isReplaced).length, 1);
        for (const poll of polls) poll.destroy();
        log.last.destroy();
      });
    });

    test("handles what is posted once, and in order", () => {
      const log = new Log();
      return withChannel(log, { engine }, async (server, http) => {
        const { channel } = await pollAt(http, server);
        const post = async (
          query: string,
          body: BodyInit,
          headers?: HeadersInit,
        ) => {
          const response = await http.fetch(
            `${server.url}?channel=${channel}${query}`,
            { method: "POST", body, ...(headers && { headers }) },
          );
          return response.status === 200
            ? await response.json()
            : (await response.text(), response.status);
        };
        assertEquals(await post("&seq=1", "a"), { ok: true });
        assertEquals(await post("&seq=1", "a"), { ok: true });
        assertEquals(await post("&seq=3", "c"), {
          ok: false,
          error: "seq must be 2",
        });
        assertEquals(await post("&seq=2", "b"), { ok: true });
        assertEquals(await post("&seq=0", "b"), 400);
        assertEquals(await post("&seq=x", "b"), 400);
        assertEquals(await post("", new Uint8Array([0xff])), {
          ok: false,
          error: "no UTF-8",
        });
        assertEquals(
          await post("", new Uint8Array([0xff]), {
            "content-type": "Application/Octet-Stream; x=y",
          }),
          { ok: true },
        );
        assertEquals(log.messages, ["a", "b", new Uint8Array([0xff])]);
        // A connection that is cut in the body brings nothing.
        const raw = await rawClient(server);
        raw.send(
          `POST /?channel=${channel} HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\nhalf`,
        );
        raw.end();
        await new Promise((resolve) => setTimeout(resolve, 20));
        raw.destroy();
        assertEquals(await post("", "whole"), { ok: true });
        assertEquals(log.messages.at(-1), "whole");
        assertEquals(log.messages.length, 4);
        log.last.destroy();
        assertEquals(await post("", "late"), 410);
      });
    });

    test("refuses what is too large", () => {
      const log = new Log();
      const options = { maxMessageSize: 10 };
      return withChannel(log, { engine, options }, async (server, http) => {
        const { channel } = await pollAt(http, server);
        const url = `${server.url}?channel=${channel}`;
        const whole = await http.fetch(url, {
          method: "POST",
          body: "12345678901",
        });
        assertEquals(whole.status, 413);
        const raw = await rawClient(server);
        raw.send(
          `POST /?channel=${channel} HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n6\r\n123456\r\n6\r\n123456\r\n0\r\n\r\n`,
        );
        await raw.until('{"ok":false,"error":"too large"}');
        raw.destroy();
        const fits = await http.fetch(url, {
          method: "POST",
          body: "1234567890",
        });
        assertEquals(await fits.json(), { ok: true });
        assertEquals(log.messages, ["1234567890"]);
        log.last.destroy();
      });
    });

    test("knows a session by its id, on its path only", () => {
      const log = new Log();
      return withChannel(log, { engine }, async (server, http) => {
        const { channel } = await pollAt(http, server, "a");
        const statuses: [string, string, number][] = [
          ["GET", `a?channel=x&cursor=0`, 404],
          ["GET", `b?channel=${channel}&cursor=0`, 404],
          ["GET", `a?channel=${channel}&cursor=-1`, 400],
          ["GET", `a?channel=${channel}&cursor=1`, 400],
          ["POST", `a?channel=x`, 404],
          ["POST", `a`, 404],
          ["POST", `b?channel=${channel}`, 404],
          ["DELETE", `b?channel=${channel}`, 404],
          ["PUT", `a?channel=${channel}`, 405],
          ["DELETE", `a?channel=${channel}`, 204],
          ["POST", `a?channel=${channel}`, 410],
        ];
        for (const [method, path, status] of statuses) {
          const url = `${server.url}${path}`;
          const response = await http.fetch(url, {
            method,
            ...(method === "POST" && { body: "x" }),
          });
          await response.text();
          assertEquals([method, path, response.status], [method, path, status]);
        }
        assertEquals(log.infos.length, 1);
        assertEquals(log.messages, []);
      });
    });

    test("has no more sessions than it may", () => {
      const log = new Log();
      const options = { maxSessions: 0 };
      return withChannel(log, { engine, options }, async (server, http) => {
        for (const accept of ["*/*", "text/event-stream"]) {
          const response = await http.get(server.url, { headers: { accept } });
          assertEquals(response.status, 503);
          assertEquals(response.headers.get("retry-after"), "10");
          await response.text();
        }
        assertEquals(log.sessions.length, 0);
      });
    });

    test("ends who is behind when all sessions keep too much", () => {
      const log = new Log();
      const options = { maxMemory: 3000 };
      return withChannel(log, { engine, options }, async (server, http) => {
        await pollAt(http, server);
        const behind = log.last;
        assertEquals(behind.send("x".repeat(1500)), true);
        await pollAt(http, server);
        assertEquals(log.last.send("x".repeat(1500)), true);
        behind.send("y");
        assert((await within(behind.closed)).error instanceof SizeLimitError);
        assertEquals(log.last.send("z"), true);
        log.last.destroy();
      });
    });

    test("answers 426 to a WebSocket that it was not given the means for", () =>
      withServer(
        (request) => channel(request, {}),
        { engine },
        async (server) => {
          const raw = await rawClient(server);
          raw.send(get(
            "/",
            "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n",
          ));
          assertEquals(statusOf(await raw.untilEnd()), 426);
          raw.destroy();
        },
      ));

    test("answers 500 when open throws", () => {
      const errors: unknown[] = [];
      const handlers = {
        open() {
          throw new Error("Not today");
        },
      };
      const onError = (error: unknown) => {
        errors.push((error as Error).message);
        return new Response(null, { status: 500 });
      };
      return withChannel(
        handlers,
        { engine, onError },
        async (server, http) => {
          for (const accept of ["*/*", "text/event-stream"]) {
            const response = await http.get(server.url, {
              headers: { accept },
            });
            assertEquals(response.status, 500);
            await response.text();
          }
          assertEquals(errors, ["Not today", "Not today"]);
        },
      );
    });
  });
}

describe("channel()", () => {
  test("refuses what it does not know, or cannot use", () => {
    const request = new Request("http://localhost/");
    assertThrows(() => channel(request, undefined as never), TypeError);
    assertThrows(() => channel(request, {}, { ping: 1 } as never), TypeError);
    assertThrows(
      () => channel(request, {}, { upgrade: true } as never),
      TypeError,
    );
    for (const value of [-1, NaN, "1"]) {
      const options = { grace: value } as never;
      assertThrows(() => channel(request, {}, options), RangeError);
    }
    // The clients are told it.
    const never = { retry: Infinity };
    assertThrows(() => channel(request, {}, never), RangeError);
  });

  test("refuses to send what is no message", async () => {
    const log = new Log();
    await withChannel(log, {}, async (server, http) => {
      await pollAt(http, server);
      for (const message of [1, null, undefined, {}, [1]]) {
        await assertRejects(
          () => Promise.resolve(log.last.send(message as never)),
          TypeError,
        );
      }
      const writer = log.last.writable.getWriter();
      await writer.write("by a Web Stream");
      const { channel } = await pollAt(http, server).then(() => ({
        channel: log.sessions[0].id,
      }));
      const answer = await pollAt(http, server, `?channel=${channel}`);
      assertEquals(answer.messages.map(opened), ["by a Web Stream"]);
      for (const session of log.sessions) session.destroy();
    });
  });

  test("numbers events by session and message", async () => {
    const log = new Log();
    await withChannel(log, {}, async (server, http) => {
      const response = await http.get(server.url, {
        headers: { accept: "text/event-stream;q=0.9, */*" },
      });
      const events = eventsOf(response);
      assertEquals((await within(events.next())).value?.event, "channel");
      log.last.send("one");
      const { value } = await within(events.next());
      assertEquals(value?.id, `${log.last.id}/1`);
      assertEquals(value?.data, { id: 1, data: "one" });
      await events.return(undefined);
      log.last.destroy();
    });
  });

  test("is used with curl", { skip: needs("curl") }, async () => {
    const log = new Log();
    const curl = (...args: string[]) => {
      const child = spawn("curl", ["-sSN", ...args]);
      const self = { text: "", child };
      child.stdout.on("data", (chunk) => self.text += chunk);
      return {
        self,
        exit: new Promise<string>((resolve) =>
          child.on("close", () => resolve(self.text))
        ),
      };
    };
    await withChannel(log, {}, async (server) => {
      const stream = curl("-H", "accept: text/event-stream", server.url);
      await until(() => stream.self.text.includes("channel"), "The stream");
      const { id } = log.last;
      const at = `${server.url}?channel=${id}`;
      assertEquals(
        await within(curl("-d", "by curl", at).exit),
        '{"ok":true}\n',
      );
      assertEquals(log.messages, ["by curl"]);
      log.last.send("to curl");
      log.last.close();
      const text = await within(stream.exit);
      assertEquals(
        text,
        `retry: 1000\n\nevent: channel\nid: ${id}/0\ndata: {"channel":"${id}"}\n\n` +
          `id: ${id}/1\ndata: {"id":1,"data":"to curl"}\n\n` +
          `event: close\ndata: {"clean":true}\n\n`,
      );
      await within(curl(server.url).exit);
      const poll = curl(`${server.url}?channel=${log.last.id}&cursor=0`);
      log.last.send("polled");
      assertEquals(
        await within(poll.exit),
        `{"channel":"${log.last.id}","cursor":1,"messages":[{"id":1,"data":"polled"}]}\n`,
      );
      log.last.destroy();
    });
  });
});
