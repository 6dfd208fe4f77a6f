import { test } from "node:test";
import { assert, assertEquals } from "./assert.ts";
import {
  block,
  bytesOf,
  CONTINUATION,
  data,
  END_HEADERS,
  END_STREAM,
  fieldsFor,
  frame,
  get,
  GET_ROOT,
  h2Peer,
  headers,
  PADDED,
  ping,
  post,
  PREFACE,
  PRIORITIZED,
  rstStream,
  settings,
  u32,
  windowUpdate,
} from "./_h2_raw.ts";
import type { Raw } from "./_h2_raw.ts";
import { withServer } from "./_http_raw.ts";
import { rowHandler } from "./_h2_rows.ts";
import { until } from "./_support.ts";
import type { HttpServer, ServeOptions } from "../http/types.ts";

const OPTIONS: ServeOptions = {
  protocols: ["h2", "http/1.1"],
  onError: () => new Response("", { status: 500 }),
};

/** Numbers below `n`, the same ones each time. */
function random(seed: number): (n: number) => number {
  let state = seed;
  return (n) => {
    state = (Math.imul(state, 1103515245) + 12345) & 0x7fffffff;
    return (state >>> 8) % n;
  };
}

/** A session with a little of everything. */
const SESSION = bytesOf(
  PREFACE,
  settings([3, 100], [4, 65535]),
  headers(
    1,
    bytesOf([2], u32(0), [9], block(GET_ROOT), [0, 0]),
    PADDED | PRIORITIZED | END_HEADERS | END_STREAM,
  ),
  post(3, "/echo", "content-length 5"),
  data(3, bytesOf([1], "hel", [0]), PADDED),
  windowUpdate(0, 1000),
  windowUpdate(3, 1000),
  headers(5, block(GET_ROOT).subarray(0, 20), END_STREAM),
  frame(CONTINUATION, END_HEADERS, 5, block(GET_ROOT).subarray(20)),
  data(3, "lo", END_STREAM),
  get(7, "/wait"),
  rstStream(7),
  frame(0xfa, 0xff, 9, "unknown"),
  post(9, "/trailers"),
  headers(9, "x-sum 1"),
  ping("whatever"),
);

/** Nothing is left of any connection, and the next is answered. */
async function checkServer(server: HttpServer): Promise<void> {
  await until(
    () => server.stats().connections === 0,
    "The end of all connections",
    10_000,
  );
  const peer = await h2Peer(server);
  try {
    peer.send(get(1));
    assertEquals((await peer.response(1)).body, "ok");
  } finally {
    peer.destroy();
  }
}

test("serve() answers a session of HTTP/2 the same however it is cut", async () => {
  await withServer(rowHandler, OPTIONS, async (server) => {
    const work = async (cut: number) => {
      const peer = await h2Peer(server, {
        greeting: SESSION.subarray(0, cut),
        acknowledge: false,
      });
      try {
        await new Promise((resolve) => setTimeout(resolve, 2));
        await peer.sendAll(SESSION.subarray(cut));
        const answers = new Map<number, string>();
        const over = new Set<number>();
        while (over.size < 4) {
          const f = await peer.next();
          if (f === undefined) {
            throw new Error(`Closed: cut at ${cut}: ${peer}`);
          }
          if (f.stream === 0 || f.type > 1) continue;
          const text = f.fields?.[1] ?? String.fromCharCode(...f.payload);
          answers.set(f.stream, (answers.get(f.stream) ?? "") + text);
          if ((f.flags & END_STREAM) !== 0) over.add(f.stream);
        }
        assertEquals(
          [...answers].sort(([a], [b]) => a - b),
          [
            [1, "200ok"],
            [3, "200hello"],
            [5, "200ok"],
            [9, '200[["x-sum","1"]]'],
          ],
          `cut at ${cut}`,
        );
      } finally {
        peer.destroy();
      }
    };
    for (let cut = 1; cut < SESSION.length; cut += 80) {
      const some: Promise<void>[] = [];
      for (let i = cut; i < Math.min(cut + 80, SESSION.length); i += 5) {
        some.push(work(i));
      }
      await Promise.all(some);
    }
    await checkServer(server);
  });
});

