// Bytes that go from one connection straight into another: `connect` of the
// streams, and `pipeTo` of their Web Streams.

import { describe, test } from "node:test";
import * as net from "node:net";
import {
  assert,
  assertEquals,
  assertRejects,
  assertStrictEquals,
} from "./assert.ts";
import { until, within } from "./_support.ts";
import { collect, settle } from "./_tcp_support.ts";
import {
  dialRaw,
  ends,
  MIB,
  portOf,
  pour,
  summed,
  sumOf,
  text,
  ways,
} from "./_tcp_flow.ts";
import { connect as join, splice } from "../streams/mod.ts";
import { connect, serve } from "../tcp/mod.ts";

for (const [name, move] of Object.entries(ways)) {
  describe(`${name} between connections`, () => {
    test("gives all in order, and the end, as an echo", async () => {
      const moves: Promise<void>[] = [];
      const server = await serve((connection) => {
        const moved = move(connection, connection);
        moves.push(moved);
        return moved;
      }, { hostname: "127.0.0.1", port: 0 });
      try {
        const peer = await dialRaw(portOf(server));
        const echoed = summed(peer);
        await pour(peer, 64 * MIB);
        peer.end();
        assertEquals(await within(echoed, 20_000), {
          size: 64 * MIB,
          sum: sumOf(64 * MIB),
        });
        await within(moves[0]);
        const { bytesRead, bytesWritten } = server.stats();
        assertEquals([bytesRead, bytesWritten], [64 * MIB, 64 * MIB]);
        await until(() => server.stats().connections === 0, "its end");
      } finally {
        await server.close({ timeout: 0 });
      }
    });

    test("gives all in order both ways, as a proxy", async () => {
      const target = net.createServer({ allowHalfOpen: true }, (socket) => {
        socket.on("error", () => {});
        socket.pipe(socket);
      });
      await new Promise<void>((resolve) =>
        target.listen(0, "127.0.0.1", () => resolve())
      );
      const { port } = target.address() as net.AddressInfo;
      let proxied: Promise<unknown> | undefined;
      const server = await serve(async (client) => {
        const upstream = await connect({ hostname: "127.0.0.1", port });
        proxied = Promise.all([move(client, upstream), move(upstream, client)]);
        await proxied;
      }, { hostname: "127.0.0.1", port: 0 });
      try {
        const peer = await dialRaw(portOf(server));
        const echoed = summed(peer);
        await pour(peer, 32 * MIB);
        peer.end();
        assertEquals(await within(echoed, 20_000), {
          size: 32 * MIB,
          sum: sumOf(32 * MIB),
        });
        await within(proxied!);
      } finally {
        await server.close({ timeout: 0 });
        target.close();
      }
    });

    test("gives small messages as they come", async () => {
      const { from, source, sink, to, close } = await ends();
      try {
        const got = collect(to);
        const moved = move(source, sink);
        for (let i = 0; i < 100; i++) {
          from.write(`${i};`);
          await until(() => got.text.endsWith(`${i};`), "a message");
        }
        from.end();
        await until(() => got.ended, "the FIN");
        await within(moved);
        assertEquals(
          got.text,
          Array.from({ length: 100 }, (_, i) => `${i};`).join(""),
        );
        assertEquals(sink.bytesWritten, got.text.length);
        assertEquals(source.bytesRead, got.text.length);
      } finally {
        await close();
      }
    });

    test("gives what waits in the source first", async () => {
      const { from, source, sink, to, close } = await ends();
      try {
        from.write("first ");
        await until(() => source.bytesRead === 6, "the first bytes");
        const got = collect(to);
        const moved = move(source, sink);
        from.end("second");
        await until(() => got.ended, "the FIN");
        await within(moved);
        assertEquals(got.text, "first second");
      } finally {
        await close();
      }
    });

    test("stops the peer while the sink's peer does not read", async () => {
      const { from, source, sink, to, close } = await ends();
      try {
        const moved = move(source, sink);
        const size = 48 * MIB;
        const poured = pour(from, size).then(() => from.end());
        await until(() => sink.buffered > 0, "the kernel's refusal", 20_000);
        let last = -1;
        await until(
          async () => {
            const before = last;
            last = source.bytesRead;
            await settle(100);
            return before === last && source.bytesRead === last;
          },
          "standing still",
          20_000,
        );
        assert(source.bytesRead < size / 2, `${source.bytesRead}`);
        assert(sink.buffered <= MIB, `${sink.buffered}`);
        const got = summed(to);
        assertEquals(await within(got, 20_000), { size, sum: sumOf(size) });
        await within(poured);
        await within(moved);
        assertEquals(sink.buffered, 0);
      } finally {
        await close();
      }
    });

    test("passes the end on, and the other way stays open", async () => {
      const { from, source, sink, to, close } = await ends();
      try {
        const [there, back] = [collect(to), collect(from)];
        const moved = [move(source, sink), move(sink, source)];
        from.end("question");
        await until(() => there.ended, "the FIN there");
        assertEquals(there.text, "question");
        await within(moved[0]);
        to.write("an ");
        await until(() => back.text === "an ", "the answer's begin");
        to.end("answer");
        await until(() => back.ended, "the FIN back");
        assertEquals(back.text, "an answer");
        await within(moved[1]);
        assertEquals(await within(source.closed), { clean: true });
        assertEquals(await within(sink.closed), { clean: true });
      } finally {
        await close();
      }
    });

    test("passes a reset of the source on", async () => {
      const { from, source, sink, to, close } = await ends();
      try {
        const got = collect(to);
        const moved = move(source, sink);
        moved.catch(() => {});
        void pour(from, 256 * MIB);
        await until(() => got.bytes > MIB, "the first bytes");
        from.resetAndDestroy();
        const error = await assertRejects(() => within(moved)) as Error;
        const { clean, error: told } = await within(source.closed);
        assertEquals(clean, false);
        assertStrictEquals(error, told);
        assertEquals((await within(sink.closed)).clean, false);
        await until(() => got.ended || got.closed, "the end there");
      } finally {
        await close();
      }
    });

    test("passes a loss of the sink on", async () => {
      const { from, source, sink, to, close } = await ends();
      try {
        const got = collect(to);
        const moved = move(source, sink);
        moved.catch(() => {});
        void pour(from, 256 * MIB);
        await until(() => got.bytes > MIB, "the first bytes");
        to.resetAndDestroy();
        await assertRejects(() => within(moved));
        assertEquals((await within(sink.closed)).clean, false);
        assertEquals((await within(source.closed)).clean, false);
        await until(() => from.destroyed, "the source's peer's close");
      } finally {
        await close();
      }
    });

    test("passes `destroy` of either end on, with its reason", async () => {
      for (const which of ["source", "sink"] as const) {
        const all = await ends();
        try {
          const got = collect(all.to);
          const moved = move(all.source, all.sink);
          moved.catch(() => {});
          void pour(all.from, 256 * MIB);
          await until(() => got.bytes > MIB, "the first bytes");
          const reason = new Error("enough");
          all[which].destroy(reason);
          const told = await assertRejects(() => within(moved)) as Error;
          // A write that comes before its end is told only refuses.
          if (name === "connect()" || which === "source") {
            assert(told === reason || told.cause === reason, `${told}`);
          }
          for (const end of [all.source, all.sink]) {
            assertEquals((await within(end.closed)).clean, false);
          }
        } finally {
          await all.close();
        }
      }
    });
  });
}

