import { describe, test } from "node:test";
import * as net from "node:net";
import { assert, assertEquals } from "./assert.ts";
import { runtime, until, within } from "./_support.ts";
import { collect, Recorder, rig, runProgram } from "./_tcp_support.ts";
import type { Rig } from "./_tcp_support.ts";
import { runtime as door } from "../tcp/_node.ts";
import { canAccept, tryOut } from "../tcp/_node_accept.ts";
import type { Transport } from "../tcp/_transport.ts";
import { isTried } from "../tcp/_node_wrap.ts";

const openDoor = () => Promise.resolve(door);

async function withRig(run: (kit: Rig) => Promise<void>): Promise<void> {
  const kit = await rig(openDoor);
  try {
    await run(kit);
  } finally {
    await kit.close();
  }
}

/** More than the kernel takes of one write while nobody reads. */
const MUCH = 24 * 1024 * 1024;

interface Scene {
  readonly peer: net.Socket;
  readonly transport: Transport;
  readonly seen: Recorder;
}

/** What a transport is about when its socket is asked for. */
const moments: [string, (scene: Scene) => Promise<void>][] = [
  ["before anybody is attached", () => Promise.resolve()],
  ["while it reads", async ({ peer, transport, seen }) => {
    transport.attach(seen);
    peer.write("so far");
    await until(() => seen.text === "so far", "what came so far");
  }],
  ["while it is paused and holds a chunk", async (scene) => {
    const { peer, transport, seen } = scene;
    transport.attach(seen);
    transport.pause();
    peer.write("so far");
    // It is in the kernel, or held: nobody can tell from here.
    await until(() => peer.writableLength === 0, "the peer's write");
    assertEquals(seen.text, "");
  }],
  ["while writes are under way and wait", async (scene) => {
    const { transport, seen } = scene;
    transport.attach(seen);
    transport.write(new Uint8Array(MUCH).fill(1));
    transport.write(new Uint8Array(MUCH).fill(2));
    await Promise.resolve();
    assert(transport.pending > 0);
  }],
  ["after the peer's end", async ({ peer, transport, seen }) => {
    transport.attach(seen);
    peer.end("so far");
    await until(() => seen.ended, "the peer's end");
  }],
  ["after its own end", async ({ peer, transport, seen }) => {
    transport.attach(seen);
    transport.end();
    await until(() => peer.readableEnded, "the peer to hear of it");
  }],
  ["when its end waits for its writes", async ({ transport, seen }) => {
    transport.attach(seen);
    transport.write(new Uint8Array(MUCH).fill(1));
    transport.write(new Uint8Array(MUCH).fill(2));
    transport.end();
    await Promise.resolve();
  }],
];

for (const side of ["accept", "dial"] as const) {
  describe(`a transport of node:net, ${side}ed, gives its socket`, () => {
    for (const [moment, prepare] of moments) {
      test(moment, () =>
        withRig(async (kit) => {
          const { peer, transport } = await kit[side]();
          const seen = new Recorder();
          // It reads from the beginning, unless that is what matters.
          const early = moment.includes("writes") ? undefined : collect(peer);
          await prepare({ peer, transport, seen });
          const { localAddress, remoteAddress } = transport;
          const ending = moment.includes("own end") ||
            moment.includes("its end");
          const raw = transport.raw as net.Socket;
          assert(raw instanceof net.Socket);
          assertEquals(transport.raw, raw);
          assertEquals(transport.remoteAddress, remoteAddress);
          assertEquals(transport.localAddress, localAddress);
          assertEquals(raw.remotePort, peer.localPort);
          if (moment.startsWith("before")) transport.attach(seen);
          transport.resume();
          // It goes on both ways, in order, by the transport.
          const there = early ?? collect(peer);
          if (!ending) {
            transport.write(new TextEncoder().encode("back"));
            transport.end();
          }
          if (!seen.ended) peer.end(", and on");
          await until(() => seen.closed && there.ended, "both ends");
          assertEquals(seen.error, undefined);
          assertEquals(seen.order, ["end", "close"]);
          const before = seen.text.startsWith("so far") ? "so far" : "";
          const waits = moment.includes("paused") || moment.includes("reads") ||
            moment.includes("peer's end");
          assertEquals(before !== "", waits);
          const after = moment.includes("peer's end") ? "" : ", and on";
          assertEquals(seen.text, before + after);
          const big = moment.includes("writes") ? 2 * MUCH : 0;
          assertEquals(there.bytes, big + (ending ? 0 : 4));
          assertEquals(transport.pending, 0);
        }));
    }

    test("after it is over: destroyed", () =>
      withRig(async (kit) => {
        const { transport } = await kit[side]();
        const seen = new Recorder();
        transport.attach(seen);
        transport.destroy();
        const raw = transport.raw as net.Socket;
        assert(raw instanceof net.Socket);
        assert(raw.destroyed);
        await until(() => seen.closed, "its close");
        assertEquals(transport.raw, raw);
        transport.write(new Uint8Array(1));
        transport.end();
        transport.pause();
        transport.resume();
        transport.reset();
        assertEquals(seen.order, ["close"]);
      }));

    test("whose own calls count", () =>
      withRig(async (kit) => {
        const { peer, transport } = await kit[side]();
        const seen = new Recorder();
        transport.attach(seen);
        const there = collect(peer);
        const raw = transport.raw as net.Socket;
        let heard = "";
        raw.on("data", (chunk) => heard += chunk);
        peer.write("both");
        await until(() => seen.text === "both" && heard === "both", "both");
        raw.write("written past it");
        await until(() => there.text === "written past it", "what is written");
        raw.destroy();
        await until(() => seen.closed && there.ended, "both to hear of it");
      }));
  });
}

