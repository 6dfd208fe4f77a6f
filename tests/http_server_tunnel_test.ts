import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "./assert.ts";
import {
  exchange,
  get,
  getOn,
  rawClient,
  statusOf,
  withServer,
} from "./_http_raw.ts";
import { until, within } from "./_support.ts";
import type { Connection } from "../tcp/types.ts";

/** Says everything back, in upper case. */
async function shout(connection: Connection): Promise<void> {
  const decoder = new TextDecoder();
  for await (const chunk of connection) {
    await connection.send(decoder.decode(chunk).toUpperCase());
  }
}

const CONNECT = "CONNECT a.test:443 HTTP/1.1\r\nhost: a.test:443\r\n\r\n";
const UPGRADE =
  "GET / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: shout/1\r\n\r\n";

test("context.tunnel() makes a connection of CONNECT and of an upgrade", async () => {
  await withServer(
    (_, context) => context.tunnel(shout),
    {},
    async (server) => {
      for (const [request, head] of [[CONNECT, "200"], [UPGRADE, "101"]]) {
        const client = await rawClient(server);
        // What comes right behind the request is the tunnel's.
        client.send(`${request}early `);
        await client.until("EARLY ");
        assertEquals(statusOf(client.text), Number(head));
        assert(!/content-length|transfer-encoding/i.test(client.text));
        if (head === "101") {
          assertStringIncludes(client.text, "upgrade: shout/1\r\n");
          assertStringIncludes(client.text, "connection: upgrade\r\n");
        }
        client.send("and late");
        await client.until("AND LATE");
        client.end();
        await client.untilEnd();
        client.destroy();
      }
      await until(() => server.stats().connections === 0);
      assert(server.stats().bytesRead > 100);
    },
  );
});

test("context.tunnel() works for a handler that took its time, after others", async () => {
  await withServer(
    async (request, context) => {
      await new Promise((resolve) => setTimeout(resolve, 5));
      return request.method === "CONNECT"
        ? context.tunnel(shout, { headers: { "x-a": "b" } })
        : new Response("first");
    },
    {},
    async (server) => {
      const client = await rawClient(server);
      client.send(`${getOn()}${CONNECT}early`);
      await client.until("EARLY");
      assertStringIncludes(client.text, "first");
      assertStringIncludes(client.text, "x-a: b\r\n");
      client.destroy();
    },
  );
});

test("context.tunnel() waits for the end of the request", async () => {
  await withServer(
    (_, context) => context.tunnel(shout),
    {},
    async (server) => {
      const client = await rawClient(server);
      client.send(
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: shout\r\n" +
          "content-length: 5\r\n\r\nbo",
      );
      await client.until("101");
      client.send("dy!hello");
      await client.until("HELLO");
      assert(!client.text.includes("BODY"));
      assert(!client.text.includes("DY!"));
      client.destroy();
    },
  );
});

test("context.tunnel() says 100 before it switches for who expects it", async () => {
  await withServer(
    (_, context) => context.tunnel(shout),
    {},
    async (server) => {
      const client = await rawClient(server);
      client.send(
        "POST / HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\n" +
          "upgrade: shout/1\r\nexpect: 100-continue\r\n" +
          "content-length: 5\r\n\r\n",
      );
      await client.until("HTTP/1.1 100 Continue\r\n\r\n");
      client.send("helloearly");
      await client.until("EARLY");
      assertEquals(
        client.text.split("\r\n").filter((line) => line.startsWith("HTTP")),
        ["HTTP/1.1 100 Continue", "HTTP/1.1 101 Switching Protocols"],
      );
      client.destroy();
    },
  );
});

test("context.tunnel() ends with its handler, and tells what it threw", async () => {
  const told: unknown[] = [];
  await withServer(
    (request, context) =>
      context.tunnel(async (connection) => {
        await connection.send("bye");
        if (request.headers.has("x-bad")) throw new Error("bad");
      }),
    {
      onError(error) {
        told.push((error as Error).message);
        return new Response();
      },
    },
    async (server) => {
      const text = await exchange(server, CONNECT);
      assertStringIncludes(text, "bye");
      assertEquals(told, []);
      await exchange(
        server,
        CONNECT.replace("\r\n\r\n", "\r\nx-bad: 1\r\n\r\n"),
      );
      assertEquals(told, ["bad"]);
    },
  );
});

test("context.tunnel() refuses what is no tunnel", async () => {
  const errors: string[] = [];
  await withServer(
    (request, context) => {
      const init = request.headers.has("x-status")
        ? { status: Number(request.headers.get("x-status")) }
        : undefined;
      try {
        return context.tunnel(shout, init);
      } catch (error) {
        errors.push((error as Error).name);
        return new Response(null, { status: 405 });
      }
    },
    {},
    async (server) => {
      assertEquals(statusOf(await exchange(server, get())), 405);
      const odd = CONNECT.replace("\r\n\r\n", "\r\nx-status: 404\r\n\r\n");
      const text = await exchange(server, odd);
      assertEquals(statusOf(text), 405);
      assertStringIncludes(text, "connection: close");
      assertEquals(errors, ["TypeError", "RangeError"]);
    },
  );
});

test("a tunnel's response that was kept for another request is refused", async () => {
  let kept: Response | undefined;
  await withServer(
    (request, context) => {
      if (request.method !== "CONNECT") return kept!;
      kept = context.tunnel(shout);
      return new Response(null, { status: 403 });
    },
    {},
    async (server) => {
      assertEquals(statusOf(await exchange(server, CONNECT)), 403);
      assertEquals(kept!.status, 200);
      const text = await exchange(server, get());
      assertEquals(statusOf(text), 200);
      assertStringIncludes(text, "content-length: 0");
    },
  );
});

test("close() waits for tunnels, and destroys them at its timeout", async () => {
  await withServer(
    (_, context) => context.tunnel(shout),
    {},
    async (server) => {
      const one = await rawClient(server);
      const two = await rawClient(server);
      for (const client of [one, two]) {
        client.send(`${CONNECT}hi`);
        await client.until("HI");
      }
      const closed = server.close({ timeout: 300 });
      one.send("still");
      await one.until("STILL");
      one.end();
      await one.untilEnd();
      assertEquals(two.ended, false);
      await within(closed);
      await two.untilEnd();
      one.destroy();
      two.destroy();
    },
  );
});
