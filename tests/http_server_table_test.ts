// Requests by the table of _h1_requests.ts, over real connections: what they
// are answered with, and what becomes of the connection.

import { after, before, describe, test } from "node:test";
import { serve } from "../http/serve.ts";
import type { HttpServer } from "../http/types.ts";
import { assert, assertEquals } from "./assert.ts";
import { cutting, limits, rows } from "./_h1_requests.ts";
import type { Row } from "./_h1_requests.ts";
import { rawClient } from "./_http_raw.ts";
import { until, within } from "./_support.ts";

const PROBE = "GET /probe HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n";
/** Connections at a time. */
const WIDTH = 24;

/** Latin-1, as the rows have it. */
const decoder = new TextDecoder("latin1");

async function echo(request: Request): Promise<Response> {
  if (request.method === "CONNECT") return new Response(null, { status: 405 });
  const { host: told, pathname } = new URL(request.url);
  // Who names no host means the address that was connected to.
  const host = told.startsWith("127.0.0.1") ? "here" : told;
  const query = /\?.*$/.exec(request.url)?.[0] ?? "";
  const body = decoder.decode(await request.arrayBuffer());
  if (request.method === "HEAD") return new Response(null);
  const seen = `${request.method} ${host}${pathname}${query}`;
  return new Response(body === "" ? seen : `${seen} ${body}`);
}

/** The answers that have come whole, as a row tells them. */
function answersOf(text: string): string[] {
  const answers: string[] = [];
  let at = 0;
  for (;;) {
    const end = text.indexOf("\r\n\r\n", at);
    if (end === -1) break;
    const head = text.slice(at, end);
    const found = /^HTTP\/1\.1 (\d{3}) [^\r\n]*(?:\r\n|$)/.exec(head);
    if (found === null) return [...answers, `no answer: ${head}`];
    const length = Number(/\r\ncontent-length: (\d+)/.exec(head)?.[1] ?? 0);
    const body = text.slice(end + 4, end + 4 + length);
    if (body.length < length) break;
    if (/^[45]/.test(found[1]) && found[1] !== "405") {
      if (!head.includes("\r\nconnection: close")) return ["no close", head];
    }
    answers.push(body === "" ? found[1] : `${found[1]} ${body}`);
    at = end + 4 + length;
  }
  return at === text.length
    ? answers
    : [...answers, `more: ${text.slice(at, at + 200)}`];
}

describe("serve() of the table", () => {
  let server!: HttpServer;
  const errors: string[] = [];

  before(async () => {
    server = await serve(echo, {
      hostname: "127.0.0.1",
      port: 0,
      limits,
      onError(error) {
        errors.push(String(error));
        return new Response(null, { status: 500 });
      },
    });
  });
  after(() => within(server.close({ timeout: 0 })));

  /** Sends the pieces, each when the one before is gone; all that came. */
  async function run(row: Row, pieces: string[]): Promise<string[]> {
    const client = await rawClient(server);
    try {
      for (const [i, piece] of pieces.entries()) {
        if (i > 0) await new Promise((resolve) => setTimeout(resolve, 1));
        client.send(piece);
      }
      if (row.fin) client.end();
      else if (row.fate === "open") {
        await until(
          () =>
            client.ended || answersOf(client.text).length >= row.answers.length,
          row.name,
          10_000,
        );
        client.send(PROBE);
      }
      await until(() => client.ended || client.closed, row.name, 10_000);
      return answersOf(client.text);
    } finally {
      client.destroy();
    }
  }

  const wanted = (row: Row): string[] =>
    row.fate === "open"
      ? [...row.answers, "200 GET a/probe"]
      : [...row.answers];

  /** Does the work for all, some at a time. */
  async function forAll<T>(
    items: readonly T[],
    work: (item: T) => Promise<void>,
  ): Promise<void> {
    let next = 0;
    await Promise.all(Array.from({ length: WIDTH }, async () => {
      while (next < items.length) await work(items[next++]);
    }));
  }

  test("has 200 rows and more, no two the same", () => {
    assert(rows.length >= 200, `${rows.length}`);
    assertEquals(new Set(rows.map(({ name }) => name)).size, rows.length);
    for (const { name, rule } of rows) {
      assert(/^(RFC \d+, )?\d/.test(rule), name);
    }
  });

  for (const section of new Set(rows.map(({ rule }) => rule))) {
    const title = section.startsWith("RFC") ? section : `RFC 9112, ${section}`;
    test(`keeps to ${title}`, async () => {
      const wrong: unknown[] = [];
      await forAll(rows.filter(({ rule }) => rule === section), async (row) => {
        const found = await run(row, [row.sent]);
        const right = wanted(row);
        if (found.join("\n") === right.join("\n")) return;
        wrong.push({ name: row.name, found, right });
      });
      assertEquals(wrong, []);
    });
  }

  test("answers the same however a request is cut in two", async () => {
    const cuts = cutting.flatMap((row) =>
      Array.from(
        { length: row.sent.length - 1 },
        (_, i) => ({ row, at: i + 1 }),
      )
    );
    await forAll(cuts, async ({ row, at }) => {
      const found = await run(row, [row.sent.slice(0, at), row.sent.slice(at)]);
      assertEquals(found, wanted(row), `${row.name}, cut at ${at}`);
    });
  });

  test("answers the same when it comes byte by byte", () =>
    forAll(cutting, async (row) => {
      assertEquals(await run(row, [...row.sent]), wanted(row), row.name);
    }));

  test("answers for nothing that is cut off", async () => {
    const cuts = cutting
      .filter(({ fate, answers }) => fate === "open" && answers.length === 1)
      .flatMap((row) =>
        Array.from({ length: row.sent.length - 1 }, (_, at) => ({ row, at }))
      );
    await forAll(cuts, async ({ row, at }) => {
      const short: Row = { ...row, fin: true, fate: "closed" };
      const found = await run(short, [row.sent.slice(0, at)]);
      assert(
        found.every((answer) => !answer.startsWith("200")),
        `${row.name}, cut off at ${at}: ${found}`,
      );
    });
  });

  test("keeps no connection, and calls nothing an error of the handler", async () => {
    await until(() => server.stats().connections === 0);
    assertEquals(errors, []);
  });
});
