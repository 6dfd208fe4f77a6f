import { readFileSync } from "node:fs";
import process from "node:process";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "./assert.ts";
import { HOST, portOf, scene, take, text, texts } from "./_udp_support.ts";
import { runtime, until } from "./_support.ts";
import { NetError } from "../streams/errors.ts";
import type { Address } from "../udp/mod.ts";

function remote(port: number, hostname = HOST): Address {
  return { transport: "udp", hostname, port };
}

/** How many ICMP messages of unreachable ports came to this machine. */
function unreachables(): number {
  if (process.platform !== "linux") return NaN;
  const [names, values] = readFileSync("/proc/net/snmp", "utf8")
    .split("\n")
    .filter((line) => line.startsWith("Icmp:"))
    .map((line) => line.split(" "));
  return Number(values![names!.indexOf("InDestUnreachs")]);
}

scene("send() without an address goes to the remote", async (s) => {
  const peer = await s.peer();
  const socket = await s.bind({ remote: remote(peer.port) });
  assertStrictEquals(await socket.send({ data: "hello" }), true);
  const got = await peer.next();
  assertEquals([got.text, got.address, got.port], [
    "hello",
    HOST,
    portOf(socket),
  ]);
  assertEquals(socket.address, remote(portOf(socket)));
  await peer.send("answer", got.port);
  assertEquals(await take(socket), {
    data: new TextEncoder().encode("answer"),
    hostname: HOST,
    port: peer.port,
  });
});

scene("send() takes the remote's own address, and no other", async (s) => {
  const [peer, other] = [await s.peer(), await s.peer()];
  const socket = await s.bind({ remote: remote(peer.port) });
  await peer.send("question", portOf(socket));
  await socket.send({ ...await take(socket), data: "the echo" });
  assertStrictEquals((await peer.next()).text, "the echo");
  await socket.send({ data: "by port", port: peer.port });
  assertStrictEquals((await peer.next()).text, "by port");
  for (
    const to of [
      { port: other.port },
      { hostname: "127.0.0.2" },
      { hostname: HOST, port: other.port },
    ]
  ) {
    await assertRejects(
      async () => await socket.send({ data: "x", ...to }),
      TypeError,
      "remote",
    );
  }
});

scene("receive() gives nothing of strangers", async (s) => {
  const [peer, stranger] = [await s.peer(), await s.peer()];
  const socket = await s.bind({ remote: remote(peer.port) });
  for (let i = 0; i < 20; i++) {
    await stranger.send("from a stranger", portOf(socket));
    await peer.send(`${i}`, portOf(socket));
  }
  assertEquals(
    await texts(socket, 20),
    Array.from({ length: 20 }, (_, i) => `${i}`),
  );
  assertStrictEquals(socket.dropped, 0);
});

scene(
  "receive() gives nothing of the peer's other ports or hosts",
  async (s) => {
    const peer = await s.peer();
    // The same port on another address of this machine.
    const twin = await s.peer("127.0.0.2", peer.port);
    const socket = await s.bind({ hostname: HOST, remote: remote(peer.port) });
    await new Promise<void>((resolve) => {
      twin.raw.send("from the twin", portOf(socket), HOST, () => resolve());
    });
    await peer.send("from the peer", portOf(socket));
    assertStrictEquals(text(await take(socket)), "from the peer");
  },
);

scene("bind() looks the name of the remote up", async (s) => {
  const peer = await s.peer();
  const socket = await s.bind({ remote: remote(peer.port, "localhost") });
  await socket.send({ data: "by name" });
  const got = await peer.next();
  assertStrictEquals(got.text, "by name");
  await peer.send("answer", got.port);
  assertStrictEquals(text(await take(socket)), "answer");
  for (const hostname of [HOST, "localhost"]) {
    await socket.send({ data: hostname, hostname, port: peer.port });
    assertStrictEquals((await peer.next()).text, hostname);
  }
});

