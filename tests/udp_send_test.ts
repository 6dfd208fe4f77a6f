import { test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
  assertStringIncludes,
} from "./assert.ts";
import { HOST, portOf, scene, take, text } from "./_udp_support.ts";
import { runtime, until, within } from "./_support.ts";
import { bind } from "../udp/mod.ts";
import type { BindOptions, OutgoingDatagram } from "../udp/mod.ts";
import {
  DnsError,
  NetError,
  SizeLimitError,
  TimeoutError,
} from "../streams/errors.ts";

/** The error that a promise rejects with. */
async function errorOf(promise: unknown): Promise<Error> {
  try {
    await promise;
  } catch (error) {
    assertInstanceOf(error, Error);
    return error;
  }
  throw new Error("It did not reject");
}

async function assertCode(promise: unknown, code: string): Promise<NetError> {
  const error = await errorOf(promise);
  assertInstanceOf(error, NetError);
  assertStrictEquals(error.code, code);
  return error;
}

scene("send() rejects with EMSGSIZE what no datagram can hold", async (s) => {
  const socket = await s.bind();
  const peer = await s.peer();
  const to = { hostname: HOST, port: peer.port };
  for (const size of [65_508, 65_527, 65_528, 200_000]) {
    const error = await assertCode(
      socket.send({ data: new Uint8Array(size), ...to }),
      "EMSGSIZE",
    );
    assertStringIncludes(error.message, `${size}`);
    assertEquals(error.address, { transport: "udp", ...to });
    assertStrictEquals(error.retryable, false);
  }
  await assertCode(
    socket.send({
      data: new Uint8Array(65_508),
      hostname: "localhost",
      port: peer.port,
    }),
    "EMSGSIZE",
  );
  assertStrictEquals(await socket.send({ data: "fits", ...to }), true);
  assertStrictEquals((await peer.next()).text, "fits");
});

scene("send() takes 65,527 bytes over IPv6", async (s) => {
  const [a, b] = [
    await s.bind({ hostname: "::1" }),
    await s.bind({ hostname: "::1" }),
  ];
  const to = { hostname: "::1", port: portOf(b) };
  const data = new Uint8Array(65_527).fill(7);
  assertStrictEquals(await a.send({ data, ...to }), true);
  assertEquals((await take(b)).data, data);
  await assertCode(
    a.send({ data: new Uint8Array(65_528), ...to }),
    "EMSGSIZE",
  );
});

const wrong: [string, Record<string, unknown>, ErrorConstructor, string][] = [
  ["no address", {}, TypeError, "has no remote"],
  ["no port", { hostname: HOST }, TypeError, "has no remote"],
  ["no hostname", { port: 5 }, TypeError, "has no remote"],
  ["port 0", { hostname: HOST, port: 0 }, RangeError, "0"],
  ["port 65536", { hostname: HOST, port: 65_536 }, RangeError, "65536"],
  ["port 70000", { hostname: HOST, port: 70_000 }, RangeError, "70000"],
  ["port -1", { hostname: HOST, port: -1 }, RangeError, "-1"],
  ["port 1.5", { hostname: HOST, port: 1.5 }, RangeError, "1.5"],
  ["port NaN", { hostname: HOST, port: NaN }, RangeError, "NaN"],
  ["port as a string", { hostname: HOST, port: "80" }, TypeError, "80"],
  ["an empty hostname", { hostname: "", port: 5 }, TypeError, '""'],
  [
    "a hostname with a NUL",
    { hostname: "a\0b", port: 5 },
    TypeError,
    "\\u0000",
  ],
  ["a hostname of a number", { hostname: 7, port: 5 }, TypeError, "7"],
  [
    "data of a number",
    { data: 7, hostname: HOST, port: 5 },
    TypeError,
    "number",
  ],
  [
    "data of null",
    { data: null, hostname: HOST, port: 5 },
    TypeError,
    "bytes or a string",
  ],
];

scene("send() rejects what is no datagram at all", async (s) => {
  const socket = await s.bind();
  for (const message of [undefined, null, "text", 7]) {
    const sent = socket.send(message as unknown as OutgoingDatagram);
    const error = await errorOf(sent);
    assertInstanceOf(error, TypeError);
    assert(error.message.startsWith("Cannot send: data must"), error.message);
  }
});

