import { describe, test } from "node:test";
import * as net from "node:net";
import * as tls from "node:tls";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertMatch,
  assertRejects,
  assertThrows,
} from "./assert.ts";
import { until, within } from "./_support.ts";
import { collect, utf8 } from "./_tcp_support.ts";
import { pem } from "./_tls_support.ts";
import * as http from "../http/mod.ts";
import { loadRuntime } from "../tcp/_load.ts";
import { listenProxied } from "../tcp/_proxied.ts";
import { ProxyHeader } from "../tcp/_proxy_header.ts";
import { ProtocolError, serve, TimeoutError } from "../tcp/mod.ts";
import type { Connection, Server, TcpServeOptions } from "../tcp/mod.ts";

const LOCAL = { hostname: "127.0.0.1", port: 0 };
const V1 = "PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
const SIGNATURE = [13, 10, 13, 10, 0, 13, 10, 81, 85, 73, 84, 10];

const CA = pem("ca.pem");
const CERT = { cert: pem("server.pem"), key: pem("server.key") };

function tcp(hostname: string, port: number): object {
  return { transport: "tcp", hostname, port };
}

/** A header of version 2. */
function v2(
  command: number,
  family: number,
  block: number[],
  length = block.length,
): Uint8Array {
  return new Uint8Array([
    ...SIGNATURE,
    ...[command, family, length >> 8, length & 255],
    ...block,
  ]);
}

const V4_BLOCK = [192, 0, 2, 7, 198, 51, 100, 1, 220, 4, 1, 187];
const V6_BLOCK = [
  ...[32, 1, 13, 184, ...new Array(11).fill(0), 1],
  ...[...new Array(10).fill(0), 255, 255, 10, 0, 0, 9],
  ...[0, 80, 255, 255],
];

function path(text: string): number[] {
  return [...utf8(text), ...new Array(108 - text.length).fill(0)];
}

/** The header read in pieces of a size; how many bytes it had. */
function read(bytes: Uint8Array, step: number): [ProxyHeader, number?] {
  const header = new ProxyHeader();
  for (let at = 0; at < bytes.length; at += step) {
    const size = header.push(bytes.subarray(at, at + step));
    if (size !== undefined) return [header, at + size];
  }
  return [header];
}

const FROM = tcp("192.0.2.7", 56324);
const TO = tcp("198.51.100.1", 443);

const GOOD: [string, Uint8Array, object, object][] = [
  ["TCP4", utf8(V1), FROM, TO],
  [
    "TCP6",
    utf8("PROXY TCP6 2001:DB8:0:0::1 ::ffff:10.0.0.9 0 65535\r\n"),
    tcp("2001:db8::1", 0),
    tcp("::ffff:10.0.0.9", 65535),
  ],
  [
    "TCP6 of the greatest length",
    utf8(
      `PROXY TCP6 ${"ffff:".repeat(7)}ffff ${"ffff:".repeat(7)}ffff ` +
        "65535 65535\r\n",
    ),
    tcp("ffff:".repeat(7) + "ffff", 65535),
    tcp("ffff:".repeat(7) + "ffff", 65535),
  ],
  ["version 2, INET", v2(0x21, 0x11, V4_BLOCK), FROM, TO],
  [
    "version 2, INET6",
    v2(0x21, 0x21, V6_BLOCK),
    tcp("2001:db8::1", 80),
    tcp("::ffff:10.0.0.9", 65535),
  ],
  [
    "version 2, UNIX",
    v2(0x21, 0x31, [...path("/run/a"), ...path("\0abstract")]),
    { transport: "unix", path: "/run/a" },
    { transport: "unix", path: "\0abstract" },
  ],
  [
    "version 2, UNIX, full and without a name",
    v2(0x21, 0x31, [...path("/".repeat(108)), ...path("")]),
    { transport: "unix", path: "/".repeat(108) },
    { transport: "unix", path: "" },
  ],
  [
    "version 2 with TLVs",
    v2(0x21, 0x11, [
      ...V4_BLOCK,
      ...[1, 0, 2, 104, 50, 4, 0, 0, 0xea, 1, 0, ...new Array(256).fill(13)],
    ]),
    FROM,
    TO,
  ],
  [
    "version 2 as long as it can be",
    v2(0x21, 0x11, [
      ...V4_BLOCK,
      ...[4, 0xff, 0xf0, ...new Array(0xfff0).fill(10)],
    ]),
    FROM,
    TO,
  ],
];