for (const spelling of ["::1", "0:0::1"]) {
  scene(`bind() to the remote ${spelling} speaks IPv6`, async (s) => {
    const peer = await s.peer("::1");
    const socket = await s.bind({ remote: remote(peer.port, spelling) });
    await socket.send({ data: "six" });
    const got = await peer.next();
    assertEquals([got.text, got.address], ["six", "::1"]);
    await peer.send("answer", got.port);
    assertStrictEquals((await take(socket)).hostname, "::1");
  });
}

scene("bind() to :: reaches an IPv4 remote", async (s) => {
  const [peer, stranger] = [await s.peer(), await s.peer()];
  const socket = await s.bind({ hostname: "::", remote: remote(peer.port) });
  await socket.send({ data: "four" });
  assertStrictEquals((await peer.next()).text, "four");
  await stranger.send("from a stranger", portOf(socket));
  await peer.send("answer", portOf(socket));
  const datagram = await take(socket);
  assertEquals([text(datagram), datagram.hostname], ["answer", HOST]);
});

scene(
  "onError hears that nobody listens, and the socket lives on",
  async (s) => {
    const gone = await s.peer();
    gone.close();
    const errors: NetError[] = [];
    const unreachable = unreachables();
    const socket = await s.bind({
      remote: remote(gone.port),
      onError: (error) => errors.push(error),
    });
    for (let i = 0; i < 5; i++) {
      assertStrictEquals(await socket.send({ data: "anybody?" }), true);
    }
    // Deno tells nobody: it has no connected sockets. And a kernel that is out
    // of memory for ICMP errors sends none, to anybody.
    if (runtime !== "deno" && unreachables() !== unreachable) {
      await until(() => errors.length > 0, "An error");
      assertInstanceOf(errors[0], NetError);
      assertStrictEquals(errors[0].code, "ECONNREFUSED");
      assertStrictEquals(errors[0].retryable, true);
      assertEquals(errors[0].address, remote(gone.port));
    }
    // The peer comes back: the very next datagram reaches it.
    const back = await s.peer(HOST, gone.port);
    assertStrictEquals(await socket.send({ data: "welcome" }), true);
    assertStrictEquals((await back.next()).text, "welcome");
    await back.send("thanks", portOf(socket));
    assertStrictEquals(text(await take(socket)), "thanks");
  },
);

scene("onError need not be there when nobody listens", async (s) => {
  const gone = await s.peer();
  gone.close();
  const socket = await s.bind({ remote: remote(gone.port) });
  for (let i = 0; i < 50; i++) {
    assertStrictEquals(await socket.send({ data: "anybody?" }), true);
    if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 2));
  }
  const back = await s.peer(HOST, gone.port);
  await socket.send({ data: "welcome" });
  assertStrictEquals((await back.next()).text, "welcome");
});

scene("send() to a remote sends a burst whole and in order", async (s) => {
  const peer = await s.peer();
  const socket = await s.bind({ remote: remote(peer.port) });
  const sent: unknown[] = [];
  for (let i = 0; i < 100; i++) sent.push(socket.send({ data: `${i}` }));
  assertEquals(await Promise.all(sent), Array(100).fill(true));
  for (let i = 0; i < 100; i++) {
    assertStrictEquals((await peer.next()).text, `${i}`);
  }
});

scene("bind() with a remote and reuseAddress is connected, too", async (s) => {
  const [peer, stranger] = [await s.peer(), await s.peer()];
  const socket = await s.bind({
    remote: remote(peer.port),
    reuseAddress: true,
  });
  await stranger.send("no", portOf(socket));
  await peer.send("yes", portOf(socket));
  assertStrictEquals(text(await take(socket)), "yes");
  await socket.send({ data: "back" });
  assertStrictEquals((await peer.next()).text, "back");
});

scene("bind() with a remote survives a flood of strangers", async (s) => {
  const [peer, stranger] = [await s.peer(), await s.peer()];
  const socket = await s.bind({ remote: remote(peer.port), capacity: 8 });
  for (let i = 0; i < 100; i++) {
    await stranger.send(new Uint8Array(50), portOf(socket));
  }
  await peer.send("mine", portOf(socket));
  assertStrictEquals(text(await take(socket)), "mine");
  assertStrictEquals(socket.dropped, 0);
  assert(portOf(socket) > 0);
});
