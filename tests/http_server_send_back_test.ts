import { test } from "node:test";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import {
  bodyOf,
  exchange,
  getOn,
  rawClient,
  statusOf,
  unchunk,
  withServer,
} from "./_http_raw.ts";
import { modes, until } from "./_support.ts";

function post(length: number, fields = ""): string {
  return `POST / HTTP/1.1\r\nhost: x\r\ncontent-length: ${length}\r\n${fields}\r\n`;
}

const CLOSE = "connection: close\r\n";

/** What the body of a response says, however it is framed. */
function contentOf(text: string): string | undefined {
  const chunked = /\r\ntransfer-encoding: chunked\r\n/i.test(text);
  return chunked ? unchunk(bodyOf(text)) : bodyOf(text);
}

for (const engine of modes) {
  const options = { engine };

  test(`the body of a request is sent back as it came, ${engine}`, async () => {
    let used: boolean[] = [];
    await withServer(
      (request) => {
        const response = new Response(request.body, {
          headers: { "content-type": "text/x" },
        });
        used = [request.bodyUsed];
        return response;
      },
      options,
      async (server) => {
        const text = await exchange(server, `${post(5, CLOSE)}hello`);
        assertEquals([statusOf(text), contentOf(text)], [200, "hello"]);
        assert(/\r\ncontent-type: text\/x\r\n/i.test(text), text);
        assertEquals(used, [false]);
        // Nothing at all is a body, too.
        assertEquals(contentOf(await exchange(server, post(0, CLOSE))), "");
      },
    );
  });

  test(`the body of a request is sent back while it still comes, ${engine}`, async () => {
    await withServer(
      (request) => new Response(request.body),
      options,
      async (server) => {
        const client = await rawClient(server);
        client.send(`${post(9, CLOSE)}one`);
        await client.until("one");
        client.send("two");
        await client.until("two");
        client.send("six");
        const text = await client.untilEnd();
        assertEquals(contentOf(text), "onetwosix");
        client.destroy();
      },
    );
  });

  if (engine !== "h2") {
    test(`a large body is sent back as slowly as the client reads, ${engine}`, async () => {
      const size = 12 * 1024 * 1024;
      await withServer(
        (request) => new Response(request.body),
        options,
        async (server) => {
          const client = await rawClient(server);
          client.socket.removeAllListeners("data");
          client.socket.pause();
          client.send(post(size, CLOSE));
          client.send(new Uint8Array(size).fill(120));
          // As much as the kernel takes both ways, and then it stops.
          let last = -1;
          await until(
            async () => {
              const before = last;
              await new Promise((resolve) => setTimeout(resolve, 200));
              last = client.socket.bytesWritten - client.socket.writableLength;
              return last === before;
            },
            "The pause",
            10_000,
          );
          let length = 0;
          client.socket.on(
            "data",
            (chunk: Uint8Array) => length += chunk.length,
          );
          client.socket.resume();
          await until(() => client.ended, "All of it", 30_000);
          assert(length > size, `${length}`);
          client.destroy();
        },
      );
    });
  }

  test(`a body that is read in another way first is not sent twice, ${engine}`, async () => {
    const seen: unknown[] = [];
    await withServer(
      async (request) => {
        const { body } = request;
        const copy = request.clone();
        seen.push(await request.text(), request.bodyUsed, copy.bodyUsed);
        await assertRejects(() => request.text(), TypeError);
        assert(body !== null);
        return new Response(copy.body);
      },
      options,
      async (server) => {
        const text = await exchange(server, `${post(5, CLOSE)}hello`);
        assertEquals([statusOf(text), contentOf(text)], [200, "hello"]);
        assertEquals(seen, ["hello", true, false]);
      },
    );
  });

  test(`text() takes what the stream that was asked for has not, ${engine}`, async () => {
    const seen: unknown[] = [];
    await withServer(
      async (request) => {
        const { body } = request;
        assertEquals(body, request.body);
        assertEquals([request.bodyUsed, body!.locked], [false, false]);
        seen.push(await request.text(), request.bodyUsed);
        return new Response("fine");
      },
      options,
      async (server) => {
        await exchange(server, `${post(5, CLOSE)}hello`);
        assertEquals(seen, ["hello", true]);
      },
    );
  });

  test(`a reader of the stream keeps everybody else from it, ${engine}`, async () => {
    const seen: unknown[] = [];
    await withServer(
      async (request) => {
        const reader = request.body!.getReader();
        await assertRejects(() => request.text(), TypeError);
        // It is asked for what only a real request knows.
        assert(request.redirect !== null);
        const { value } = await reader.read();
        seen.push(String.fromCharCode(...value!), request.bodyUsed);
        await assertRejects(async () => await request.text(), TypeError);
        seen.push((await reader.read()).done);
        return new Response("fine");
      },
      options,
      async (server) => {
        const text = await exchange(server, `${post(5, CLOSE)}hello`);
        assertEquals(statusOf(text), 200);
        assertEquals(seen, ["hello", true, true]);
      },
    );
  });
}