for (const [what, fields, type, part] of wrong) {
  scene(`send() rejects ${what}, and the socket lives on`, async (s) => {
    const socket = await s.bind();
    const peer = await s.peer();
    const message = { data: "x", ...fields } as unknown as OutgoingDatagram;
    const error = await errorOf(socket.send(message));
    assertInstanceOf(error, type);
    assertStringIncludes(error.message, part);
    await socket.send({ data: "next", hostname: HOST, port: peer.port });
    assertStrictEquals((await peer.next()).text, "next");
  });
}

scene("send() rejects IPv6 addresses on an IPv4 socket", async (s) => {
  const socket = await s.bind();
  await assertCode(
    socket.send({ data: "x", hostname: "::1", port: 5 }),
    "EAFNOSUPPORT",
  );
});

scene("send() rejects names that nobody knows with a DnsError", async (s) => {
  const socket = await s.bind();
  for (const hostname of ["no-such-host.invalid", "999.1.1.1"]) {
    const error = await assertCode(
      socket.send({ data: "x", hostname, port: 5 }),
      "ENOTFOUND",
    );
    assertInstanceOf(error, DnsError);
    assertStringIncludes(error.message, hostname);
  }
});

scene("send() looks names up, in the family of the socket", async (s) => {
  const socket = await s.bind();
  const peer = await s.peer();
  const to = { hostname: "localhost", port: peer.port };
  const sent = Array.from(
    { length: 50 },
    (_, i) => socket.send({ data: `${i}`, ...to }),
  );
  assertEquals(await Promise.all(sent), Array(50).fill(true));
  for (let i = 0; i < 50; i++) {
    assertStrictEquals((await peer.next()).text, `${i}`);
  }
  // The name is known by now.
  await socket.send({ data: "again", ...to });
  assertStrictEquals((await peer.next()).text, "again");
});

scene("send() rejects a broadcast that was not asked for", async (s) => {
  const socket = await s.bind({});
  const error = await assertCode(
    socket.send({ data: "x", hostname: "255.255.255.255", port: 5 }),
    "EACCES",
  );
  assertStrictEquals(error.phase, "send");
  await assertCode(
    socket.send({ data: "x", hostname: "127.255.255.255", port: 5 }),
    "EACCES",
  );
});

scene("bind() with broadcast lets broadcasts out", async (s) => {
  const receiver = await s.bind({});
  const socket = await s.bind({ broadcast: true });
  const sent = await socket.send({
    data: "to all",
    hostname: "127.255.255.255",
    port: portOf(receiver),
  });
  assertStrictEquals(sent, true);
  assertStrictEquals(text(await take(receiver)), "to all");
});

/** As much of a `dgram.Socket` as a full kernel shows in. */
interface Queueing {
  send(...args: unknown[]): void;
  getSendQueueCount(): number;
}

// Elsewhere the runtime copies, or tells of every datagram.
const queues = runtime === "node" ? scene : () => {};
queues("send() keeps what the system does not take at once", async (s) => {
  const socket = await s.bind();
  const peer = await s.peer();
  const data = new Uint8Array(4);
  const send = (letter: string) => {
    data.fill(letter.charCodeAt(0));
    return socket.send({ data, hostname: HOST, port: peer.port });
  };
  for (const letter of "abc") {
    await send(letter);
    assertStrictEquals((await peer.next()).text, letter.repeat(4));
  }
  const raw = socket.raw as Queueing;
  const { send: real } = raw;
  const queue: unknown[][] = [];
  raw.getSendQueueCount = () => queue.length;
  raw.send = (...args) => void queue.push(args);
  const sent = [..."defgh"].map(send);
  assert(queue.length > 0);
  raw.send = real;
  for (const args of queue.splice(0)) real.apply(raw, args);
  assertEquals(await Promise.all(sent), Array(5).fill(true));
  await send("i");
  for (const letter of "defghi") {
    assertStrictEquals((await peer.next()).text, letter.repeat(4));
  }
});

scene("send() does not reject when nobody listens there", async (s) => {
  const errors: NetError[] = [];
  const socket = await s.bind({
    hostname: HOST,
    onError: (error) => errors.push(error),
  });
  const peer = await s.peer();
  const gone = await s.peer();
  gone.close();
  for (let i = 0; i < 20; i++) {
    const sent = socket.send({ data: "x", hostname: HOST, port: gone.port });
    assertStrictEquals(await sent, true);
    await socket.send({ data: `${i}`, hostname: HOST, port: peer.port });
    // An ICMP error of the first must not swallow the second.
    assertStrictEquals((await peer.next()).text, `${i}`);
  }
  assertEquals(errors, []);
});

