import { describe, test } from "node:test";
import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { tmpdir } from "node:os";
import { assert, assertEquals } from "./assert.ts";
import { runtime, until } from "./_support.ts";
import {
  collect,
  doors,
  Recorder,
  rig,
  runProgram,
  settle,
  utf8,
} from "./_tcp_support.ts";

for (const [name, open] of doors) {
  for (const side of ["accept", "dial"] as const) {
    describe(`a transport of ${name}, ${side}ed`, () => {
      test("reads nothing before `attach`, then all, in order", async () => {
        const kit = await rig(open);
        try {
          const { peer, transport } = await kit[side]();
          peer.write("one");
          await settle();
          peer.write("two");
          const seen = new Recorder();
          transport.attach(seen);
          await until(() => seen.text === "onetwo", "the text");
          peer.end("three");
          await until(() => seen.ended, "the end");
          assertEquals(seen.text, "onetwothree");
          assert(!seen.closed);
          assertEquals(seen.chunks[0].constructor, Uint8Array);
        } finally {
          await kit.close();
        }
      });

      test("tells who borrows what is lent, and gives the rest", async () => {
        const kit = await rig(open);
        try {
          const { peer, transport } = await kit[side]();
          let text = "";
          const given: Uint8Array[] = [];
          const seen = new Recorder();
          transport.attach({
            borrows: true,
            data(chunk, lent) {
              assertEquals(chunk.constructor, Uint8Array);
              if (!lent) given.push(chunk);
              text += new TextDecoder().decode(chunk);
              // Even then it may be changed.
              if (lent) chunk.fill(0);
            },
            end: () => seen.end(),
            drain: () => seen.drain(),
            close: (error) => seen.close(error),
          });
          let sent = "";
          for (const part of ["a", "bc", "d".repeat(1500), "e".repeat(9000)]) {
            sent += part;
            peer.write(part);
            await until(() => text === sent, "the text");
          }
          // What comes while it is paused, whoever listens then keeps.
          transport.pause();
          peer.write("held");
          await settle();
          transport.attach(seen);
          transport.resume();
          await until(() => seen.text === "held", "what was held");
          peer.end("more");
          await until(() => seen.ended, "the end");
          assertEquals(seen.text, "heldmore");
          const kept = given.map((chunk) => new TextDecoder().decode(chunk));
          for (const part of kept) assert(sent.includes(part));
        } finally {
          await kit.close();
        }
      });

      test("writes on after the peer's FIN, then closes clean", async () => {
        const kit = await rig(open);
        try {
          const { peer, transport } = await kit[side]();
          const seen = new Recorder();
          transport.attach(seen);
          const got = collect(peer);
          peer.end("question");
          await until(() => seen.ended, "the end");
          transport.write(utf8("answer"));
          await until(() => got.text === "answer", "the answer");
          transport.end();
          await until(() => got.ended && seen.closed, "the close");
          assertEquals(seen.error, undefined);
          assertEquals(seen.order, ["end", "close"]);
        } finally {
          await kit.close();
        }
      });

      test("reads on after its own FIN, then closes clean", async () => {
        const kit = await rig(open);
        try {
          const { peer, transport } = await kit[side]();
          const seen = new Recorder();
          transport.attach(seen);
          const got = collect(peer);
          transport.write(utf8("question"));
          transport.end();
          await until(() => got.ended, "the FIN");
          assertEquals(got.text, "question");
          peer.write("ans");
          await until(() => seen.text === "ans", "the answer");
          assert(!seen.ended && !seen.closed);
          peer.end("wer");
          await until(() => seen.closed, "the close");
          assertEquals(seen.text, "answer");
          assertEquals(seen.error, undefined);
          assertEquals(seen.order, ["end", "close"]);
        } finally {
          await kit.close();
        }
      });

      test("tells a RST from a FIN", async () => {
        const kit = await rig(open);
        try {
          const { peer, transport } = await kit[side]();
          const seen = new Recorder();
          transport.attach(seen);
          peer.write("x");
          await until(() => seen.bytes === 1, "the byte");
          peer.resetAndDestroy();
          await until(() => seen.closed, "the close");
          assertEquals(seen.code, "ECONNRESET");
          assertEquals(seen.order, ["close"]);
        } finally {
          await kit.close();
        }
      });

      // Deno's node:net does not read at all while it is paused.
      const deaf = runtime === "deno" && name === "node:net";
      if (!deaf) {
        test("learns of a RST while paused", async () => {
          const kit = await rig(open);
          try {
            const { peer, transport } = await kit[side]();
            const seen = new Recorder();
            transport.attach(seen);
            peer.write("x");
            await until(() => seen.bytes === 1, "the byte");
            transport.pause();
            await settle(10);
            peer.resetAndDestroy();
            await until(() => seen.closed, "the close");
            assertEquals(seen.code, "ECONNRESET");
          } finally {
            await kit.close();
          }
        });
      }

      test("`destroy()` closes later, once, without an error", async () => {
        const kit = await rig(open);
        try {
          const { peer, transport } = await kit[side]();
          const seen = new Recorder();
          const got = collect(peer);
          transport.attach(seen);
          transport.destroy();
          assert(!seen.closed, "closed within the call");
          transport.destroy();
          transport.reset();
          transport.end();
          transport.pause();
          transport.resume();
          transport.setNoDelay(true);
          transport.setKeepAlive(true);
          assertEquals(transport.write(utf8("x")), true);
          assertEquals(transport.pending, 0);
          await until(() => seen.closed && got.ended, "the close");
          await settle(10);
          assertEquals(seen.order, ["close"]);
          assertEquals(seen.error, undefined);
        } finally {
          await kit.close();
        }
      });

      test("`destroy()` before `attach` is told on `attach`", async () => {
        const kit = await rig(open);
        try {
          const { transport } = await kit[side]();
          transport.destroy();
          await settle(10);
          const seen = new Recorder();
          transport.attach(seen);
          assert(!seen.closed, "closed within the call");
          await until(() => seen.closed, "the close");
          await settle(10);
          assertEquals(seen.order, ["close"]);
        } finally {
          await kit.close();
        }
      });

      test("a RST before `attach` is told on `attach`", async () => {
        const kit = await rig(open);
        try {
          const { peer, transport } = await kit[side]();
          peer.resetAndDestroy();
          await settle(30);
          const seen = new Recorder();
          transport.attach(seen);
          await until(() => seen.closed, "the close");
          await settle(10);
          assertEquals(seen.order, ["close"]);
          assertEquals(seen.code, "ECONNRESET");
        } finally {
          await kit.close();
        }
      });

      test("`reset()` is seen by the peer", async () => {
        const kit = await rig(open);
        try {
          const { peer, transport } = await kit[side]();
          const seen = new Recorder();
          const got = collect(peer);
          transport.attach(seen);
          transport.reset();
          await until(
            () => seen.closed && (got.closed || got.ended),
            "the close",
          );
          assertEquals(seen.order, ["close"]);
          // Deno has no way to send a RST.
          if (!name.startsWith("deno")) assertEquals(got.error, "ECONNRESET");
        } finally {
          await kit.close();
        }
      });

      test("stops the peer when paused, goes on when resumed", async () => {
        const kit = await rig(open);
        try {
          const { peer, transport } = await kit[side]();
          const seen = new Recorder();
          seen.onData = () => {
            if (seen.bytes < 65_536) return;
            seen.onData = () => {};
            transport.pause();
          };
          transport.attach(seen);
          const total = 24 * 1024 * 1024;
          peer.end(new Uint8Array(total));
          await until(() => seen.bytes >= 65_536, "the first bytes");
          const atPause = seen.bytes;
          await settle(100);
          assertEquals(seen.bytes, atPause);
          // The kernel's buffers hold at most some MiB.
          assert(peer.writableLength > 0, "the peer wrote everything");
          transport.resume();
          await until(() => seen.ended, "the end");
          assertEquals(seen.bytes, total);
        } finally {
          await kit.close();
        }
      });

      test("keeps what a slow reader does not take, in order", async () => {
        const kit = await rig(open);
        try {
          const { peer, transport } = await kit[side]();
          const seen = new Recorder();
          transport.attach(seen);
          let sent = 0;
          let blocked = false;
          const chunk = new Uint8Array(100_000);
          for (let i = 0; i < 200; i++) {
            const bytes = chunk.slice().fill(i);
            sent += bytes.byteLength;
            if (!transport.write(bytes)) blocked = true;
          }
          transport.end();
          assert(blocked);
          assert(transport.pending > 0);
          assert(transport.pending <= sent);
          await settle(50);
          assert(transport.pending > 0);
          assertEquals(seen.drains, 0);
          let at = 0;
          let wrong = 0;
          let ended = false;
          peer.on("data", (bytes: Uint8Array) => {
            for (let i = 0; i < bytes.length; i += 997) {
              if (bytes[i] !== Math.floor((at + i) / 100_000)) wrong++;
            }
            at += bytes.length;
          });
          peer.on("end", () => ended = true);
          peer.resume();
          await until(() => ended, "the end", 10_000);
          assertEquals(at, sent);
          assertEquals(wrong, 0);
          assertEquals(transport.pending, 0);
          assert(seen.drains > 0);
        } finally {
          await kit.close();
        }
      });

      test("drops what it holds on `destroy()`", async () => {
        const kit = await rig(open);
        try {
          const { peer, transport } = await kit[side]();
          const seen = new Recorder();
          transport.attach(seen);
          for (let i = 0; i < 20; i++) transport.write(new Uint8Array(1 << 20));
          const got = collect(peer);
          peer.pause();
          transport.destroy();
          await until(() => seen.closed, "the close");
          peer.resume();
          await until(() => got.closed || got.ended, "the peer's close");
          assert(got.bytes < 20 << 20);
        } finally {
          await kit.close();
        }
      });

      test("a cut in the middle of writing is told", async () => {
        const kit = await rig(open);
        try {
          const { peer, transport } = await kit[side]();
          const seen = new Recorder();
          transport.attach(seen);
          for (let i = 0; i < 20; i++) transport.write(new Uint8Array(1 << 20));
          await settle(20);
          peer.destroy(); // unread data: the kernel sends a RST
          await until(() => seen.closed, "the close");
          assert(["ECONNRESET", "EPIPE"].includes(seen.code!), seen.code);
          assertEquals(transport.pending, 0);
        } finally {
          await kit.close();
        }
      });

      test("hands over to another listener", async () => {
        const kit = await rig(open);
        try {
          const { peer, transport } = await kit[side]();
          const first = new Recorder();
          const second = new Recorder();
          first.onData = () => transport.attach(second);
          transport.attach(first);
          peer.write("one");
          await until(() => first.bytes > 0, "the first");
          peer.write("two");
          await until(() => second.bytes > 0, "the second");
          transport.destroy();
          await until(() => second.closed, "the close");
          assertEquals([first.text, second.text], ["one", "two"]);
          assertEquals([first.order, second.order], [[], ["close"]]);
        } finally {
          await kit.close();
        }
      });

      test("a paused one gives nothing, whatever comes", async () => {
        const kit = await rig(open);
        try {
          const { peer, transport } = await kit[side]();
          const seen = new Recorder();
          transport.pause();
          transport.attach(seen);
          peer.end("all of it");
          await settle(50);
          assertEquals(seen.bytes, 0);
          transport.resume();
          transport.pause();
          await settle(20);
          assertEquals(seen.bytes, 0);
          transport.resume();
          await until(() => seen.ended, "the end");
          assertEquals(seen.text, "all of it");
        } finally {
          await kit.close();
        }
      });

      test("its chunks stay as they came", async () => {
        const kit = await rig(open);
        try {
          const { peer, transport } = await kit[side]();
          const seen = new Recorder();
          transport.attach(seen);
          for (let i = 0; i < 64; i++) {
            peer.write(new Uint8Array(i * 997 + 1).fill(i));
          }
          peer.end();
          await until(() => seen.ended, "the end");
          let at = 0;
          const all = new Uint8Array(seen.bytes);
          for (const chunk of seen.chunks) {
            all.set(chunk, at);
            at += chunk.byteLength;
          }
          at = 0;
          for (let i = 0; i < 64; i++) {
            for (let n = i * 997 + 1; n > 0; n--) {
              if (all[at++] !== i) throw new Error(`Byte ${at} is wrong`);
            }
          }
          assertEquals(at, seen.bytes);
        } finally {
          await kit.close();
        }
      });

      test("its chunks are no other's, however large and small", async () => {
        const kit = await rig(open);
        try {
          const pairs = [await kit[side](), await kit[side]()];
          const seen = pairs.map(({ transport }) => {
            const recorder = new Recorder();
            transport.attach(recorder);
            return recorder;
          });
          // Small ones, some that fill every buffer, and small ones again.
          const sizes = [1, 64, 5000, 65_483, 53, 262_144, 65_536, 40_000, 1];
          let sent = 0;
          for (const size of [...sizes, 1, 1, 1, 1, 1, 1, 70_000, 7]) {
            sent += size;
            pairs.forEach(({ peer }, n) => {
              peer.write(new Uint8Array(size).fill(n + 1));
            });
            await until(() => seen.every(({ bytes }) => bytes === sent), "it");
          }
          seen.forEach(({ chunks }, n) => {
            for (const chunk of chunks) {
              assert(chunk.every((byte) => byte === n + 1));
              // Behind it is nothing of anybody else's either.
              for (const byte of new Uint8Array(chunk.buffer)) {
                assert(byte === n + 1 || byte === 0);
              }
            }
          });
        } finally {
          await kit.close();
        }
      });
    });
  }

  describe(`the door of ${name}`, () => {
    test("`listen()` gives the real port and addresses", async () => {
      const kit = await rig(open);
      try {
        const { address } = kit.server;
        assert(address.transport === "tcp" && address.port > 0);
        const { peer, transport } = await kit.accept();
        assertEquals(transport.localAddress, address);
        assertEquals(transport.remoteAddress, {
          transport: "tcp",
          hostname: "127.0.0.1",
          port: peer.localPort!,
        });
      } finally {
        await kit.close();
      }
    });

    test("`close()` frees the port, and connections live on", async () => {
      const kit = await rig(open);
      try {
        const { peer, transport } = await kit.accept();
        const seen = new Recorder();
        transport.attach(seen);
        await kit.server.close();
        const again = await kit.door.listen({
          hostname: "127.0.0.1",
          port: kit.port,
        }, { connection() {}, error() {} });
        await again.close();
        peer.write("still");
        await until(() => seen.text === "still", "the text");
      } finally {
        await kit.close();
      }
    });

    test("works over a Unix socket and removes its file", async () => {
      const folder = mkdtempSync(join(tmpdir(), "sluice-"));
      const path = join(folder, "s");
      const kit = await rig(open, { path });
      try {
        assertEquals(kit.server.address, { transport: "unix", path });
        const { peer, transport } = await kit.accept();
        const seen = new Recorder();
        const got = collect(peer);
        transport.attach(seen);
        peer.end("question");
        await until(() => seen.ended, "the end");
        transport.write(utf8("answer"));
        transport.end();
        await until(() => seen.closed && got.ended, "the close");
        assertEquals([seen.text, got.text], ["question", "answer"]);
        assertEquals(transport.remoteAddress, { transport: "unix", path });
      } finally {
        await kit.close();
        const { existsSync } = await import("node:fs");
        assert(!existsSync(path), "the file is still there");
        rmSync(folder, { recursive: true });
      }
    });
  });
}