test("`connect()` shares the source with who receives besides", async () => {
  const { from, source, sink, to, close } = await ends();
  try {
    const got = collect(to);
    const moved = join(source, sink);
    from.write("one ");
    await until(() => got.text === "one ", "the first bytes");
    const besides = source.receive();
    from.write("two ");
    await until(() => source.bytesRead === 8, "the second bytes");
    from.write("three");
    await until(() => source.bytesRead === 13, "the third bytes");
    from.end();
    await until(() => got.ended, "the FIN");
    await within(moved);
    assertEquals(
      [text(await within(Promise.resolve(besides))), got.text].sort(),
      got.text === "one two " ? ["one two ", "three"] : ["one three", "two "],
    );
  } finally {
    await close();
  }
});

test("`connect()` with a `splice` of two connections", async () => {
  const left = await ends();
  try {
    const got = collect(left.to);
    const both = splice(left.source, left.sink);
    const moved = join(both, both);
    left.from.write("around");
    await until(() => got.text === "around", "the bytes");
    left.from.end();
    await until(() => got.ended, "the FIN");
    await within(moved);
  } finally {
    await left.close();
  }
});

test("`connect()` with a timeout still ends a sink that is too slow", async () => {
  const { from, source, sink, close } = await ends();
  try {
    const moved = join(source, sink, { timeout: 50 });
    moved.catch(() => {});
    void pour(from, 64 * MIB);
    const error = await assertRejects(() => within(moved, 20_000)) as Error;
    assertEquals(error.name, "TimeoutError");
  } finally {
    await close();
  }
});