scene("send() tells onError of datagrams the system refused", async (s) => {
  const errors: NetError[] = [];
  const socket = await s.bind({
    hostname: HOST,
    onError: (error) => errors.push(error),
  });
  const peer = await s.peer();
  // From the loopback no way leads there.
  const sent = socket.send({ data: "x", hostname: "203.0.113.7", port: 9 });
  assertStrictEquals(await sent, true);
  await until(() => errors.length === 1, "An error");
  assertInstanceOf(errors[0], NetError);
  assertStrictEquals(errors[0].phase, "send");
  assertEquals(errors[0].address, {
    transport: "udp",
    hostname: "203.0.113.7",
    port: 9,
  });
  await socket.send({ data: "on", hostname: HOST, port: peer.port });
  assertStrictEquals((await peer.next()).text, "on");
});

scene("onError that throws destroys the socket, not the process", async (s) => {
  const thrown = new Error("in the handler");
  const socket = await s.bind({
    hostname: HOST,
    onError: () => {
      throw thrown;
    },
  });
  await socket.send({ data: "x", hostname: "203.0.113.7", port: 9 });
  const { clean, error } = await within(socket.closed);
  assertStrictEquals(clean, false);
  assertStrictEquals(error?.cause, thrown);
});

scene("send() rejects for its own signal and timeout only", async (s) => {
  const socket = await s.bind();
  const peer = await s.peer();
  const to = { data: "never", hostname: "localhost", port: peer.port };
  const reason = new Error("enough");
  assertStrictEquals(
    await errorOf(socket.send(to, { signal: AbortSignal.abort(reason) })),
    reason,
  );
  assertInstanceOf(
    await errorOf(socket.send(to, { timeout: -1 })),
    RangeError,
  );
  const controller = new AbortController();
  const given = socket.send(to, { signal: controller.signal });
  controller.abort(reason);
  assertStrictEquals(await errorOf(given), reason);
  await socket.send({ ...to, data: "next" });
  assertStrictEquals(
    (await peer.next()).text,
    "next",
    "What was given up must not leave",
  );
  // What is with the system by then leaves all the same.
  const late = await errorOf(socket.send(to, { timeout: 0 }))
    .catch(() => undefined);
  if (late !== undefined) assertInstanceOf(late, TimeoutError);
  await socket.send({ ...to, data: "last" });
  let { text } = await peer.next();
  if (text === "never") ({ text } = await peer.next());
  assertStrictEquals(text, "last");
});

scene("send() in one tick sends all of it, in order", async (s) => {
  const socket = await s.bind();
  const peer = await s.peer();
  const to = { hostname: HOST, port: peer.port };
  const scratch = new Uint8Array(2);
  await socket.send({ data: scratch, ...to });
  await peer.next();
  const sent: unknown[] = [];
  for (let i = 0; i < 150; i++) {
    const result = socket.send({ data: `${i}`, ...to });
    sent.push(result);
    assert(socket.buffered >= 0);
  }
  assertEquals(await Promise.all(sent), Array(150).fill(true));
  for (let i = 0; i < 150; i++) {
    assertStrictEquals((await peer.next()).text, `${i}`);
  }
  await until(() => socket.buffered === 0, "Nothing buffered");
});

scene("send() that gave true is done with the bytes", async (s) => {
  const socket = await s.bind();
  const peer = await s.peer();
  const to = { hostname: HOST, port: peer.port };
  const scratch = new Uint8Array(100);
  await socket.send({ data: scratch, ...to });
  assertStrictEquals((await peer.next()).text, "\0".repeat(100));
  let letters = "";
  for (let i = 0; i < 26; i++) {
    const letter = String.fromCharCode(97 + i);
    scratch.fill(letter.charCodeAt(0));
    const sent = socket.send({ data: scratch, ...to });
    if (sent !== true) await sent;
    letters += letter;
  }
  for (const letter of letters) {
    assertStrictEquals((await peer.next()).text, letter.repeat(100));
  }
});