test("the body of a request that has come whole is used up when it is sent back", async () => {
  let seen: Request | undefined;
  await withServer(
    (request) => {
      seen = request;
      return new Response(request.body);
    },
    { engine: "wire" },
    async (server) => {
      for (const content of ["first", "second"]) {
        const text = await exchange(
          server,
          post(content.length, CLOSE) + content,
        );
        assertEquals([statusOf(text), contentOf(text)], [200, content]);
        // Nobody says what it is: it is not taken for a text.
        assert(!/content-type/i.test(text), text);
        assertEquals(seen!.bodyUsed, true);
        await assertRejects(() => seen!.text(), TypeError);
      }
    },
  );
});

// What a handler can do with a body of over 64 KiB, for which the connection is
// held until somebody reads.
const uses: Record<string, (request: Request) => Response | Promise<Response>> =
  {
    "sent back": (request) => new Response(request.body),
    "ignored": () => new Response("fine"),
    "ignored by a handler that waits": async () => {
      await new Promise((resolve) => setTimeout(resolve, 1));
      return new Response("fine");
    },
    "collected for nobody": (request) => {
      request.arrayBuffer().catch(() => {});
      return new Response("fine");
    },
    "collected": async (request) => new Response(await request.text()),
    "copied": async (request) =>
      new Response(await new Request(request).text()),
    "cloned": async (request) => new Response(await request.clone().text()),
    "cancelled": async (request) => {
      await request.body!.cancel();
      return new Response("fine");
    },
  };

for (const [name, use] of Object.entries(uses)) {
  test(`a connection is read on after a large body that was ${name}`, async () => {
    const handler = (request: Request) =>
      request.method === "POST"
        ? use(request)
        : new Response(`end ${new URL(request.url).pathname}.`);
    // Deno's own server ends the connection when a body was ignored.
    await withServer(handler, { engine: "wire" }, async (server) => {
      const client = await rawClient(server);
      for (let i = 0; i < 16; i++) {
        // What nobody reads is read on up to 256 KiB.
        const size = 100_000 + i * 10_000;
        const sent = post(size) + "x".repeat(size);
        // In one piece with what follows, and without.
        if (i % 2 === 0) client.send(sent + getOn(`/${i}`));
        else {
          client.send(sent);
          client.send(getOn(`/${i}`));
        }
        await client.until(`end /${i}.`);
      }
      client.destroy();
    });
  });
}

test("a body that breaks off breaks off the response it is", async () => {
  const errors: unknown[] = [];
  await withServer((request) => new Response(request.body), {
    onError: (error) => {
      errors.push(error);
      return new Response(null, { status: 500 });
    },
  }, async (server) => {
    const client = await rawClient(server);
    client.send(`${post(9)}one`);
    await client.until("one");
    client.destroy();
    await until(() => server.stats().connections === 0);
    const other = await rawClient(server);
    other.send(
      "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n3\r\none\r\n",
    );
    await other.until("one");
    other.send("no size\r\n");
    await other.untilEnd();
    assertEquals(contentOf(other.text), undefined);
    other.destroy();
    await until(() => server.stats().connections === 0);
  });
});

test("a body that stalls ends what passes it on", async () => {
  await withServer((request) => new Response(request.body), {
    timeouts: { body: 200 },
  }, async (server) => {
    const client = await rawClient(server);
    client.send(`${post(9)}one`);
    await client.untilEnd();
    assertEquals(contentOf(client.text), undefined);
    client.destroy();
    await until(() => server.stats().connections === 0);
  });
});
