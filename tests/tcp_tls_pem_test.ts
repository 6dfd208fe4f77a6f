import { Buffer } from "node:buffer";
import * as nodeTls from "node:tls";
import { describe, test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
} from "./assert.ts";
import { engines, runtime, within } from "./_support.ts";
import { ca, pair, text, tlsRig } from "./_tls_support.ts";
import { connect, serve, TlsError } from "../tcp/mod.ts";
import type { TlsClientOptions, TlsServerOptions } from "../tcp/mod.ts";
import * as http from "../http/mod.ts";

interface Pair {
  cert: string;
  key: string;
}

const server = pair("server");
const client = pair("client");
const PARAMETERS =
  "-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n";

/** The same PEM as it lies about in files and programs. */
const SHAPES: Record<string, (given: Pair) => Pair> = {
  "with CRLF": ({ cert, key }) => ({
    cert: cert.replaceAll("\n", "\r\n"),
    key: key.replaceAll("\n", "\r\n"),
  }),
  "with text around": ({ cert, key }) => ({
    cert: `Bag Attributes\n  friendlyName: é\n${cert}subject=\n`,
    key: `Key Attributes: <No Attributes>\n${key}\nthe end`,
  }),
  "with a mark of the order of bytes": ({ cert, key }) => ({
    cert: "\uFEFF" + cert,
    key: "\uFEFF" + key,
  }),
  "indented": ({ cert, key }) => ({
    cert: cert.replace(/^/gm, "    "),
    key: key.replace(/^/gm, "\t"),
  }),
  "without an end of line": ({ cert, key }) => ({
    cert: cert.trimEnd(),
    key: key.trimEnd(),
  }),
  "certificate and key in one file": ({ cert, key }) => ({
    cert: cert + key,
    key: cert + key,
  }),
  "key and certificate in one file": ({ cert, key }) => ({
    cert: key + cert,
    key: key + cert,
  }),
  "parameters before the key": ({ cert, key }) => ({
    cert,
    key: PARAMETERS + key,
  }),
  "a second key": ({ cert, key }) => ({ cert, key: key + server.key }),
  "authorities behind": ({ cert, key }) => ({ cert: cert + ca, key }),
};

/** One that begins as a certificate does, and is none. */
const damaged = ca.replace(/\nM.{20}/, "\nAAAAAAAAAAAAAAAAAAAAA");
const encrypted = "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIGj\n" +
  "-----END ENCRYPTED PRIVATE KEY-----\n";
const older = "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n" +
  "DEK-Info: AES-128-CBC,00\n\nMIGj\n-----END EC PRIVATE KEY-----\n";