scene("send() without end is bounded: the socket is destroyed", async (s) => {
  const socket = await s.bind();
  const peer = await s.peer();
  const data = new Uint8Array(60_000);
  const to = { hostname: "localhost", port: peer.port };
  const sent: Promise<boolean>[] = [];
  let last: unknown = true;
  // Nothing leaves before the name is known.
  for (let i = 0; i < 1000 && last !== false; i++) {
    last = socket.send({ data, ...to });
    if (last instanceof Promise) sent.push(last);
    assert(socket.buffered <= 16 * 1024 * 1024);
  }
  assertStrictEquals(last, false);
  assertEquals(
    await within(Promise.all(sent)),
    Array(sent.length).fill(false),
  );
  const { error } = await within(socket.closed);
  assertInstanceOf(error, SizeLimitError);
  assertStrictEquals(error.limit, 16 * 1024 * 1024);
});

scene("raw that is closed ends the socket, at its next use", async (s) => {
  const socket = await s.bind();
  const pending = socket.receive() as Promise<unknown>;
  pending.catch(() => {});
  (socket.raw as { close(): void }).close();
  await socket.send({ data: "x", hostname: HOST, port: 9 });
  const { clean, error } = await within(socket.closed);
  assertStrictEquals(clean, false);
  assertInstanceOf(error, NetError);
  await assertRejects(() => pending);
});

const badOptions: [string, unknown, ErrorConstructor][] = [
  ["port 65536", { port: 65_536 }, RangeError],
  ["port -1", { port: -1 }, RangeError],
  ["port as a string", { port: "1" }, TypeError],
  ["an empty hostname", { hostname: "" }, TypeError],
  ["capacity 0", { capacity: 0 }, RangeError],
  ["reusePort, which there is not", { reusePort: true }, TypeError],
  ["a hop limit by another name", { multicast: { hops: 1 } }, TypeError],
  ["capacity 1.5", { capacity: 1.5 }, RangeError],
  ["capacity as a string", { capacity: "8" }, TypeError],
  ["a port that is NaN", { port: NaN }, RangeError],
  ["a hostname of a number", { hostname: 7 }, TypeError],
  ["a ttl as a string", { ttl: "5" }, TypeError],
  ["broadcast of a number", { broadcast: 1 }, TypeError],
  ["reuseAddress of a string", { reuseAddress: "no" }, TypeError],
  ["multicast of true", { multicast: true }, TypeError],
  ["multicast.loopback of 0", { multicast: { loopback: 0 } }, TypeError],
  ["onError that is no function", { onError: {} }, TypeError],
  ["a remote of a string", { remote: "127.0.0.1:5" }, TypeError],
  ["a remote of null", { remote: null }, TypeError],
  ["a remote without a hostname", {
    remote: { transport: "udp", port: 5 },
  }, TypeError],
  ["a remote of TLS", {
    remote: { transport: "tls", hostname: HOST, port: 5 },
  }, TypeError],
  ["options of null", null, TypeError],
  ["an unknown overflow", { overflow: "drop" }, TypeError],
  ["ttl 0", { ttl: 0 }, RangeError],
  ["ttl 256", { ttl: 256 }, RangeError],
  ["multicast.ttl 0", { multicast: { ttl: 0 } }, RangeError],
  ["multicast.ttl 300", { multicast: { ttl: 300 } }, RangeError],
  ["multicast.ttl 1.5", { multicast: { ttl: 1.5 } }, RangeError],
  [
    "an interface by name for IPv4",
    { multicast: { interface: "lo" } },
    TypeError,
  ],
  ["a remote of TCP", {
    remote: { transport: "tcp", hostname: HOST, port: 5 },
  }, TypeError],
  ["a remote of a Unix socket", {
    remote: { transport: "unix", path: "/x" },
  }, TypeError],
  ["a remote with port 0", {
    remote: { transport: "udp", hostname: HOST, port: 0 },
  }, RangeError],
];

for (const [what, options, type] of badOptions) {
  test(`bind() rejects ${what}`, async () => {
    assertInstanceOf(await errorOf(bind(options as BindOptions)), type);
  });
}

scene("bind() rejects with EADDRINUSE, EADDRNOTAVAIL, ENOTFOUND", async (s) => {
  const socket = await s.bind();
  const port = portOf(socket);
  const used = await assertCode(bind({ hostname: HOST, port }), "EADDRINUSE");
  assertEquals(used.address, { transport: "udp", hostname: HOST, port });
  assertStrictEquals(used.phase, "bind");
  assertStringIncludes(used.message, `${HOST}:${port}`);
  await assertCode(bind({ hostname: "203.0.113.7" }), "EADDRNOTAVAIL");
  const unknown = bind({ hostname: "no-such-host.invalid" });
  assertInstanceOf(await assertCode(unknown, "ENOTFOUND"), DnsError);
  await assertCode(
    bind({
      hostname: HOST,
      remote: { transport: "udp", hostname: "::1", port: 5 },
    }),
    "EAFNOSUPPORT",
  );
});

