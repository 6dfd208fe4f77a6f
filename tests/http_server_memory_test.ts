import { test } from "node:test";
import { Response as OurResponse } from "../http/mod.ts";
import type { Handler } from "../http/types.ts";
import { RequestBody } from "../http/_request_body.ts";
import { assert, assertEquals, assertThrows } from "./assert.ts";
import { rawClient, withServer } from "./_http_raw.ts";
import { within } from "./_support.ts";

// The engine uses memory again: nobody may see bytes that are not his.

const SIZES = [5, 4096, 5000, 16 * 1024, 40_000, 70_000, 300_000];
const encoder = new TextEncoder();

/** Bytes that tell one body from another, and every place in it. */
function pattern(size: number, seed: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) {
    bytes[i] = (i * 31 + seed * 97 + (i >> 8)) & 255;
  }
  return bytes;
}

function same(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && a.every((byte, i) => byte === b[i]);
}

function request(body: Uint8Array, path: string): Uint8Array {
  const head = encoder.encode(
    `POST ${path} HTTP/1.1\r\nhost: x\r\ncontent-length: ${body.byteLength}\r\n\r\n`,
  );
  const whole = new Uint8Array(head.byteLength + body.byteLength);
  whole.set(head);
  whole.set(body, head.byteLength);
  return whole;
}

async function chunksOf(body: ReadableStream<Uint8Array> | null) {
  const chunks: Uint8Array[] = [];
  for (const reader = body!.getReader();;) {
    const { done, value } = await reader.read();
    if (done) return chunks;
    chunks.push(value);
  }
}

function joined(chunks: Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(chunks.reduce((n, c) => n + c.byteLength, 0));
  let at = 0;
  for (const chunk of chunks) {
    whole.set(chunk, at);
    at += chunk.byteLength;
  }
  return whole;
}

/** Ways to read a body, of which what is given is kept. */
const readers: Record<string, (r: Request) => Promise<() => Uint8Array>> = {
  async buffer(request) {
    const buffer = await request.arrayBuffer();
    return () => new Uint8Array(buffer);
  },
  async late(request) {
    await new Promise((resolve) => setTimeout(resolve, 1));
    const buffer = await request.arrayBuffer();
    return () => new Uint8Array(buffer);
  },
  async blob(request) {
    const bytes = new Uint8Array(await (await request.blob()).arrayBuffer());
    return () => bytes;
  },
  async stream(request) {
    const chunks = await chunksOf(request.body);
    return () => joined(chunks);
  },
  async copy(request) {
    const chunks = await chunksOf(new Request(request).body);
    return () => joined(chunks);
  },
  async response(request) {
    const bytes = new Uint8Array(
      await new Response(request.body).arrayBuffer(),
    );
    return () => bytes;
  },
};
const names = Object.keys(readers);

const engine = "wire";

for (const cut of [Infinity, 1500, 30_000]) {
  test(`bodies of requests stay as they came, in pieces of ${cut}`, async () => {
    const kept: [Uint8Array, () => Uint8Array][] = [];
    const sent = new Map<string, Uint8Array>();
    const handler: Handler = async (request) => {
      const { pathname } = new URL(request.url);
      const [, , name] = pathname.split("/");
      kept.push([sent.get(pathname)!, await readers[name](request)]);
      return new Response(`<${pathname}>`);
    };
    await withServer(handler, { engine }, async (server) => {
      const client = await rawClient(server);
      let seed = 0;
      for (const size of SIZES) {
        for (const name of names) {
          const body = pattern(size, ++seed);
          const path = `/${seed}/${name}`;
          sent.set(path, body);
          const bytes = request(body, path);
          for (let at = 0; at < bytes.byteLength; at += cut) {
            client.send(bytes.subarray(at, at + cut));
            if (cut !== Infinity) {
              await new Promise((resolve) => setImmediate(resolve));
            }
          }
          await client.until(`<${path}>`);
        }
      }
      client.destroy();
    });
    assertEquals(kept.length, SIZES.length * names.length);
    for (const [body, bytes] of kept) assert(same(bytes(), body));
  });
}

test(`bodies of pipelined requests stay as they came`, async () => {
  const kept: [Uint8Array, () => Uint8Array][] = [];
  const sent = new Map<string, Uint8Array>();
  const handler: Handler = async (request) => {
    const { pathname } = new URL(request.url);
    const [, , name] = pathname.split("/");
    const read = readers[name](request);
    const bytes = sent.get(pathname)!;
    read.then((content) => kept.push([bytes, content]));
    // Not all of them are read before they are answered.
    if (name !== "stream") await read;
    return new Response(`<${pathname}>`);
  };
  await withServer(handler, { engine }, async (server) => {
    const client = await rawClient(server);
    for (let round = 0; round < 10; round++) {
      const parts: Uint8Array[] = [];
      let last = "";
      for (const [i, name] of names.entries()) {
        const body = pattern(4200 + 700 * i, round * 10 + i);
        last = `/${round}${i}/${name}`;
        sent.set(last, body);
        parts.push(request(body, last));
      }
      client.send(joined(parts));
      await client.until(`<${last}>`);
    }
    client.destroy();
  });
  assertEquals(kept.length, 10 * names.length);
  for (const [body, bytes] of kept) assert(same(bytes(), body));
});

