import { test } from "node:test";
import { assert, assertEquals, assertStringIncludes } from "./assert.ts";
import {
  bodyOf,
  exchange,
  get,
  getOn,
  rawClient,
  statusOf,
  withServer,
} from "./_http_raw.ts";
import { modes, until } from "./_support.ts";
import { TimeoutError } from "../streams/errors.ts";

const fine = () => new Response("fine");

test("timeouts.header ends a head that does not come, with 408", async () => {
  await withServer(fine, { timeouts: { header: 80 } }, async (server) => {
    for (const part of ["G", "GET / HTTP/1.1\r\nhost: x\r\nacc"]) {
      const text = await exchange(server, part);
      assertEquals(statusOf(text), 408);
      assertStringIncludes(text, "connection: close");
    }
    // Dribbling does not help.
    const client = await rawClient(server);
    const started = performance.now();
    const timer = setInterval(() => client.send("a"), 10);
    client.send("GET / HTTP/1.1\r\nhost: x\r\nx: ");
    await client.untilEnd();
    clearInterval(timer);
    client.destroy();
    assertEquals(statusOf(client.text), 408);
    assert(performance.now() - started < 2000);
    // A second one on the same connection has the same time.
    const second = await rawClient(server);
    second.send(getOn());
    await second.until("fine");
    second.send("GET");
    await second.untilEnd();
    assertStringIncludes(second.text, "HTTP/1.1 408");
    second.destroy();
  });
});

test("timeouts.idle ends a connection that waits between requests, in silence", async () => {
  await withServer(fine, { timeouts: { idle: 500 } }, async (server) => {
    const fresh = await rawClient(server);
    const used = await rawClient(server);
    used.send(getOn());
    await used.until("fine");
    assertEquals(bodyOf(await used.untilEnd()), "fine");
    assertEquals(await fresh.untilEnd(), "");
    fresh.destroy();
    used.destroy();
    await until(() => server.stats().connections === 0);
  });
});

test("timeouts.idle does not count while a request is answered", async () => {
  await withServer(
    async (request) => {
      await new Promise((resolve) => setTimeout(resolve, 1000));
      if (!request.url.endsWith("/stream")) return new Response("slow");
      return new Response(
        new ReadableStream({
          async start(controller) {
            controller.enqueue(new Uint8Array([97]));
            await new Promise((resolve) => setTimeout(resolve, 1000));
            controller.enqueue(new Uint8Array([98]));
            controller.close();
          },
        }),
      );
    },
    { timeouts: { idle: 400, header: 400 } },
    async (server) => {
      assertEquals(bodyOf(await exchange(server, get())), "slow");
      assertStringIncludes(
        await exchange(server, get("/stream")),
        "1\r\nb\r\n0\r\n\r\n",
      );
    },
  );
});

test("timeouts.body ends a body that stalls, with 408 and an error for the reader", async () => {
  const errors: unknown[] = [];
  await withServer(async (request) => {
    try {
      return new Response(await request.text());
    } catch (error) {
      errors.push(error);
      throw error;
    }
  }, {
    timeouts: { body: 80 },
    onError(error) {
      errors.push("told", error);
      return new Response(null, { status: 500 });
    },
  }, async (server) => {
    const head = "POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\n";
    const text = await exchange(server, `${head}half`);
    assertEquals(statusOf(text), 408);
    await until(() => errors.length > 0);
    assert(errors[0] instanceof TimeoutError);
    assertEquals(errors[0].phase, "body");
    assertEquals(errors.length, 1);
  });
});

test("timeouts.body lets a body take its time as long as something comes", async () => {
  await withServer(async (request) => new Response(await request.text()), {
    timeouts: { body: 1500 },
  }, async (server) => {
    const client = await rawClient(server);
    client.send(
      "POST / HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 10\r\n\r\n",
    );
    for (const byte of "0123456789") {
      await new Promise((resolve) => setTimeout(resolve, 200));
      client.send(byte);
    }
    assertEquals(bodyOf(await client.untilEnd()), "0123456789");
    client.destroy();
  });
});