/** How many connections a server of node:net says it has. */
function count(server: net.Server): Promise<number> {
  return new Promise((resolve, reject) =>
    server.getConnections((error, count) =>
      error === null ? resolve(count) : reject(error)
    )
  );
}

test("a server of node:net counts its connections", () =>
  withRig(async (kit) => {
    const server = kit.server.raw as net.Server;
    assert(server instanceof net.Server);
    const first = await kit.accept();
    const second = await kit.accept();
    assertEquals(await count(server), 2);
    const seen = [new Recorder(), new Recorder()];
    first.transport.attach(seen[0]);
    second.transport.attach(seen[1]);
    assert(second.transport.raw instanceof net.Socket);
    first.transport.destroy();
    second.transport.destroy();
    await until(() => seen.every((one) => one.closed), "both to close");
    assertEquals(await count(server), 0);
  }));

test("a server of node:net keeps to what its owner has it do", () =>
  withRig(async (kit) => {
    const server = kit.server.raw as net.Server;
    const sockets: net.Socket[] = [];
    server.on("connection", (socket) => sockets.push(socket));
    const { peer, transport } = await kit.accept();
    assertEquals(sockets.length, 1);
    assertEquals(transport.raw, sockets[0]);
    server.maxConnections = 1;
    const dropped = new Promise((resolve) => server.once("drop", resolve));
    const late = net.connect({ host: "127.0.0.1", port: kit.port });
    late.on("error", () => {});
    try {
      await within(
        runtime === "node"
          ? dropped
          : new Promise((resolve) => late.once("close", resolve)),
      );
    } finally {
      late.destroy();
      peer.destroy();
    }
  }));

test("`tryOut()` finds that it works where it is used", async () => {
  const able = await canAccept();
  assertEquals(able, runtime === "node");
  if (able) assert(await within(tryOut()));
  assert(!isTried("24.999.0"));
  assert(!isTried("99.0.0"));
  assert(isTried("24.1.0"));
});

test("a transport of node:net reads on, in order, when its listener throws", async () => {
  const url = JSON.stringify(new URL("../tcp/_node.ts", import.meta.url).href);
  const result = await runProgram(
    `
    import net from "node:net";
    import { runtime } from ${url};
    let thrown = 0, bytes = 0, wrong = 0;
    globalThis.process.on("uncaughtException", () => void thrown++);
    const kept = [];
    const server = await runtime.listen({ hostname: "127.0.0.1", port: 0 }, {
      connection: (transport) => transport.attach({
        data(chunk) {
          for (const byte of chunk) {
            if (byte !== Math.floor(bytes++ / 1000) % 251) wrong++;
          }
          kept.push([chunk, chunk.slice()]);
          if (chunk.byteLength > 20_000) throw new Error("of a listener");
        },
        end() {
          transport.end();
        },
        drain() {},
        async close() {
          await server.close();
          const same = kept.every(([a, b]) => a.every((byte, i) => byte === b[i]));
          console.log(thrown > 0, bytes, wrong, same);
        },
      }),
      error() {},
    });
    const all = new Uint8Array(8_000_000);
    for (let i = 0; i < all.length; i++) all[i] = Math.floor(i / 1000) % 251;
    net.connect({ host: "127.0.0.1", port: server.address.port })
      .on("error", () => {}).resume().end(all);
    `,
  );
  assertEquals(
    [result.code, result.output.trim(), result.errors.trim()],
    [0, "true 8000000 0 true", ""],
  );
});

// What Node is told not to do it goes without.
const flags: [string, string[]][] = runtime === "node"
  ? [
    ["deprecations that throw", [
      "--pending-deprecation",
      "--throw-deprecation",
    ]],
  ]
  : [["no flags", []]];
for (const [name, given] of flags) {
  test(`tcp works, and says nothing, with ${name}`, async () => {
    const url = JSON.stringify(new URL("../tcp/mod.ts", import.meta.url).href);
    const result = await runProgram(
      `
      import { connect, serve } from ${url};
      const server = await serve(async (connection) => {
        for await (const chunk of connection) await connection.send(chunk);
      }, { hostname: "127.0.0.1", port: 0 });
      const connection = await connect(server.address);
      await connection.send("echoed");
      console.log(new TextDecoder().decode(await connection.read(6)));
      await connection.close();
      await server.close();
      `,
      runtime,
      { flags: given },
    );
    assertEquals(
      [result.code, result.output.trim(), result.errors.trim()],
      [0, "echoed", ""],
    );
  });
}