test("a transport that was unref'd lets the process end, ref'd again it keeps it", async () => {
  const dialing = new URL("../tcp/_dial.ts", import.meta.url).href;
  const listening = new URL("../tcp/_listen.ts", import.meta.url).href;
  const program = (rest: string) => `
    import { dial } from ${JSON.stringify(dialing)};
    import { listen } from ${JSON.stringify(listening)};
    const peers = [];
    const server = await listen({ hostname: "127.0.0.1", port: 0 }, {
      connection(peer) {
        peers.push(peer);
        peer.attach({ data(c) { peer.write(c.slice()); }, end() {}, drain() {}, close() {} });
        peer.unref();
      },
      error() {},
    });
    const { hostname, port } = server.address;
    const transport = await dial({ hostname, port });
    let text = "";
    const done = new Promise((resolve) => transport.attach({
      data(chunk) {
        text += new TextDecoder().decode(chunk);
        if (text.endsWith(".")) resolve();
      },
      end() {}, drain() {}, close() {},
    }));
    server.unref();
    const say = (word) => transport.write(new TextEncoder().encode(word));
    process.on("exit", () => console.log(text));
    ${rest}
  `;
  const runs: [string, string][] = [
    ["transport.unref();", ""],
    ["say('a.'); await done; transport.unref();", "a."],
    [
      "transport.unref(); transport.ref(); say('b.'); await done; transport.unref();",
      "b.",
    ],
    [
      "say('c'); transport.unref(); transport.ref(); say('d.'); await done; transport.unref();",
      "cd.",
    ],
    ["transport.ref(); say('e.'); done.then(() => transport.destroy());", "e."],
  ];
  for (const [rest, expected] of runs) {
    const { output, code, errors } = await runProgram(program(rest));
    assertEquals([output, code, errors], [`${expected}\n`, 0, ""], rest);
  }
});