/** Headers that leave the connection's own addresses. */
const OWN: [string, Uint8Array][] = [
  ["UNKNOWN", utf8("PROXY UNKNOWN\r\n")],
  ["UNKNOWN with more", utf8("PROXY UNKNOWN ffff::1 what 0 0\r\n")],
  ["UNKNOWN of 107 bytes", utf8(`PROXY UNKNOWN ${"f".repeat(91)}\r\n`)],
  ["LOCAL", v2(0x20, 0, [])],
  ["LOCAL with addresses", v2(0x20, 0x11, V4_BLOCK)],
  ["LOCAL of a family that is none", v2(0x20, 0xf7, [1, 2, 3])],
  ["UNSPEC", v2(0x21, 0, [1, 2, 3])],
];

const BAD: [string, Uint8Array, RegExp][] = [
  ["HTTP", utf8("GET / HTTP/1.1\r\n"), /begins/],
  ["HTTP that begins alike", utf8("POST / HTTP/1.1\r\n"), /begins/],
  ["small letters", utf8("proxy TCP4 1.1.1.1 1.1.1.1 1 1\r\n"), /begins/],
  ["a blank line", utf8("\r\n\r\nGET /"), /begins/],
  ["no family", utf8("PROXY \r\n"), /neither/],
  ["another family", utf8("PROXY TCP5 1.1.1.1 1.1.1.1 1 1\r\n"), /neither/],
  ["UDP4", utf8("PROXY UDP4 1.1.1.1 1.1.1.1 1 1\r\n"), /neither/],
  ["two spaces", utf8("PROXY TCP4  1.1.1.1 1.1.1.1 1 1\r\n"), /two/],
  ["a space behind", utf8("PROXY TCP4 1.1.1.1 1.1.1.1 1 1 \r\n"), /two/],
  ["a tab", utf8("PROXY\tTCP4 1.1.1.1 1.1.1.1 1 1\r\n"), /begins/],
  ["one port", utf8("PROXY TCP4 1.1.1.1 1.1.1.1 1\r\n"), /two/],
  ["too great a port", utf8("PROXY TCP4 1.1.1.1 1.1.1.1 1 65536\r\n"), /port/],
  ["a port with 0", utf8("PROXY TCP4 1.1.1.1 1.1.1.1 01 1\r\n"), /port/],
  ["a port with +", utf8("PROXY TCP4 1.1.1.1 1.1.1.1 +1 1\r\n"), /port/],
  ["an octet of 256", utf8("PROXY TCP4 1.1.1.256 1.1.1.1 1 1\r\n"), /IPv4/],
  ["an octet with 0", utf8("PROXY TCP4 1.1.1.01 1.1.1.1 1 1\r\n"), /IPv4/],
  ["three octets", utf8("PROXY TCP4 1.1.1 1.1.1.1 1 1\r\n"), /IPv4/],
  ["IPv6 in TCP4", utf8("PROXY TCP4 ::1 ::1 1 1\r\n"), /IPv4/],
  ["IPv4 in TCP6", utf8("PROXY TCP6 1.1.1.1 1.1.1.1 1 1\r\n"), /IPv6/],
  ["two gaps", utf8("PROXY TCP6 1::1::1 ::1 1 1\r\n"), /IPv6/],
  ["a zone", utf8("PROXY TCP6 fe80::1%1 ::1 1 1\r\n"), /IPv6/],
  ["a bracket", utf8("PROXY TCP6 ::1]/ ::1 1 1\r\n"), /IPv6/],
  ["a LF alone", utf8("PROXY TCP4 1.1.1.1 1.1.1.1 1 1\n"), /LF/],
  ["a CR alone", utf8("PROXY UNKNOWN\rX\r\n"), /CR/],
  ["108 bytes", utf8(`PROXY UNKNOWN ${"f".repeat(92)}\r\n`), /107/],
  ["version 1 in 2", v2(0x11, 0x11, V4_BLOCK), /version 1/],
  ["version 3", v2(0x31, 0x11, V4_BLOCK), /version 3/],
  ["command 2", v2(0x22, 0x11, V4_BLOCK), /command 2/],
  ["family 4", v2(0x21, 0x41, V4_BLOCK), /0x41/],
  ["protocol 3", v2(0x21, 0x13, V4_BLOCK), /0x13/],
  ["no protocol", v2(0x21, 0x10, V4_BLOCK), /0x10/],
  ["11 bytes of INET", v2(0x21, 0x11, V4_BLOCK.slice(1)), /11 bytes/],
  ["INET in INET6", v2(0x21, 0x21, V4_BLOCK), /12 bytes/],
  ["INET6 in UNIX", v2(0x21, 0x31, V6_BLOCK), /36 bytes/],
  ["half a TLV", v2(0x21, 0x11, [...V4_BLOCK, 1, 0]), /cut short/],
  ["a TLV too long", v2(0x21, 0x11, [...V4_BLOCK, 1, 0, 1]), /longer/],
];