scene("bind() rejects with what the lookup of a remote says", async (s) => {
  const remote = (hostname: string) => ({
    transport: "udp" as const,
    hostname,
    port: 9,
  });
  for (const hostname of [undefined, HOST, "::"]) {
    const opening = bind({ hostname, remote: remote("no-such-host.invalid") });
    const error = await assertCode(opening, "ENOTFOUND");
    assertInstanceOf(error, DnsError);
    assertStringIncludes(error.message, "no-such-host.invalid");
  }
  const socket = await s.bind({ remote: remote("localhost") });
  assert(portOf(socket) > 0);
});

scene("bind() shares no port unless both ask for it", async (s) => {
  const first = await s.bind({ hostname: HOST });
  const port = portOf(first);
  await assertCode(
    bind({ hostname: HOST, port, reuseAddress: true }),
    "EADDRINUSE",
  );
  await assertCode(bind({ hostname: "0.0.0.0", port }), "EADDRINUSE");
  // What failed holds nothing: the port is free once the first is closed.
  await first.close();
  assertStrictEquals(portOf(await s.bind({ hostname: HOST, port })), port);
});

scene("bind() with reuseAddress shares a port", async (s) => {
  const options = { hostname: HOST, reuseAddress: true };
  const first = await s.bind(options);
  const second = await s.bind({ ...options, port: portOf(first) });
  assertStrictEquals(portOf(second), portOf(first));
  const peer = await s.peer();
  await peer.send("to one of them", portOf(first));
  const got = await within(Promise.race([take(first), take(second)]));
  assertStrictEquals(text(got), "to one of them");
  await first.send({ data: "back", hostname: HOST, port: peer.port });
  assertStrictEquals((await peer.next()).text, "back");
  await Promise.all([first.close(), second.close()]);
});

scene(
  "bind() to :: takes IPv6 and IPv4, which it calls by its name",
  async (s) => {
    const socket = await s.bind({ hostname: "::" });
    const [four, six] = [await s.peer(), await s.peer("::1")];
    for (const [peer, hostname] of [[four, HOST], [six, "::1"]] as const) {
      await peer.send("hello", portOf(socket));
      const datagram = await take(socket);
      assertEquals(datagram.hostname, hostname);
      assertEquals(datagram.port, peer.port);
      await socket.send({ ...datagram, data: "answer" });
      assertStrictEquals((await peer.next()).text, "answer");
    }
    await assertCode(
      socket.send({
        data: new Uint8Array(65_508),
        hostname: HOST,
        port: four.port,
      }),
      "EMSGSIZE",
    );
  },
);

scene("bind() to a name binds its address", async (s) => {
  const socket = await s.bind({ hostname: "localhost" });
  assertEquals(socket.address, {
    transport: "udp",
    hostname: HOST,
    port: portOf(socket),
  });
});

scene("send() finds one IPv6 address under all its spellings", async (s) => {
  const socket = await s.bind({ hostname: "::1" });
  const peer = await s.peer("::1");
  for (const hostname of ["::1", "0:0:0:0:0:0:0:1", "0::0001", "::0.0.0.1"]) {
    await socket.send({ data: hostname, hostname, port: peer.port });
    assertStrictEquals((await peer.next()).text, hostname);
  }
});

scene("raw is the runtime's own socket", async (s) => {
  const socket = await s.bind();
  assertStrictEquals(typeof socket.raw, "object");
  assert(socket.raw !== null);
});

scene("join() refuses what is no group of the family", async (s) => {
  const [four, six] = [await s.bind({}), await s.bind({ hostname: "::" })];
  for (const group of ["10.0.0.1", "ff02::1", "name", "", HOST]) {
    await assertRejects(() => four.join(group), TypeError);
  }
  await assertRejects(() => six.join("239.1.2.3"), TypeError);
  await assertRejects(() => six.join("::1"), TypeError);
  await assertRejects(
    () => four.join("239.1.2.3", { interface: "lo" }),
    TypeError,
  );
  await assertCode(four.leave("239.1.2.3"), "EADDRNOTAVAIL");
  await four.close();
  await assertCode(four.join("239.1.2.3"), "ERR_CLOSED");
});
