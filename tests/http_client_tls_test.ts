import { createServer } from "node:https";
import type { IncomingMessage, ServerResponse } from "node:http";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import * as tls from "node:tls";
import { describe, test } from "node:test";
import { assertEquals, assertInstanceOf, assertRejects } from "./assert.ts";
import { withClient } from "./_client_support.ts";
import { answer, listen, nodeServer } from "./_http_servers.ts";
import type { TestServer } from "./_http_servers.ts";
import { until, within } from "./_support.ts";
import { pem } from "./_tls_support.ts";
import { FetchError } from "../http/errors.ts";
import { Client } from "../http/client.ts";
import type { ClientInit } from "../http/client.ts";
import { serve } from "../http/serve.ts";
import { TlsError } from "../streams/errors.ts";

const pair = (name: string) => ({
  cert: pem(`${name}.pem`),
  key: pem(`${name}.key`),
});
const ca = pem("ca.pem");

function secure(
  options: tls.TlsOptions = {},
  listener: (request: IncomingMessage, response: ServerResponse) => void = (
    request,
    response,
  ) => void response.end(`${request.headers.host} ${request.url}`),
): Promise<TestServer> {
  return listen(
    createServer({ ...pair("server"), ...options }, listener),
    "https",
  );
}

describe("https:", () => {
  test("is fetched from who has a certificate that is trusted", () =>
    withClient(secure(), async (client, { url, port }) => {
      for (const path of ["a", "b", "c"]) {
        assertEquals(
          await client.get(url + path).text(),
          `127.0.0.1:${port} /${path}`,
        );
      }
      assertEquals(client.stats().idle, 1);
      const big = await client.post(url, { body: "x".repeat(1_000_000) });
      assertEquals(big.status, 200);
    }, { tls: { ca } }));

  test("is not fetched from anybody else", () =>
    withClient(secure(), async (client, { url, port }) => {
      const error = await assertRejects(() => client.get(url), FetchError);
      assertInstanceOf(error.cause, TlsError);
      assertEquals(error.phase, "tls");
      for (const name of ["expired", "other-host", "stranger"]) {
        const other = await secure(pair(name));
        await assertRejects(
          () => client.get(other.url, { tls: { ca } }),
          FetchError,
        );
        await other.close();
      }
      const named = { ca, serverName: "other.example" };
      await assertRejects(() => client.get(url, { tls: named }), FetchError);
      assertEquals(client.stats().open, 0);
      const insecure = await client.get(url, { tls: { insecure: true } });
      assertEquals(await insecure.text(), `127.0.0.1:${port} /`);
    }));

  test("shares no connection among those who trust differently", () =>
    withClient(secure(), async (client, { url }) => {
      await client.get(url, { tls: { insecure: true } }).text();
      await assertRejects(() => client.get(url), FetchError);
      await client.get(url, { tls: { ca } }).text();
      await client.get(url, { tls: { ca: `${ca}` } }).text();
      assertEquals(client.stats().open, 2);
      for (const key of Object.keys(client.stats().hosts)) {
        assertEquals(key.includes("BEGIN"), false);
      }
    }));

  test("shows a certificate where one is asked for", () =>
    withClient(
      secure({ ca, requestCert: true }, (request, response) => {
        const { authorized } = request.socket as tls.TLSSocket;
        response.end(`${authorized}`);
      }),
      async (client, { url }) => {
        const init: ClientInit = { tls: { ca, ...pair("client") } };
        assertEquals(await client.get(url, init).text(), "true");
      },
    ));

  test("is left to http: by redirects, without what is secret", async () => {
    const plain = await nodeServer((request, response) => {
      response.end(`${request.headers.authorization}`);
    });
    await withClient(
      secure({}, (_, response) => {
        response.writeHead(302, { location: plain.url });
        response.end();
      }),
      async (client, { url }) => {
        const init = { auth: { bearer: "secret" } };
        assertEquals(await client.get(url, init).text(), "undefined");
      },
      { tls: { ca } },
    );
    await plain.close();
  });

  test("has a timeout of its own", () =>
    withClient(
      listen(net.createServer(() => {}), "https"),
      async (client, { url }) => {
        const error = await assertRejects(
          () => client.get(url, { timeout: { tls: 30 } }),
          FetchError,
        );
        assertEquals(error.phase, "tls");
        assertEquals(error.code, "ETIMEDOUT");
        const connect = await assertRejects(
          () => client.get(url, { timeout: { connect: 30 } }),
          FetchError,
        );
        assertEquals(connect.code, "ETIMEDOUT");
        const controller = new AbortController();
        const pending = client.get(url, { signal: controller.signal });
        setTimeout(() => controller.abort("enough"), 20);
        assertEquals(await pending.catch((error) => error), "enough");
        await until(() => client.stats().open === 0);
      },
    ));

  test("speaks HTTP/1.1 with servers without ALPN, unless that is not wanted", () =>
    withClient(
      listen(
        tls.createServer(pair("server"), (socket: tls.TLSSocket) => {
          socket.on("error", () => {});
          socket.on("data", () => socket.write(answer("hello")));
        }),
        "https",
      ),
      async (client, { url }) => {
        assertEquals(await client.get(url).text(), "hello");
        await assertRejects(
          () => client.get(url, { tls: { ca, alpn: ["h3"] } }),
          TypeError,
          "http/1.1",
        );
        await assertRejects(
          () => client.get(url, { protocols: ["h2"] }),
          TypeError,
          "h2",
        );
      },
      { tls: { ca } },
    ));

  test("refuses options that make no sense", () =>
    withClient(secure(), async (client, { url }) => {
      for (const options of [{ ca: "x" }, { cert: ca }, { pfx: 1 }, 1, "x"]) {
        await assertRejects(
          () => client.get(url, { tls: options } as ClientInit),
          TypeError,
        );
      }
    }));
});

test("a Unix socket's certificate is checked for the URL's host", async () => {
  const path = join(tmpdir(), `sluice-tls-${process.pid}.sock`);
  const server = await serve(
    (_, { tls }) => new Response(tls?.serverName),
    { path, tls: pair("server") },
  );
  const client = new Client({ unix: path, tls: { ca } });
  try {
    for (const host of ["localhost", "a.sluice.test"]) {
      assertEquals(
        await within(client.get(`https://${host}/`).text()),
        host,
      );
    }
    const error = await assertRejects(
      () => within(client.get("https://elsewhere.test/")),
      FetchError,
    );
    assertEquals(error.code, "ERR_TLS_WRONG_HOST");
  } finally {
    await client.close({ timeout: 0 });
    await server.close({ timeout: 0 });
  }
});
