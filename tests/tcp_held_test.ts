// What a transport does whose first bytes others have read (a proxy's answer,
// a PROXY header), told with one below that does nothing by itself.

import { describe, test } from "node:test";
import { setImmediate } from "node:timers";
import { assert, assertEquals, assertStrictEquals } from "./assert.ts";
import { Handmade } from "./_handmade.ts";
import { NetError } from "../streams/mod.ts";
import { HeldTransport } from "../tcp/_held.ts";
import type { TransportEvents } from "../tcp/_transport.ts";

interface Bench {
  readonly below: Handmade;
  readonly held: HeldTransport;
  readonly events: TransportEvents;
  /** What the listener was told, in order. */
  readonly told: unknown[];
}

function bench(rest: string, onData?: () => void): Bench {
  const below = new Handmade();
  const told: unknown[] = [];
  return {
    below,
    held: new HeldTransport(below, new TextEncoder().encode(rest)),
    told,
    events: {
      data(chunk) {
        told.push(new TextDecoder().decode(chunk));
        onData?.();
      },
      end: () => void told.push("end"),
      drain: () => void told.push("drain"),
      close: (error) => void told.push(error ?? "close"),
    },
  };
}

/** Behind all that was put off until now. */
const turn = () => new Promise<void>((resolve) => setImmediate(resolve));
const bytes = (text: string) => new TextEncoder().encode(text);

describe("HeldTransport", () => {
  test("stops the one below, tells what was left and came meanwhile, and steps aside", async () => {
    const { below, held, told, events } = bench("one");
    assert(below.paused);
    below.events.data(bytes("two"));
    held.attach(events);
    assertEquals(told, []);
    await turn();
    assertEquals(told, ["one", "two"]);
    assertEquals(below.paused, false);
    assertStrictEquals(below.events, events);
  });

  test("tells nothing while it is paused, nor an end that has come", async () => {
    const { below, held, told, events } = bench("one");
    below.events.end();
    held.pause();
    held.attach(events);
    await turn();
    assertEquals(told, []);
    held.resume();
    await turn();
    assertEquals(told, ["one", "end"]);
  });

  test("goes no further than the listener wants", async () => {
    const { below, held, told, events } = bench("one", () => held.pause());
    below.events.data(bytes("two"));
    below.events.end();
    held.attach(events);
    await turn();
    assertEquals(told, ["one"]);
    assert(below.paused);
    held.resume();
    await turn();
    assertEquals(told, ["one", "two"]);
    held.resume();
    await turn();
    assertEquals(told, ["one", "two", "end"]);
    held.resume();
    assertEquals(below.paused, false);
  });

  test("tells what came before an orderly close, and that once", async () => {
    const { below, held, told, events } = bench("one");
    below.events.close();
    held.attach(events);
    await turn();
    held.resume();
    await turn();
    assertEquals(told, ["one", "close"]);
  });

  test("tells only the error of a connection that was cut", async () => {
    const { below, held, told, events } = bench("one");
    const error = new NetError("Cut", { code: "ECONNRESET" });
    below.events.end();
    below.events.close(error);
    held.attach(events);
    await turn();
    assertEquals(told, [error]);
  });

  for (const way of ["destroy", "reset"] as const) {
    test(`${way}() drops what it holds`, async () => {
      const { below, held, told, events } = bench("one");
      held.attach(events);
      held[way]();
      below.events.data(bytes("late"));
      await turn();
      assertEquals(told, ["close"]);
      assert(below.over);
    });
  }

  test("a listener that comes later has all that is still to be told", async () => {
    const { below, held, told, events } = bench("one");
    const early: string[] = [];
    held.attach({ ...events, data: () => void early.push("data") });
    held.attach(events);
    await turn();
    held.attach({ ...events, data: () => void early.push("next") });
    below.give(1, 1);
    assertEquals(told, ["one"]);
    assertEquals(early, ["next"]);
  });
});
