import { test } from "node:test";
import { assertEquals } from "./assert.ts";
import { randomly, settled } from "./_streams_support.ts";
import { Channel } from "../streams/mod.ts";
import type { MaybePromise, Overflow } from "../streams/mod.ts";

interface Pending {
  readonly id: number;
  readonly message?: number;
}

/** What a channel is, as plainly as it can be said. */
class Model {
  queue: number[] = [];
  senders: Pending[] = [];
  receivers: Pending[] = [];
  state: "open" | "closed" | "destroyed" | "overflown" = "open";
  dropped = 0;
  readonly outcomes = new Map<number, unknown>();
  readonly capacity: number;
  readonly size: (message: number) => number;
  readonly overflow: Overflow;

  constructor(
    capacity: number,
    size: (message: number) => number,
    overflow: Overflow,
  ) {
    this.capacity = capacity;
    this.size = size;
    this.overflow = overflow;
  }

  get fill(): number {
    return this.queue.reduce((sum, message) => sum + this.size(message), 0);
  }

  get full(): boolean {
    return this.fill >= this.capacity;
  }

  send(id: number, message: number): void {
    if (this.state !== "open") return this.done(id, false);
    const receiver = this.receivers.shift();
    if (receiver !== undefined) {
      this.done(receiver.id, message);
      return this.done(id, true);
    }
    if (this.full && this.overflow === "wait") {
      this.senders.push({ id, message });
      return;
    }
    if (this.full && this.overflow === "drop-newest") {
      this.dropped++;
      return this.done(id, true);
    }
    if (this.full && this.overflow === "close") {
      this.state = "overflown";
      return this.done(id, false);
    }
    while (this.full && this.queue.length > 0) {
      this.queue.shift();
      this.dropped++;
    }
    if (this.full) this.dropped++;
    else this.queue.push(message);
    this.done(id, true);
  }

  receive(id: number): void {
    if (this.queue.length === 0 && this.senders.length > 0) this.admitFirst();
    const message = this.queue.shift();
    if (message !== undefined) {
      this.done(id, message);
      while (this.senders.length > 0 && !this.full) this.admitFirst();
      return;
    }
    if (this.state === "open") this.receivers.push({ id });
    else this.done(id, this.state === "closed" ? undefined : "rejected");
  }

  admitFirst(): void {
    const { id, message } = this.senders.shift()!;
    this.queue.push(message!);
    this.done(id, true);
  }

  abort(id: number): void {
    const is = (pending: Pending) => pending.id === id;
    for (const line of [this.senders, this.receivers]) {
      const at = line.findIndex(is);
      if (at < 0) continue;
      line.splice(at, 1);
      this.done(id, "rejected");
    }
  }

  end(state: "closed" | "destroyed"): void {
    if (state === "destroyed") this.queue = [];
    if (this.state !== "open" && state === "closed") return;
    if (this.state === "closed" && state === "destroyed") {
      // What was queued is dropped; an end that was reached stays clean.
      this.state = this.hadQueued ? "destroyed" : "closed";
      return;
    }
    if (this.state !== "open") return;
    this.state = state;
    for (const { id } of this.senders.splice(0)) this.done(id, false);
    for (const { id } of this.receivers.splice(0)) {
      this.done(id, state === "closed" ? undefined : "rejected");
    }
  }

  hadQueued = false;

  done(id: number, outcome: unknown): void {
    this.outcomes.set(id, outcome);
  }
}

const SIZES: ((message: number) => number)[] = [
  () => 1,
  (message) => message % 4,
  () => 0.25,
];
const POLICIES: Overflow[] = ["wait", "drop-oldest", "drop-newest", "close"];

test("`Channel` does what the model of it does, call by call", async () => {
  for (let seed = 1; seed <= 400; seed++) {
    const random = randomly(seed);
    const capacity = [0, 1, 2, 3, 7][random(5)];
    const size = SIZES[random(3)];
    const overflow = POLICIES[random(2) === 0 ? 0 : random(4)];
    const model = new Model(capacity, size, overflow);
    const channel = new Channel<number>({
      capacity,
      overflow,
      ...(size === SIZES[0] ? {} : { size }),
    });
    const outcomes = new Map<number, unknown>();
    const controllers = new Map<number, AbortController>();
    let ids = 0;
    const note = (id: number, result: MaybePromise<unknown>) => {
      if (!(result instanceof Promise)) {
        outcomes.set(id, result);
      } else {
        result.then(
          (value) => outcomes.set(id, value),
          () => outcomes.set(id, "rejected"),
        );
      }
    };
    const where = `seed ${seed}, capacity ${capacity}, ${overflow}`;
    for (let step = 0; step < 80; step++) {
      const id = ++ids;
      const what = random(100);
      if (what < 80) {
        const controller = random(2) === 0 ? undefined : new AbortController();
        if (controller !== undefined) controllers.set(id, controller);
        const wait = controller && { signal: controller.signal };
        if (what < 42) {
          note(id, channel.send(id, wait));
          model.send(id, id);
        } else {
          note(id, channel.receive(wait));
          model.receive(id);
        }
      } else if (what < 92) {
        await null;
      } else if (what < 97) {
        const pending = [...model.receivers, ...model.senders]
          .map(({ id }) => id).filter((id) => controllers.has(id));
        if (pending.length > 0) {
          const withdrawn = pending[random(pending.length)];
          controllers.get(withdrawn)!.abort(new Error("withdrawn"));
          model.abort(withdrawn);
        }
      } else if (step > 50 && what === 98) {
        channel.close();
        model.end("closed");
      } else if (step > 60 && what === 99) {
        model.hadQueued = model.queue.length > 0;
        channel.destroy(new Error("destroyed"));
        model.end("destroyed");
      }
      assertEquals(
        channel.dropped,
        model.dropped,
        `${where}, step ${step}: dropped`,
      );
    }
    await settled();
    for (let id = 1; id <= ids; id++) {
      assertEquals(outcomes.get(id), model.outcomes.get(id), `${where}: ${id}`);
      assertEquals(outcomes.has(id), model.outcomes.has(id), `${where}: ${id}`);
    }
  }
});