test("serve() outlives a session of HTTP/2 that breaks off anywhere", async () => {
  await withServer(rowHandler, OPTIONS, async (server) => {
    for (let cut = 0; cut < SESSION.length; cut += 40) {
      const some: Promise<void>[] = [];
      for (let i = cut; i < Math.min(cut + 40, SESSION.length); i += 2) {
        some.push((async () => {
          const peer = await h2Peer(server, {
            greeting: SESSION.subarray(0, i),
          });
          // By FIN, by RST, or by whatever comes of it.
          if (i % 3 === 0) await peer.connection.closeWrite().catch(() => {});
          else if (i % 3 === 1) peer.connection.reset();
          peer.destroy();
        })());
      }
      await Promise.all(some);
    }
    await checkServer(server);
  });
});

test("serve() outlives sessions of HTTP/2 with bytes changed", async () => {
  const next = random(9113);
  await withServer(rowHandler, OPTIONS, async (server) => {
    for (let round = 0; round < 15; round++) {
      const some: Promise<void>[] = [];
      for (let i = 0; i < 10; i++) {
        const changed = SESSION.slice();
        for (let n = 1 + next(4); n > 0; n--) {
          const at = (i % 2 === 0 ? 0 : PREFACE.length) +
            next(changed.length - PREFACE.length);
          changed[at] = next(2) === 0 ? next(256) : changed[at] ^ 1 << next(8);
        }
        some.push(send(server, changed));
      }
      await Promise.all(some);
    }
    await checkServer(server);
  });
});

test("serve() outlives random frames of HTTP/2", async () => {
  const next = random(7540);
  const bytes = (most: number): Raw =>
    Uint8Array.from({ length: next(most) }, () => next(256));
  const fields = () => {
    const all = [GET_ROOT, fieldsFor("/echo", "POST"), fieldsFor("/wait")];
    return block(all[next(3)] + (next(3) === 0 ? "|content-length 3" : ""));
  };
  const frames: (() => Uint8Array)[] = [
    () => headers(next(12), fields(), next(64)),
    () => headers(2 * next(20) + 1, fields(), END_HEADERS | next(2)),
    () => headers(2 * next(20) + 1, fields()),
    () => data(next(20), bytes(40), next(16)),
    () => data(2 * next(10) + 1, bytes(20), next(2)),
    () => frame(next(20), next(256), next(20), bytes(30)),
    () => settings([next(10), next(2) === 0 ? next(3) : next(2 ** 31)]),
    () => settings([4, next(100_000)]),
    () => windowUpdate(next(20), next(3) === 0 ? next(2) : next(2 ** 31)),
    () => rstStream(next(20), next(16)),
    () => frame(CONTINUATION, next(8), next(20), bytes(20)),
    () => ping(bytes(10)),
  ];
  await withServer(rowHandler, OPTIONS, async (server) => {
    for (let round = 0; round < 15; round++) {
      const some: Promise<void>[] = [];
      for (let i = 0; i < 10; i++) {
        const parts = [PREFACE, settings()];
        for (let n = next(30); n > 0; n--) {
          parts.push(frames[next(frames.length)]());
        }
        some.push(send(server, bytesOf(...parts)));
      }
      await Promise.all(some);
    }
    await checkServer(server);
  });
});

/** Sends it and reads until a moment passes in which nothing comes. */
async function send(server: HttpServer, bytes: Uint8Array): Promise<void> {
  const peer = await h2Peer(server, { greeting: bytes });
  try {
    // Behind whatever is broken nothing is answered: no time to wait for it.
    for (let quiet = 0; quiet < 3 && !peer.ended; quiet++) {
      const came = peer.frames.length;
      await new Promise((resolve) => setTimeout(resolve, 3));
      if (peer.frames.length > came) quiet = 0;
    }
    assert(peer.frames.every((f) => f.payload.length <= 16384));
  } finally {
    peer.destroy();
  }
}