test("timeouts.body does not count while the handler holds the client", async () => {
  await withServer(
    async (request) => {
      const reader = request.body!.getReader();
      let size = 0;
      for (let waits = 0;;) {
        const { done, value } = await reader.read();
        if (done) break;
        size += value.byteLength;
        if (waits++ < 3) {
          await new Promise((resolve) => setTimeout(resolve, 800));
        }
      }
      return new Response(`${size}`);
    },
    { timeouts: { body: 400 } },
    async (server) => {
      const size = 8 * 1024 * 1024;
      const response = await fetch(server.url, {
        method: "POST",
        body: new Uint8Array(size),
      });
      assertEquals(await response.text(), `${size}`);
    },
  );
});

for (const engine of modes) {
  test(`timeouts.handler answers with 503 when the handler does not, ${engine}`, async () => {
    let late!: (response: Response) => void;
    let cancelled = false;
    const signals: AbortSignal[] = [];
    await withServer(
      (request) => {
        signals.push(request.signal);
        if (request.url.endsWith("/fast")) return Promise.resolve(fine());
        return new Promise((resolve) => late = resolve);
      },
      { engine, timeouts: { handler: 100 } },
      async (server) => {
        const text = await exchange(server, get("/slow"));
        assertEquals(statusOf(text), 503);
        assertEquals(bodyOf(text), "");
        assertEquals(signals[0].aborted, false);
        late(
          new Response(
            new ReadableStream({
              cancel() {
                cancelled = true;
              },
            }),
          ),
        );
        if (engine === "wire") await until(() => cancelled);
        assertEquals(bodyOf(await exchange(server, get("/fast"))), "fine");
      },
    );
  });
}

test("timeouts of 0 are off", async () => {
  await withServer(fine, {
    timeouts: { header: 0, idle: 0, body: 0, handler: 0 },
  }, async (server) => {
    const client = await rawClient(server);
    client.send("GET / HTTP/1.1\r\n");
    await new Promise((resolve) => setTimeout(resolve, 100));
    client.send("host: x\r\n\r\n");
    await client.until("fine");
    client.destroy();
  });
});

test("a client that takes its time to read is not idle", async () => {
  const size = 24 * 1024 * 1024;
  await withServer(() => new Response(new Uint8Array(size)), {
    timeouts: { idle: 800 },
  }, async (server) => {
    const client = await rawClient(server);
    client.send(get());
    await client.until("\r\n\r\n");
    let length = 0;
    client.socket.removeAllListeners("data");
    client.socket.on("data", (chunk: Uint8Array) => length += chunk.length);
    for (let i = 0; i < 6; i++) {
      client.socket.pause();
      await new Promise((resolve) => setTimeout(resolve, 250));
      client.socket.resume();
      // Enough for the kernel to tell the server of room.
      const enough = Math.min(length + 2 ** 21, size - 2 ** 20);
      await until(() => length >= enough, "Two more MiB");
    }
    await client.untilEnd();
    assert(length + client.text.length > size, `${length}`);
    client.destroy();
  });
});

test("timeouts.body is for all of what is left of a request that is answered", async () => {
  await withServer(fine, { timeouts: { body: 300 } }, async (server) => {
    for (
      const framing of ["content-length: 9999", "transfer-encoding: chunked"]
    ) {
      const client = await rawClient(server);
      client.send(`POST / HTTP/1.1\r\nhost: x\r\n${framing}\r\n\r\n`);
      await client.until("fine");
      const piece = framing.startsWith("c") ? "x" : "1\r\nx\r\n";
      const timer = setInterval(() => client.send(piece), 20);
      await client.untilEnd();
      clearInterval(timer);
      client.destroy();
    }
  });
});