test(`bytes that a handler sends stay its own`, async () => {
  const content = pattern(16_000, 7);
  const { buffer } = content;
  const kinds = [Response, OurResponse];
  let count = 0;
  const made: Response[] = [];
  const handler: Handler = () => {
    const Kind = kinds[count % 2];
    const body = count++ % 4 < 2 ? content : buffer;
    const response = new Kind(body, { headers: { "content-type": "x/y" } });
    made.push(response);
    return response;
  };
  await withServer(handler, { engine }, async (server) => {
    const { address } = server;
    assert(address.transport === "tcp");
    const url = `http://127.0.0.1:${address.port}/`;
    for (let i = 0; i < 12; i++) {
      const answer = await within(fetch(url));
      assert(same(new Uint8Array(await answer.arrayBuffer()), content));
    }
  });
  assert(same(content, pattern(16_000, 7)));
  // What has been sent is used up, and not empty.
  for (const response of made) {
    assertEquals(response.status, 200);
    assertEquals(response.headers.get("content-type"), "x/y");
  }
});

test("Response has the bytes that it was made of, whatever becomes of them, and whatever is sent meanwhile", async () => {
  const sizes = [4000, 4096, 4097, 9000, 16 * 1024, 16 * 1024 + 1];
  const kinds = [Response, OurResponse];
  const kept: [Uint8Array, Response][] = [];
  const made = (size: number, seed: number, number: number): Response => {
    const bytes = pattern(size, seed);
    const Kind = kinds[number % 2];
    const response = new Kind(number % 4 < 2 ? bytes : bytes.buffer);
    bytes.fill(0xee);
    return response;
  };
  let count = 0;
  const handler: Handler = (request) => {
    const [, size, seed] = new URL(request.url).pathname.split("/").map(Number);
    const number = count++;
    // One that is not sent, one that is read, and one of two.
    kept.push([pattern(size, seed + 1), made(size, seed + 1, number)]);
    if (number % 5 === 3) {
      const { body } = made(size, seed, number);
      return new Response(body);
    }
    const response = made(size, seed, number);
    return number % 5 === 4 ? response.clone() : response;
  };
  await withServer(handler, { engine }, async (server) => {
    const { address } = server;
    assert(address.transport === "tcp");
    const url = `http://127.0.0.1:${address.port}`;
    let seed = 0;
    for (let round = 0; round < 10; round++) {
      await Promise.all(sizes.map(async (size) => {
        const own = seed++;
        const method = own % 7 === 6 ? "HEAD" : "GET";
        const answer = await within(fetch(`${url}/${size}/${own}`, { method }));
        const bytes = new Uint8Array(await answer.arrayBuffer());
        if (method === "HEAD") assertEquals(bytes.byteLength, 0);
        else assert(same(bytes, pattern(size, own)));
      }));
    }
  });
  for (const [bytes, response] of kept) {
    const copy = response.clone();
    assert(same(new Uint8Array(await response.arrayBuffer()), bytes));
    assert(same(new Uint8Array(await copy.arrayBuffer()), bytes));
  }
});

test("Response of a body that was given back with others stays that body", async () => {
  const kept: [Uint8Array, ArrayBuffer][] = [];
  const handler: Handler = async (request) => {
    const buffer = await request.arrayBuffer();
    const Kind = kept.length % 2 === 0 ? Response : OurResponse;
    kept.push([new Uint8Array(buffer).slice(), buffer]);
    return new Kind(buffer);
  };
  await withServer(handler, { engine }, async (server) => {
    const { address } = server;
    assert(address.transport === "tcp");
    const url = `http://127.0.0.1:${address.port}/`;
    for (let round = 0; round < 6; round++) {
      await Promise.all(SIZES.map(async (size, i) => {
        const body = pattern(size, round * 10 + i);
        const answer = await within(fetch(url, { method: "POST", body }));
        assert(same(new Uint8Array(await answer.arrayBuffer()), body));
      }));
    }
  });
  for (const [bytes, buffer] of kept) {
    assertEquals(buffer.byteLength, bytes.byteLength);
    assert(same(new Uint8Array(buffer), bytes));
  }
});

test("RequestBody gives no memory for what is only announced", async () => {
  const owner = { wanted() {}, room() {} };
  const body = new RequestBody(owner, 2 ** 50);
  const whole = Promise.resolve(body.collect());
  for (let i = 0; i < 100; i++) assert(body.push(new Uint8Array(1000)));
  body.fail(new Error("cut"));
  let told: unknown;
  await whole.catch((error) => told = error);
  assertEquals((told as Error).message, "cut");
  assertThrows(() => new Uint8Array(2 ** 50), RangeError);
});

test("RequestBody puts bytes of known length together where they stay", async () => {
  const owner = { wanted() {}, room() {} };
  for (const size of [10, 70_000, 300_000]) {
    const body = new RequestBody(owner, size);
    const content = pattern(size, 3);
    const cut = Math.ceil(size / 7);
    // Some comes before anybody asks.
    body.push(content.slice(0, cut));
    const whole = Promise.resolve(body.collect());
    for (let at = cut; at < size; at += cut) {
      body.push(content.slice(at, at + cut));
    }
    assert(body.free);
    body.end();
    const bytes = await whole;
    assert(same(bytes, content));
    assertEquals(bytes.buffer.byteLength, size);
  }
});
