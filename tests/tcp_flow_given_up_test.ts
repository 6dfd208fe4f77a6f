import { describe, test } from "node:test";
import { createHash } from "node:crypto";
import { assertEquals, assertRejects, assertStrictEquals } from "./assert.ts";
import { until, within } from "./_support.ts";
import { collect } from "./_tcp_support.ts";
import {
  block,
  ends,
  MIB,
  portOf,
  pour,
  summed,
  sumOf,
  text,
  ways,
} from "./_tcp_flow.ts";
import { ca, pair } from "./_tls_support.ts";
import { connect, serve } from "../tcp/mod.ts";

for (const [name, move] of Object.entries(ways)) {
  describe(`${name} between connections`, () => {
    test("aborted hands both back, and loses nothing", async () => {
      const { from, source, sink, to, close } = await ends();
      try {
        const size = 32 * MIB;
        const got = summed(to);
        void pour(from, size).then(() => from.end());
        for (const mark of [4 * MIB, 8 * MIB, 16 * MIB]) {
          const controller = new AbortController();
          const reason = new Error(`at ${mark}`);
          const moved = move(source, sink, {
            signal: controller.signal,
            keepSink: true,
            keepSource: true,
          });
          moved.catch(() => {});
          await until(() => source.bytesRead >= mark, "bytes", 20_000);
          controller.abort(reason);
          const told = await assertRejects(() => within(moved));
          assertStrictEquals(told, reason);
        }
        // By hand from here on, until its end.
        if (name === "connect()") {
          for await (const chunk of source) await sink.send(chunk);
        } else {
          for await (const chunk of source.readable) await sink.send(chunk);
        }
        await within(sink.closeWrite());
        assertEquals(await within(got, 20_000), { size, sum: sumOf(size) });
      } finally {
        await close();
      }
    });

    test("aborted while the sink's peer does not read, too", async () => {
      const { from, source, sink, to, close } = await ends();
      try {
        const size = 24 * MIB;
        const controller = new AbortController();
        const moved = move(source, sink, {
          signal: controller.signal,
          keepSink: true,
          keepSource: true,
        });
        moved.catch(() => {});
        void pour(from, size).then(() => from.end());
        await until(() => sink.buffered > 0, "the kernel's refusal", 20_000);
        controller.abort();
        await assertRejects(() => within(moved));
        const got = summed(to);
        await within(move(source, sink), 20_000);
        assertEquals(await within(got, 20_000), { size, sum: sumOf(size) });
      } finally {
        await close();
      }
    });

    test("aborted ends both unless they are to be kept", async () => {
      const { from, source, sink, to, close } = await ends();
      try {
        const [there, back] = [collect(to), collect(from)];
        const controller = new AbortController();
        const moved = move(source, sink, { signal: controller.signal });
        moved.catch(() => {});
        from.write("a");
        await until(() => there.text === "a", "the first byte");
        const reason = new Error("enough");
        controller.abort(reason);
        assertStrictEquals(await assertRejects(() => within(moved)), reason);
        for (const end of [source, sink]) {
          const { error } = await within(end.closed);
          assertStrictEquals(error?.cause, reason);
        }
        for (const seen of [there, back]) {
          await until(() => seen.ended || seen.closed, "the peers' ends");
        }
      } finally {
        await close();
      }
    });

    test("leaves the sink open when it is told to", async () => {
      const { from, source, sink, to, close } = await ends();
      try {
        const got = collect(to);
        from.end("from the source, ");
        await within(move(source, sink, { keepSink: true }));
        await sink.send("and more");
        await within(sink.closeWrite());
        await until(() => got.ended, "the FIN");
        assertEquals(got.text, "from the source, and more");
      } finally {
        await close();
      }
    });

    test("leaves the source open when it is told to", async () => {
      const { from, source, sink, to, close } = await ends();
      try {
        const got = collect(to);
        const moved = move(source, sink, { keepSource: true });
        moved.catch(() => {});
        from.write("one");
        await until(() => got.text === "one", "the first bytes");
        sink.destroy(new Error("gone"));
        await assertRejects(() => within(moved));
        from.write("two");
        const chunk = name === "connect()"
          ? await source.receive()
          : (await source.readable.getReader().read()).value;
        assertEquals(text(chunk), "two");
        assertEquals(await source.send("still here"), true);
      } finally {
        await close();
      }
    });

    test("takes its turn with who sends besides", async () => {
      const { from, source, sink, to, close } = await ends();
      try {
        const hash = createHash("sha256");
        let size = 0;
        let others = 0;
        const ended = new Promise<void>((resolve) =>
          to.once("end", () => resolve())
        );
        // The block has no byte of 255: see below.
        to.on("data", (chunk: Uint8Array) => {
          for (let at = 0;;) {
            const mark = chunk.indexOf(255, at);
            const own = chunk.subarray(at, mark < 0 ? chunk.byteLength : mark);
            hash.update(own);
            size += own.byteLength;
            if (mark < 0) break;
            others++;
            at = mark + 1;
          }
        });
        to.resume();
        const moved = move(source, sink, { keepSink: true });
        const low = block.map((byte) => byte & 127);
        const expected = createHash("sha256");
        const poured = (async () => {
          for (let i = 0; i < 16; i++) {
            expected.update(low);
            if (!from.write(low)) {
              await new Promise<void>((resolve) => from.once("drain", resolve));
            }
          }
          from.end();
        })();
        const sign = new Uint8Array(64 * 1024).fill(255);
        let sent = 0;
        while (sink.bytesWritten < 10 * block.byteLength) {
          assertEquals(await sink.send(sign), true);
          sent += sign.byteLength;
        }
        await within(poured);
        await within(moved, 20_000);
        await within(sink.closeWrite());
        await within(ended, 20_000);
        assertEquals([size, others], [16 * low.byteLength, sent]);
        assertEquals(hash.digest("hex"), expected.digest("hex"));
      } finally {
        await close();
      }
    });
  });
}

for (const side of ["source", "sink", "both"] as const) {
  for (const [name, move] of Object.entries(ways)) {
    test(`${name} with TLS: ${side}`, async () => {
      const size = 4 * MIB;
      const tls = pair("server");
      const target = await serve((connection) => move(connection, connection), {
        hostname: "127.0.0.1",
        port: 0,
        ...(side === "source" ? {} : { tls }),
      });
      const server = await serve(async (client) => {
        const upstream = await connect({
          hostname: "127.0.0.1",
          port: portOf(target),
          ...(side === "source" ? {} : { tls: { ca } }),
        });
        await Promise.all([move(client, upstream), move(upstream, client)]);
      }, {
        hostname: "127.0.0.1",
        port: 0,
        ...(side === "sink" ? {} : { tls }),
      });
      try {
        const client = await connect({
          hostname: "127.0.0.1",
          port: portOf(server),
          ...(side === "sink" ? {} : { tls: { ca } }),
        });
        const hash = createHash("sha256");
        let got = 0;
        const received = (async () => {
          for await (const chunk of client) {
            got += chunk.byteLength;
            hash.update(chunk);
          }
        })();
        for (let left = size; left > 0; left -= block.byteLength) {
          await client.send(block.slice(0, left));
        }
        await client.closeWrite();
        await within(received, 20_000);
        assertEquals([got, hash.digest("hex")], [size, sumOf(size)]);
        await within(client.close());
      } finally {
        await server.close({ timeout: 0 });
        await target.close({ timeout: 0 });
      }
    });
  }
}