describe("ProxyHeader", () => {
  test("ProxyHeader takes each form, cut at any byte", () => {
    const behind = utf8("PROXY of what follows");
    for (const [name, bytes, from, to] of GOOD) {
      const all = new Uint8Array([...bytes, ...behind]);
      for (const step of [1, 2, 3, 7, 16, 100, all.length]) {
        const [{ addresses }, size] = read(all, step);
        assertEquals(size, bytes.length, name);
        assertEquals(addresses.remoteAddress as object, from, name);
        assertEquals(addresses.localAddress as object, to, name);
      }
      if (bytes.length > 1000) continue;
      for (let cut = 0; cut < bytes.length; cut++) {
        const header = new ProxyHeader();
        assertEquals(header.push(bytes.subarray(0, cut)), undefined, name);
        assertEquals(header.push(all.subarray(cut)), bytes.length - cut, name);
      }
    }
  });

  test("ProxyHeader leaves the addresses where it is not told any", () => {
    for (const [name, bytes] of OWN) {
      for (const step of [1, 5, 200]) {
        const [{ addresses }, size] = read(bytes, step);
        assertEquals(size, bytes.length, name);
        assertEquals(addresses, {}, name);
      }
    }
  });

  test("ProxyHeader refuses what is malformed, cut at any byte", () => {
    for (const [name, bytes, why] of BAD) {
      for (const step of [1, 2, 5, bytes.length]) {
        const error = assertThrows(() => read(bytes, step), ProtocolError);
        assertMatch((error as Error).message, why, name);
      }
    }
  });
});

interface Seen {
  readonly server: Server;
  readonly connections: Connection[];
  readonly errors: unknown[];
  dial(): net.Socket;
}

async function echoServer(options: Partial<TcpServeOptions>): Promise<Seen> {
  const connections: Connection[] = [];
  const errors: unknown[] = [];
  const server = await serve(async (connection) => {
    connections.push(connection);
    for await (const chunk of connection) await connection.send(chunk);
  }, {
    ...LOCAL,
    proxyProtocol: true,
    onError: (error) => errors.push(error),
    ...options,
  });
  const { address } = server;
  assert(address.transport === "tcp");
  return {
    server,
    connections,
    errors,
    dial() {
      const peer = net.connect({
        host: "127.0.0.1",
        port: address.port,
        allowHalfOpen: true,
        noDelay: true,
      });
      peer.on("error", () => {});
      return peer;
    },
  };
}

