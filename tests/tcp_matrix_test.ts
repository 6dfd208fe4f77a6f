import { after, before, describe, test } from "node:test";
import { existsSync, readdirSync, readlinkSync } from "node:fs";
import * as net from "node:net";
import { assertEquals, assertInstanceOf } from "./assert.ts";
import { runtime, until, within } from "./_support.ts";
import { collect, settle } from "./_tcp_support.ts";
import { ClosedError, connect, serve, TimeoutError } from "../tcp/mod.ts";
import type { Connection } from "../tcp/mod.ts";

const LOCAL = "127.0.0.1";
const FDS = "/proc/self/fd";

const ACTS = ["nothing", "closeWrite", "close", "reset", "destroy"] as const;
type Act = typeof ACTS[number];

/**
 * What becomes of our side: `open`, or with all that is known of a connection
 * that is over: `clean`, or the code of its error.
 */
type Fate = "open" | "clean" | "ECONNRESET" | "ERR_CLOSED" | "ETIMEDOUT";

/** For each act of ours, by that of the peer, which goes second. */
const FATES: Record<Act, Record<Act, Fate>> = {
  nothing: {
    nothing: "open",
    closeWrite: "open",
    close: "open",
    reset: "ECONNRESET",
    destroy: "open",
  },
  closeWrite: {
    nothing: "open",
    closeWrite: "clean",
    close: "clean",
    reset: "ECONNRESET",
    destroy: "clean",
  },
  close: {
    nothing: "ETIMEDOUT",
    closeWrite: "clean",
    close: "clean",
    reset: "ECONNRESET",
    destroy: "clean",
  },
  reset: {
    nothing: "ECONNRESET",
    closeWrite: "ECONNRESET",
    close: "ECONNRESET",
    reset: "ECONNRESET",
    destroy: "ECONNRESET",
  },
  destroy: {
    nothing: "ERR_CLOSED",
    closeWrite: "ERR_CLOSED",
    close: "ERR_CLOSED",
    reset: "ERR_CLOSED",
    destroy: "ERR_CLOSED",
  },
};

/** It is the same when the peer goes first, but where it was over before. */
function fateOf(ours: Act, theirs: Act, first: "we" | "the peer"): Fate {
  if (first === "the peer" && theirs === "reset") return "ECONNRESET";
  return FATES[ours][theirs];
}

/** What goes over the wire. */
function signalOf(act: Act, who: "we" | "the peer"): "none" | "FIN" | "RST" {
  if (act === "nothing") return "none";
  if (act !== "reset") return "FIN";
  // Deno.connect and Deno.listen cannot: see the README.
  return who === "we" && runtime === "deno" ? "FIN" : "RST";
}

interface Pair {
  connection: Connection;
  peer: net.Socket;
  close(): Promise<void>;
}

async function accepted(): Promise<Pair> {
  let take!: (connection: Connection) => void;
  const took = new Promise<Connection>((resolve) => take = resolve);
  let leave!: () => void;
  const left = new Promise<void>((resolve) => leave = resolve);
  const server = await serve((connection) => {
    take(connection);
    // The handler's end would close it.
    return left;
  }, { hostname: LOCAL, port: 0 });
  const { address } = server;
  const peer = net.connect({
    host: LOCAL,
    port: address.transport === "unix" ? 0 : address.port,
    allowHalfOpen: true,
  });
  const connection = await within(took);
  await until(() => !peer.connecting, "the connection");
  return {
    connection,
    peer,
    async close() {
      leave();
      await within(server.close({ timeout: 0 }));
      assertEquals(server.stats().connections, 0);
    },
  };
}

async function dialed(): Promise<Pair> {
  let take!: (peer: net.Socket) => void;
  const took = new Promise<net.Socket>((resolve) => take = resolve);
  const server = net.createServer({ allowHalfOpen: true }, take);
  await new Promise<void>((resolve) =>
    server.listen(0, LOCAL, () => resolve())
  );
  const { port } = server.address() as net.AddressInfo;
  const connection = await connect({ hostname: LOCAL, port });
  return {
    connection,
    peer: await within(took),
    close: () => new Promise((resolve) => server.close(() => resolve())),
  };
}

function act(connection: Connection, how: Act, theirs: Act): void {
  if (how === "closeWrite") connection.closeWrite();
  if (how === "close") {
    // A peer that never finishes is given up.
    connection.close({ timeout: theirs === "nothing" ? 50 : 10_000 });
  }
  if (how === "reset") connection.reset();
  if (how === "destroy") connection.destroy();
}

