import { describe, test } from "node:test";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { deferred, withClient } from "./_client_support.ts";
import { answer, nodeServer, scripted } from "./_http_servers.ts";
import { Client, fake, FetchError, serve } from "../http/mod.ts";

const CONTINUE = "HTTP/1.1 100 Continue\r\n\r\n";
/** So long that a test would fail if it were waited for. */
const LONG = 60_000;

function final(status: number, fields = ""): string {
  return answer("final", fields).replace("200 OK", `${status} No`);
}

/** A body that can be read but once; tells what becomes of it. */
function once(text: string) {
  const state = { read: false, cancelled: undefined as unknown };
  const cancelled = deferred();
  const stream = new ReadableStream<Uint8Array>({
    pull: (controller) => {
      state.read = true;
      controller.enqueue(new TextEncoder().encode(text));
      controller.close();
    },
    cancel: (reason) => {
      state.cancelled = reason;
      cancelled.resolve();
    },
  }, { highWaterMark: 0 });
  return { stream, state, cancelled: cancelled.promise };
}

describe("expectContinue", () => {
  test("sends the body after 100, and no sooner", () => {
    const bodies: [unknown, string, string][] = [
      ["text", "content-length: 4", "text"],
      [new Blob(["blob"]), "content-length: 4", "blob"],
      [once("once").stream, "chunked", "4\r\nonce\r\n0\r\n\r\n"],
    ];
    const heads: string[] = [];
    let part = 0;
    const server = scripted(async (exchange) => {
      heads.push(exchange.head);
      const wanted = bodies[part++][2];
      let came = false;
      const body = exchange.until(wanted).then(() => came = true);
      exchange.socket.write("HTTP/1.1 103 Early Hints\r\nlink: a\r\n\r\n");
      await new Promise((resolve) => setTimeout(resolve, 30));
      assert(!came);
      exchange.socket.write(CONTINUE);
      await body;
      exchange.socket.write(answer("took it"));
    });
    return withClient(server, async (client, { url }) => {
      for (const [body, framing] of bodies) {
        const response = await client.put(url, { body: body as string });
        assertEquals(await response.text(), "took it");
        const head = heads.at(-1)!;
        assert(head.includes("\r\nexpect: 100-continue\r\n"));
        assert(head.includes(framing));
      }
      assertEquals((await server).accepted, 1);
    }, { expectContinue: LONG });
  });

  test("sends the body when nothing comes for so long", () => {
    const server = scripted(async (exchange) => {
      await exchange.until("hello");
      exchange.socket.write(answer("took it"));
    });
    return withClient(server, async (client, { url }) => {
      for (const expectContinue of [0, 20, true]) {
        const init = { body: "hello", expectContinue };
        assertEquals(await client.put(url, init).text(), "took it");
      }
      assertEquals((await server).accepted, 1);
    });
  });

  test("takes 100 late and twice for nothing", () => {
    const server = scripted(async (exchange) => {
      await exchange.until("hello");
      exchange.socket.write(CONTINUE + CONTINUE + answer("took it"));
    });
    return withClient(server, async (client, { url }) => {
      const init = { body: "hello", expectContinue: 10 };
      assertEquals(await client.put(url, init).text(), "took it");
      assertEquals(await client.put(url, init).text(), "took it");
    });
  });

  test("is for requests with a body only", () => {
    const server = nodeServer((request, response) => {
      response.end(String(request.headers.expect));
    });
    return withClient(server, async (client, { url }) => {
      assertEquals(await client.get(url).text(), "undefined");
      assertEquals(await client.post(url).text(), "undefined");
      assertEquals(await client.post(url, { body: "" }).text(), "undefined");
      const off = { body: "x", expectContinue: false };
      assertEquals(await client.post(url, off).text(), "undefined");
    }, { expectContinue: true });
  });

  test("sends no body after a final status, and ends the connection", () => {
    let behind = "";
    const server = scripted(({ socket }) => {
      socket.on("data", (chunk) => behind += String(chunk));
      socket.write(final(401));
    });
    return withClient(server, async (client, { url }) => {
      const { stream, state, cancelled } = once("secret");
      const response = await client.put(url, { body: stream });
      assertEquals(response.status, 401);
      assertEquals(await response.text(), "final");
      await cancelled;
      assert(!state.read);
      assertEquals(client.stats().open, 0);
      assertEquals((await client.put(url, { body: "secret" })).status, 401);
      assert(!behind.includes("secret"));
      assertEquals((await server).accepted, 2);
    }, { expectContinue: LONG });
  });

  test("sends a stream to where a redirect leads", () => {
    const server = scripted(async (exchange) => {
      if (exchange.head.startsWith("PUT / ")) {
        exchange.socket.write(final(307, "Location: /there\r\n"));
        return;
      }
      exchange.socket.write(CONTINUE);
      await exchange.until("0\r\n\r\n");
      exchange.socket.write(answer("took it"));
    });
    return withClient(server, async (client, { url }) => {
      const { stream } = once("hello");
      const response = await client.put(url, { body: stream });
      assertEquals(await response.text(), "took it");
      assertEquals(response.redirects, [url]);
    }, { expectContinue: LONG });
  });

  test("lets a body go that a redirect makes needless", () => {
    const server = scripted(({ socket, head }) => {
      socket.write(
        head.startsWith("POST")
          ? final(303, "Location: /there\r\n")
          : answer("got it"),
      );
    });
    return withClient(server, async (client, { url }) => {
      const { stream, state, cancelled } = once("hello");
      const response = await client.post(url, { body: stream });
      assertEquals(await response.text(), "got it");
      await cancelled;
      assert(!state.read);
    }, { expectContinue: LONG });
  });

  test("asks again without it after 417", () => {
    const heads: string[] = [];
    const server = scripted(async (exchange) => {
      heads.push(exchange.head);
      if (exchange.head.includes("expect:")) {
        exchange.socket.write(final(417));
        return;
      }
      await exchange.until("hello");
      exchange.socket.write(answer("took it"));
    });
    return withClient(server, async (client, { url }) => {
      const bodies = [() => "hello", () => once("hello").stream];
      for (const body of bodies) {
        const response = await client.put(url, { body: body() });
        assertEquals(await response.text(), "took it");
        assertEquals(response.redirects, []);
      }
      assertEquals(heads.length, 4);
    }, { expectContinue: LONG });
  });

  test("gives 417 to the caller when it comes again, or too late", () => {
    const server = scripted(async (exchange) => {
      if (exchange.head.includes("expect:")) {
        exchange.socket.write(CONTINUE);
        await exchange.until("0\r\n\r\n");
      }
      exchange.socket.write(final(417));
    });
    return withClient(server, async (client, { url }) => {
      const late = await client.put(url, { body: once("hello").stream });
      assertEquals([late.status, await late.text()], [417, "final"]);
      const again = await client.put(url, {
        body: once("hello").stream,
        expectContinue: false,
      });
      assertEquals(again.status, 417);
    }, { expectContinue: LONG });
  });

  test("ends with the signal, the time and the connection", () => {
    const came: (() => void)[] = [];
    const server = scripted(({ socket, head }) => {
      if (head.includes("/reset")) socket.resetAndDestroy();
      else came.shift()?.();
    });
    return withClient(server, async (client, { url }) => {
      const there = deferred();
      came.push(there.resolve);
      const controller = new AbortController();
      const one = once("hello");
      const pending = client.put(url, {
        body: one.stream,
        signal: controller.signal,
      });
      await there.promise;
      controller.abort("enough");
      assertEquals(await pending.catch((reason) => reason), "enough");
      await one.cancelled;
      assertEquals(one.state.cancelled, "enough");
      const two = once("hello");
      const error = await assertRejects(
        () => client.put(url, { body: two.stream, timeout: 50 }),
        FetchError,
      );
      assertEquals(error.phase, "total");
      await two.cancelled;
      await assertRejects(
        () => client.put(`${url}reset`, { body: "hello" }),
        FetchError,
      );
      assertEquals(client.stats().open, 0);
    }, { expectContinue: LONG });
  });

  test("is understood by servers", async () => {
    let asked = 0;
    const server = await serve(async (request) => {
      if (new URL(request.url).pathname === "/no") return new Response("no");
      return new Response(await request.text());
    }, {
      hostname: "127.0.0.1",
      port: 0,
      onExpect: (request) => {
        asked++;
        return !request.url.endsWith("/417");
      },
    });
    const client = new Client({ base: server.url, expectContinue: LONG });
    try {
      for (let i = 0; i < 2; i++) {
        assertEquals(await client.put("/", { body: "hello" }).text(), "hello");
      }
      assertEquals(
        await client.put("/417", { body: once("hello").stream }).text(),
        "hello",
      );
      assertEquals(asked, 3);
    } finally {
      await client.close({ timeout: 0 });
      await server.close({ timeout: 0 });
    }
  });

  test("asks nothing of a transport, which reads as it likes", async () => {
    const transport = fake({
      "PUT /": (request) => String(request.headers.get("expect")),
    });
    const client = new Client({
      base: "http://a.test",
      transport,
      expectContinue: true,
    });
    assertEquals(await client.put("/", { body: "x" }).text(), "null");
    await client.close();
  });

  test("refuses what is no time", async () => {
    const client = new Client();
    for (const expectContinue of [-1, NaN, "yes"]) {
      await assertRejects(
        () =>
          client.get("http://127.0.0.1:1", {
            expectContinue: expectContinue as number,
          }),
        RangeError,
        "expectContinue",
      );
    }
    await client.close();
  });
});