describe("tcp.serve() with proxyProtocol", () => {
  test("`proxyProtocol` gives the addresses, and the bytes behind", async () => {
    const { server, connections, dial } = await echoServer({});
    try {
      for (const [name, bytes, from, to] of GOOD) {
        const peer = dial();
        const got = collect(peer);
        peer.write(bytes);
        peer.end("hello");
        await until(() => got.ended, name);
        assertEquals(got.text, "hello", name);
        const connection = connections.pop()!;
        assertEquals(connection.remoteAddress as object, from, name);
        assertEquals(connection.localAddress as object, to, name);
        assertEquals(connection.bytesRead, 5);
        assertEquals(await within(connection.closed), { clean: true });
      }
      for (const [name, bytes] of OWN) {
        const peer = dial();
        const got = collect(peer);
        peer.write(new Uint8Array([...bytes, ...utf8("own")]));
        await until(() => got.text === "own", name);
        const { remoteAddress } = connections.pop()!;
        assertEquals(
          remoteAddress as object,
          tcp("127.0.0.1", peer.localPort!),
          name,
        );
        peer.end();
        await until(() => got.ended, name);
      }
    } finally {
      await within(server.close());
    }
  });

  test("`proxyProtocol` takes a header in pieces", async () => {
    const { server, connections, dial } = await echoServer({});
    try {
      for (const header of [utf8(V1), v2(0x21, 0x11, V4_BLOCK)]) {
        const peer = dial();
        const got = collect(peer);
        for (const byte of header) {
          await new Promise<void>((resolve) =>
            peer.write(new Uint8Array([byte]), () => resolve())
          );
        }
        peer.write("body");
        await until(() => got.text === "body", "the echo");
        assertEquals(connections.pop()!.remoteAddress as object, FROM);
        peer.end();
        await until(() => got.ended, "the end");
      }
    } finally {
      await within(server.close());
    }
  });

  test("`proxyProtocol` keeps backpressure and order behind it", async () => {
    const { server, dial } = await echoServer({ highWaterMark: 1024 });
    try {
      const peer = dial();
      const got = collect(peer);
      const body = new Uint8Array(1_000_000).map((_, i) => i % 251);
      const parts: Uint8Array[] = [];
      peer.on("data", (part: Uint8Array) => parts.push(new Uint8Array(part)));
      peer.write(new Uint8Array([...utf8(V1), ...body.subarray(0, 5000)]));
      peer.end(body.subarray(5000));
      await until(() => got.ended, "the end", 20_000);
      assertEquals(got.bytes, body.length);
      let at = 0;
      for (const part of parts) {
        for (const byte of part) {
          if (byte !== body[at++]) throw new Error(`wrong at ${at - 1}`);
        }
      }
    } finally {
      await within(server.close());
    }
  });

  test("`proxyProtocol` refuses whoever says nothing of the kind", async () => {
    const { server, connections, errors, dial } = await echoServer({});
    try {
      for (const [name, bytes] of BAD.slice(0, 4)) {
        const peer = dial();
        const got = collect(peer);
        peer.write(bytes);
        await until(() => got.ended || got.closed, name);
        peer.destroy();
        await until(() => errors.length === 1, name);
        const error = errors.pop();
        assertInstanceOf(error, ProtocolError);
        assertEquals(error.code, "ERR_PROXY_HEADER");
        assertMatch(error.message, /^Refused 127\.0\.0\.1:\d+: Malformed/);
        assertEquals(got.bytes, 0);
      }
      for (const header of ["", V1.slice(0, 20)]) {
        const peer = dial();
        const got = collect(peer);
        peer.end(header);
        await until(() => got.ended || got.closed, "the refusal");
        await until(() => errors.length === 1, "the error");
        const error = errors.pop();
        assertInstanceOf(error, ProtocolError);
        assertMatch(error.message, header === "" ? /before/ : /within/);
        peer.destroy();
      }
      assertEquals(connections.length, 0);
      assertEquals(server.stats().accepted, 0);
    } finally {
      await within(server.close());
    }
  });

  test("`proxyProtocol` has a timeout", async () => {
    const errors: unknown[] = [];
    const runtime = await loadRuntime();
    const server = await listenProxied(runtime, LOCAL, {
      connection: () => errors.push("a connection"),
      error: (error) => errors.push(error),
    }, 50);
    const { address } = server;
    assert(address.transport === "tcp");
    const peer = net.connect({ host: "127.0.0.1", port: address.port });
    peer.on("error", () => {});
    const got = collect(peer);
    peer.write("PROXY TCP4");
    await until(() => got.ended || got.closed, "the refusal");
    assertEquals(errors.length, 1);
    assertInstanceOf(errors[0], TimeoutError);
    assertEquals(errors[0].phase, "proxy");
    peer.destroy();
    await within(server.close());
  });

  test("`close()` ends who has not said its header, untold", async () => {
    const { server, errors, dial } = await echoServer({});
    const late = dial();
    const got = collect(late);
    await until(() => !late.connecting, "connecting");
    // One behind it in the queue has come through: so it is accepted.
    const other = dial();
    const echoed = collect(other);
    other.end(`${V1}x`);
    await until(() => echoed.ended, "the other one");
    await within(server.close());
    await until(() => got.ended || got.closed, "the end");
    late.destroy();
    assertEquals(errors, []);
  });

  test("`proxyProtocol` goes before TLS", async () => {
    const { server, connections, errors, dial } = await echoServer({
      tls: CERT,
    });
    try {
      const peer = dial();
      await new Promise<void>((resolve) => peer.write(V1, () => resolve()));
      const secure = tls.connect({
        socket: peer,
        ca: CA,
        servername: "localhost",
      });
      const got = collect(secure);
      secure.write("secret");
      await until(() => got.text === "secret", "the echo");
      const connection = connections[0];
      assertEquals(connection.remoteAddress as object, FROM);
      assertEquals(connection.tls!.protocol, "TLSv1.3");
      secure.end();
      await until(() => server.stats().connections === 0, "the close");
      secure.destroy();
      assertEquals(errors, []);
    } finally {
      await within(server.close());
    }
  });

  test("`proxyProtocol` is on or off", async () => {
    for (const proxyProtocol of [1, "v2", null]) {
      await assertRejects(
        () =>
          serve(() => {}, {
            ...LOCAL,
            proxyProtocol: proxyProtocol as unknown as boolean,
          }),
        TypeError,
        "proxyProtocol",
      );
    }
    const { server, dial } = await echoServer({ proxyProtocol: false });
    const peer = dial();
    const got = collect(peer);
    peer.end(V1);
    await until(() => got.ended, "the end");
    assertEquals(got.text, V1);
    await within(server.close());
  });
});