describe("PEM", () => {
  for (const [what, shape] of Object.entries(SHAPES)) {
    test(`is read ${what}, by servers and clients`, async () => {
      const trusted = shape({ cert: ca, key: client.key }).cert;
      const kit = await tlsRig({
        ...shape(server),
        ca: trusted,
        clientAuth: "require",
      });
      try {
        const connection = await kit.connect({ ca: trusted, ...shape(client) });
        await connection.send("x");
        assertEquals(text(await within(connection.read(1))), "x");
        assertEquals(kit.ends[0].tls!.authorized, true);
        connection.destroy();
      } finally {
        await kit.close();
      }
    });

    test(`is read ${what}, by HTTP's servers`, async () => {
      for (const engine of engines) {
        const it = await http.serve(() => new Response("hello"), {
          hostname: "127.0.0.1",
          port: 0,
          engine,
          tls: shape(server),
        });
        const agent = new http.Client({ tls: { ca } });
        try {
          const said = agent.get(it.url);
          assertEquals(await within(said.text()), "hello");
        } finally {
          await agent.close({ timeout: 0 });
          await it.close({ timeout: 0 });
        }
      }
    });
  }

  const senseless: [string, Partial<Pair & { ca: string | string[] }>][] = [
    ["a key for a certificate", { cert: server.key }],
    ["a certificate for a key", { key: server.cert }],
    ["a key for an authority", { ca: server.key }],
    ["a key for one of the authorities", { ca: [ca, server.key] }],
    ["a key with a passphrase", { key: encrypted }],
    ["an older key with a passphrase", { key: older }],
    ["a list of certificates", { cert: [server.cert] as unknown as string }],
  ];
  for (const [what, wrong] of senseless) {
    test(`is refused as ${what}`, async () => {
      const options = { ...server, ...wrong };
      await assertRejects(
        () => within(connect({ port: 1, tls: options })),
        TypeError,
        "Cannot connect: tls.",
      );
      await assertRejects(
        () => serve(() => {}, { port: 0, tls: options }),
        TypeError,
        "Cannot serve: tls.",
      );
      for (const engine of engines) {
        // What the native engine of Deno cannot do at all it says first.
        if (options.ca !== undefined && engine === "native") continue;
        await assertRejects(
          () =>
            http.serve(() => new Response(), { port: 0, engine, tls: options }),
          TypeError,
          "Cannot serve: tls.",
        );
      }
    });
  }

  const useless: [string, Partial<Pair & { ca: string | string[] }>][] = [
    ["a damaged certificate", { cert: damaged }],
    ["a damaged one in the chain", { cert: server.cert + damaged }],
    ["a damaged authority", { ca: damaged }],
    ["a damaged one of the authorities", { ca: [ca, ca + damaged] }],
    ["another one's key", { key: client.key }],
    ["chains that begin with the authority", { cert: ca + server.cert }],
  ];
  for (const [what, wrong] of useless) {
    test(`is told to be of no use: ${what}`, async () => {
      const options: TlsServerOptions = { ...server, ...wrong };
      const failing: (() => Promise<unknown>)[] = [
        () => serve(() => {}, { port: 0, tls: options }),
      ];
      for (const engine of engines) {
        if (options.ca !== undefined && engine === "native") continue;
        failing.push(() =>
          http.serve(() => new Response(), { port: 0, engine, tls: options })
        );
      }
      const kit = await tlsRig();
      try {
        const asClient: TlsClientOptions = { ca, ...options };
        failing.push(() => kit.connect(asClient));
        for (const fail of failing) {
          const error = await assertRejects(fail, TlsError);
          assertEquals(error.code, "ERR_TLS_CERTIFICATE");
          assert(error.message.includes("of no use: "), error.message);
        }
        // STARTTLS leaves a connection as it was.
        const plain = await serve((connection) => connection.send("still"), {
          hostname: "127.0.0.1",
          port: 0,
        });
        const { address } = plain;
        assert(address.transport === "tcp");
        const connection = await connect({
          hostname: "127.0.0.1",
          port: address.port,
        });
        const error = await connection.startTls(asClient).then(
          () => undefined,
          (reason) => reason,
        );
        assertInstanceOf(error, TlsError);
        assertEquals(error.code, "ERR_TLS_CERTIFICATE");
        assertEquals(text(await within(connection.read(5))), "still");
        connection.destroy();
        await plain.close({ timeout: 0 });
      } finally {
        await kit.close();
      }
    });
  }

  // The others refuse such a chain; no server but Deno's sends one.
  if (runtime === "deno") {
    test("of a server's chain that cannot be read ends no client's process", async () => {
      const peer = nodeTls.createServer({
        ...server,
        cert: server.cert + damaged,
      }, (socket) => {
        socket.on("error", () => {});
        socket.end(Buffer.from("x"));
      });
      await new Promise<void>((resolve) =>
        peer.listen(0, "127.0.0.1", resolve)
      );
      const { port } = peer.address() as { port: number };
      try {
        for (const tls of [{ ca }, { insecure: true }]) {
          const connection = await within(
            connect({ hostname: "localhost", port, tls }),
          );
          assertEquals(text(await within(connection.read(1))), "x");
          assertEquals(connection.tls!.authorized, !("insecure" in tls));
          connection.destroy();
        }
      } finally {
        await new Promise((resolve) => peer.close(resolve));
      }
    });
  }
});
