// `pipeTo` of a connection's Web Stream is ours where its bytes can go past
// the streams: here it is held to what the Streams standard says of it.

import { describe, test } from "node:test";
import {
  assert,
  assertEquals,
  assertInstanceOf,
  assertRejects,
  assertStrictEquals,
} from "./assert.ts";
import { until, within } from "./_support.ts";
import { collect } from "./_tcp_support.ts";
import { ends, text } from "./_tcp_flow.ts";

/** Runs a test with two connections and their peers. */
function withEnds(
  name: string,
  run: (all: Awaited<ReturnType<typeof ends>>) => Promise<void>,
): void {
  test(name, async () => {
    const all = await ends();
    try {
      await run(all);
    } finally {
      await all.close();
    }
  });
}

describe("pipeTo() of a connection's readable", () => {
  withEnds("locks both streams while it runs", async (all) => {
    const { readable } = all.source;
    const { writable } = all.sink;
    const piped = readable.pipeTo(writable);
    assertEquals([readable.locked, writable.locked], [true, true]);
    await assertRejects(() => readable.pipeTo(writable), TypeError);
    all.from.end("bye");
    await within(piped);
    assertEquals([readable.locked, writable.locked], [false, false]);
    // Both have ended, and say so.
    const { done } = await within(readable.getReader().read());
    assertEquals(done, true);
    await within(writable.getWriter().closed);
  });

  withEnds("with `preventClose` leaves the destination open", async (all) => {
    const got = collect(all.to);
    all.from.end("one ");
    const { writable } = all.sink;
    await within(
      all.source.readable.pipeTo(writable, { preventClose: true }),
    );
    const writer = writable.getWriter();
    await within(writer.write("two"));
    await within(writer.close());
    await until(() => got.ended, "the FIN");
    assertEquals(got.text, "one two");
  });

  withEnds("aborts the destination with the source's error", async (all) => {
    const { writable } = all.sink;
    const piped = all.source.readable.pipeTo(writable);
    piped.catch(() => {});
    all.source.destroy(new Error("broken"));
    const error = await assertRejects(() => within(piped));
    const closed = writable.getWriter().closed;
    assertStrictEquals(await assertRejects(() => within(closed)), error);
    assertEquals((await within(all.sink.closed)).clean, false);
  });

  withEnds("with `preventAbort` leaves it as it is", async (all) => {
    const got = collect(all.to);
    const { writable } = all.sink;
    const piped = all.source.readable.pipeTo(writable, { preventAbort: true });
    piped.catch(() => {});
    all.source.destroy(new Error("broken"));
    await assertRejects(() => within(piped), Error, "broken");
    const writer = writable.getWriter();
    await within(writer.write("still here"));
    await within(writer.close());
    await until(() => got.ended, "the FIN");
    assertEquals(got.text, "still here");
  });

  withEnds("cancels the source with the destination's error", async (all) => {
    const { readable } = all.source;
    const piped = readable.pipeTo(all.sink.writable);
    piped.catch(() => {});
    all.sink.destroy(new Error("broken"));
    const error = await assertRejects(() => within(piped)) as Error;
    assert(`${error}${error.cause}`.includes("broken"), `${error}`);
    const { clean } = await within(all.source.closed);
    assertEquals(clean, false);
    assertEquals(readable.locked, false);
  });

  withEnds("with `preventCancel` leaves the source as it is", async (all) => {
    const { readable } = all.source;
    const options = { preventCancel: true };
    const piped = readable.pipeTo(all.sink.writable, options);
    piped.catch(() => {});
    all.sink.destroy(new Error("broken"));
    await assertRejects(() => within(piped));
    all.from.write("still here");
    const { value } = await within(readable.getReader().read());
    assertEquals(text(value), "still here");
  });

  withEnds("with a signal that has aborted moves nothing", async (all) => {
    const reason = new Error("enough");
    const { readable } = all.source;
    const piped = readable.pipeTo(all.sink.writable, {
      signal: AbortSignal.abort(reason),
      preventAbort: true,
      preventCancel: true,
    });
    assertStrictEquals(await assertRejects(() => within(piped)), reason);
    assertEquals([readable.locked, all.sink.writable.locked], [false, false]);
  });

  withEnds("aborted destroys only what it is not kept from", async (all) => {
    const controller = new AbortController();
    const reason = new Error("enough");
    const piped = all.source.readable.pipeTo(all.sink.writable, {
      signal: controller.signal,
      preventAbort: true,
    });
    piped.catch(() => {});
    controller.abort(reason);
    assertStrictEquals(await assertRejects(() => within(piped)), reason);
    const { error } = await within(all.source.closed);
    assertStrictEquals(error?.cause, reason);
    assertEquals(await all.sink.send("still here"), true);
  });

  withEnds("refuses what is no destination and no signal", async (all) => {
    const { readable } = all.source;
    const pipeTo = (destination: unknown, options?: unknown) =>
      readable.pipeTo(
        destination as WritableStream<Uint8Array>,
        options as StreamPipeOptions,
      );
    await assertRejects(() => pipeTo(undefined), TypeError);
    await assertRejects(() => pipeTo({}), TypeError);
    const { writable } = all.sink;
    await assertRejects(() => pipeTo(writable, { signal: {} }), TypeError);
    assertEquals([readable.locked, writable.locked], [false, false]);
  });

  withEnds("to one that is about to close cancels the source", async (all) => {
    const { writable } = all.sink;
    const closed = writable.close();
    const piped = all.source.readable.pipeTo(writable);
    const error = await assertRejects(() => within(piped));
    assertInstanceOf(error, TypeError);
    await within(closed);
    assertEquals((await within(all.source.closed)).clean, false);
  });

  withEnds("keeps what its streams hold in order", async (all) => {
    const got = collect(all.to);
    const { readable } = all.source;
    const { writable } = all.sink;
    // Asked for, and then given up: the stream gets it, whenever it comes.
    const reader = readable.getReader();
    const read = reader.read();
    read.catch(() => {});
    reader.releaseLock();
    const writer = writable.getWriter();
    const written = writer.write("zero ");
    writer.releaseLock();
    const piped = readable.pipeTo(writable);
    all.from.write("one ");
    await until(() => got.text === "zero one ", "the first two");
    all.from.end("two");
    await within(written);
    await within(piped);
    await until(() => got.ended, "the FIN");
    assertEquals(got.text, "zero one two");
  });

  withEnds("to a stream of somebody else's is the runtime's", async (all) => {
    const got = collect(all.to);
    const seen: string[] = [];
    const through = new TransformStream<Uint8Array, Uint8Array>({
      transform(chunk, controller) {
        seen.push(text(chunk));
        controller.enqueue(chunk);
      },
    });
    const piped = all.source.readable.pipeThrough(through)
      .pipeTo(all.sink.writable);
    all.from.end("looked at");
    await within(piped);
    await until(() => got.ended, "the FIN");
    assertEquals([got.text, seen.join("")], ["looked at", "looked at"]);
  });

  withEnds("again and again gives all, whoever is next", async (all) => {
    const got = collect(all.to);
    const { readable } = all.source;
    const { writable } = all.sink;
    for (let i = 0; i < 3; i++) {
      const controller = new AbortController();
      const piped = readable.pipeTo(writable, {
        signal: controller.signal,
        preventAbort: true,
        preventCancel: true,
      });
      piped.catch(() => {});
      all.from.write(`${i}a `);
      await until(() => got.text.endsWith(`${i}a `), "what was piped");
      controller.abort();
      await assertRejects(() => within(piped));
      const reader = readable.getReader();
      all.from.write(`${i}b `);
      const { value } = await within(reader.read());
      reader.releaseLock();
      const writer = writable.getWriter();
      await within(writer.write(value!));
      writer.releaseLock();
      await until(() => got.text.endsWith(`${i}b `), "what was read");
    }
    assertEquals(got.text, "0a 0b 1a 1b 2a 2b ");
  });
});