function actRaw(peer: net.Socket, how: Act): void {
  if (how === "closeWrite") peer.end();
  if (how === "close") peer.end(() => peer.destroy());
  if (how === "reset") peer.resetAndDestroy();
  if (how === "destroy") peer.destroy();
}

/** Sockets that this process has open; none where that cannot be seen. */
function sockets(): number {
  if (!existsSync(FDS)) return 0;
  return readdirSync(FDS).filter((fd) => {
    try {
      return readlinkSync(`${FDS}/${fd}`).startsWith("socket:");
    } catch {
      // It was that of the folder itself.
      return false;
    }
  }).length;
}

/** What a receive gives: `end`, the code of its error, or `pending`. */
async function received(connection: Connection): Promise<string> {
  const controller = new AbortController();
  const reason = new Error("nothing came");
  const receiving = Promise.resolve(
    connection.receive({ signal: controller.signal }),
  ).then(
    (chunk) => chunk === undefined ? "end" : `${chunk.byteLength} bytes`,
    (error) => error === reason ? "pending" : error.code,
  );
  await settle(0);
  controller.abort(reason);
  return await receiving;
}

async function play(
  open: () => Promise<Pair>,
  first: "we" | "the peer",
  ours: Act,
  theirs: Act,
): Promise<void> {
  const what = `${ours}, the peer ${theirs}`;
  const fate = fateOf(ours, theirs, first);
  const { connection, peer, close } = await open();
  try {
    const got = collect(peer);
    let over = false;
    connection.closed.then(() => over = true);
    const seeOurs = async () => {
      const signal = signalOf(ours, "we");
      if (signal === "none") return;
      await until(() => got.ended || got.error, `${what}: our ${signal}`);
      assertEquals(got.error, signal === "RST" ? "ECONNRESET" : undefined);
    };
    const seeTheirs = async () => {
      const signal = signalOf(theirs, "the peer");
      if (signal === "FIN") {
        assertEquals(await within(connection.receive()), undefined, what);
      }
      if (signal === "RST") await within(connection.closed);
    };
    if (first === "we") {
      act(connection, ours, theirs);
      await seeOurs();
      actRaw(peer, theirs);
      if (fate === "open") await seeTheirs();
    } else {
      actRaw(peer, theirs);
      await seeTheirs();
      act(connection, ours, theirs);
      // One that is gone sees nothing.
      const there = theirs === "nothing" || theirs === "closeWrite";
      if (there) await seeOurs();
    }
    const finished = theirs !== "nothing" && theirs !== "reset";
    if (fate === "open") {
      assertEquals(over, false, `${what}: it is open`);
      assertEquals(await received(connection), finished ? "end" : "pending");
      assertEquals(await connection.send("more"), ours === "nothing", what);
      if (ours === "nothing" && !peer.destroyed) {
        await until(() => got.text === "more", `${what}: what we send`);
      }
      if (theirs === "nothing") {
        peer.write("more");
        assertEquals((await within(connection.read(4)))!.byteLength, 4);
      }
      return;
    }
    const info = await within(connection.closed);
    assertEquals(info.clean, fate === "clean", what);
    assertEquals(info.error?.code, fate === "clean" ? undefined : fate, what);
    if (info.error !== undefined) {
      assertInstanceOf(
        info.error,
        fate === "ETIMEDOUT" ? TimeoutError : ClosedError,
      );
    }
    assertEquals(await connection.send("more"), false, what);
    // Whoever has seen the peer's end sees it again, whatever came then.
    const seen = fate === "clean" || first === "the peer" && finished;
    const given = await received(connection);
    assertEquals(given, seen ? "end" : fate, `${what}: receive`);
  } finally {
    connection.destroy();
    peer.destroy();
    await close();
  }
}

for (
  const [side, open] of [["serve", accepted], ["connect", dialed]] as const
) {
  describe(`a connection of tcp.${side}() and a peer that end`, () => {
    let opened = 0;
    before(async () => {
      // What the runtime opens for itself is open then.
      await play(open, "we", "closeWrite", "closeWrite");
      opened = sockets();
    });
    after(() => until(() => sockets() <= opened, "the sockets closed"));

    for (const first of ["we", "the peer"] as const) {
      for (const ours of ACTS) {
        for (const theirs of ACTS) {
          test(`\`${ours}\`, the peer ${theirs}: ${first} first`, () =>
            play(open, first, ours, theirs));
        }
      }
    }
  });
}