describe("http.serve() with proxyProtocol", () => {
  const handler = (_: Request, context: http.ServerContext) => {
    const { remoteAddress: remote } = context;
    return new http.Response(
      remote.transport === "unix" ? "" : `${remote.hostname} ${remote.port}`,
    );
  };
  const request = "GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";

  for (const secure of [false, true]) {
    const name = secure ? "HTTPS" : "HTTP";
    test(`\`proxyProtocol\` gives the client's address over ${name}`, async () => {
      const server = await http.serve(handler, {
        ...LOCAL,
        proxyProtocol: true,
        tls: secure ? CERT : undefined,
      });
      try {
        const { address } = server;
        assert(address.transport === "tcp");
        const peer = net.connect({ host: "127.0.0.1", port: address.port });
        peer.on("error", () => {});
        let upper: net.Socket = peer;
        if (secure) {
          await new Promise<void>((resolve) => peer.write(V1, () => resolve()));
          upper = tls.connect({
            socket: peer,
            ca: CA,
            servername: "localhost",
          });
          upper.on("error", () => {});
        } else peer.write(V1);
        const got = collect(upper);
        upper.write(request);
        await until(() => got.ended || got.closed, "the answer");
        assertMatch(
          got.text,
          /^HTTP\/1\.1 200 [^]*\r\n\r\n192\.0\.2\.7 56324$/,
        );
        upper.destroy();
        peer.destroy();
        const bare = net.connect({ host: "127.0.0.1", port: address.port });
        const nothing = collect(bare);
        bare.write(request);
        await until(() => nothing.ended || nothing.closed, "the refusal");
        assertEquals(nothing.bytes, 0);
        bare.destroy();
      } finally {
        await within(server.close());
      }
    });
  }
});
