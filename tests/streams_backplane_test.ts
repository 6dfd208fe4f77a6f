import { after, before, describe, test } from "node:test";
import { assert, assertEquals, assertRejects } from "./assert.ts";
import { Broker, clients } from "./_brokers.ts";
import type { Client } from "./_brokers.ts";
import { needs, tool, until, within } from "./_support.ts";
import { backplane, Bus } from "../streams/mod.ts";
import type {
  BackplaneLink,
  BackplaneLoss,
  BackplaneOptions,
} from "../streams/mod.ts";

const PATIENCE = 20_000;

/** A process among others, as far as the broker can tell. */
class Place<T> {
  readonly bus = new Bus<T>();
  readonly losses: BackplaneLoss[] = [];
  link!: BackplaneLink;
  #close!: () => unknown;

  async open(
    client: Client,
    port: number,
    options: BackplaneOptions<T> = {},
  ): Promise<this> {
    const { engine, close } = await client.open(port);
    this.#close = close;
    this.link = await within(
      backplane(this.bus, engine, {
        onLoss: (loss) => this.losses.push(loss),
        ...options,
      }),
      PATIENCE,
    );
    await until(() => this.link.connected, "The connection", PATIENCE);
    await this.link.settled();
    return this;
  }

  async close(): Promise<void> {
    await within(this.link.close({ timeout: 1000 }), PATIENCE);
    await this.#close();
  }

  lost(direction: "in" | "out"): number {
    return this.losses.reduce(
      (sum, loss) => sum + (loss.direction === direction ? loss.count : 0),
      0,
    );
  }
}

async function places<T, R>(
  client: Client,
  broker: Broker,
  options: BackplaneOptions<T>,
  run: (here: Place<T>, there: Place<T>) => Promise<R>,
): Promise<R> {
  const opened: Place<T>[] = [];
  try {
    for (let i = 0; i < 2; i++) {
      opened.push(await new Place<T>().open(client, broker.port, options));
    }
    return await run(opened[0], opened[1]);
  } finally {
    for (const place of opened) await place.close();
  }
}

async function take<T>(
  source: { receive(): T | undefined | Promise<T | undefined> },
  count: number,
): Promise<(T | undefined)[]> {
  const list: (T | undefined)[] = [];
  while (list.length < count) {
    list.push(
      await within(
        Promise.resolve(source.receive()),
        PATIENCE,
        `Message ${list.length + 1} of ${count}`,
      ),
    );
  }
  return list;
}

for (const name of ["nats-server", "redis-server"] as const) {
  describe(`backplane over ${name}`, { skip: needs(name) }, () => {
    const broker = new Broker(name);
    before(async () => {
      if (tool(name) !== undefined) await broker.start();
    });
    after(() => broker.kill());

    for (const client of clients.filter(({ broker }) => broker === name)) {
      testClient(client, broker);
    }
  });
}

function testClient(client: Client, broker: Broker): void {
  test(`\`backplane()\` brings what is published to other processes, with ${client.name}`, async () => {
    await places<unknown, void>(client, broker, {}, async (here, there) => {
      const own = here.bus.subscribe("room");
      const other = there.bus.subscribe("room");
      await Promise.all([here.link.settled(), there.link.settled()]);
      const bytes = Uint8Array.from({ length: 256 }, (_, n) => n);
      const messages = ["één\n€ 😀", "", bytes, { a: [1, null] }, 5, false];
      for (const message of messages) {
        // The number is that of the subscribers here.
        assertEquals(here.bus.publish("room", message), 1);
      }
      assertEquals(await take(other, messages.length), messages);
      assertEquals(there.bus.publish("room", "back"), 1);
      // Once each: own messages do not come back.
      assertEquals(await take(own, messages.length + 1), [...messages, "back"]);
      assertEquals(await take(other, 1), ["back"]);
      assertEquals([here.link.lost, there.link.lost], [0, 0]);
    });
  });

  test(`\`backplane()\` keeps the order, and each message once, with ${client.name}`, async () => {
    await places<number, void>(client, broker, {}, async (here, there) => {
      const capacity = 5000;
      const other = there.bus.subscribe("a", { capacity });
      const second = there.bus.subscribe("b", { capacity });
      await there.link.settled();
      for (let n = 0; n < 500; n++) {
        await here.bus.publish("a", n);
        await here.bus.publish("b", -n);
      }
      const numbers = [...Array(500).keys()];
      assertEquals(await take(other, 500), numbers);
      assertEquals(await take(second, 500), numbers.map((n) => -n));
      assertEquals([other.buffered, second.buffered], [0, 0]);
      await until(() => here.link.buffered === 0, "The queue", PATIENCE);
      assertEquals([here.link.lost, there.link.lost], [0, 0]);
    });
  });

  test(`\`backplane()\` takes every topic for itself alone, with ${client.name}`, async () => {
    await places<string, void>(client, broker, {}, async (here, there) => {
      const topics = [
        ...["*", ">", "a.*", "a.b", "a..b", ".", "a b", "a\r\nPUB x 0", "%2A"],
        ...["$SYS.x", "é€😀", "A", "a", "", "x?[y]"],
      ];
      const subscriptions = topics.map((topic) => there.bus.subscribe(topic));
      await there.link.settled();
      for (const topic of topics) await here.bus.publish(topic, topic);
      for (const [i, subscription] of subscriptions.entries()) {
        assertEquals(await take(subscription, 1), [topics[i]]);
      }
      await here.bus.publish("a", "last");
      assertEquals(await take(subscriptions[topics.indexOf("a")], 1), ["last"]);
      for (const { buffered } of subscriptions) assertEquals(buffered, 0);
    });
  });

  test(`\`backplane()\` follows who comes and goes, with ${client.name}`, async () => {
    await places<number, void>(client, broker, {}, async (here, there) => {
      for (let n = 0; n < 20; n++) {
        const first = there.bus.subscribe("a");
        const second = there.bus.subscribe("a");
        if (n % 3 === 0) {
          first.close();
          second.close();
          continue;
        }
        first.close();
        await there.link.settled();
        await here.bus.publish("a", n);
        assertEquals(await take(second, 1), [n]);
        second.close();
        if (n % 2 === 0) await there.link.settled();
      }
      assertEquals([here.link.lost, there.link.lost], [0, 0]);
      await here.link.close();
      assertEquals(here.bus.publish("a", 1), 0);
    });
  });

  test(`\`backplane()\` outlives its broker, and tells what was lost, with ${client.name}`, async () => {
    const options = { capacity: 100 };
    await places<number, void>(client, broker, options, async (here, there) => {
      const other = there.bus.subscribe("a", { capacity: 1000 });
      await there.link.settled();
      await here.bus.publish("a", 0);
      assertEquals(await take(other, 1), [0]);
      // It may have arrived before the broker's word that it has it.
      assertEquals(await within(here.link.flush(), PATIENCE), true);

      await broker.kill();
      await until(
        () => !here.link.connected && !there.link.connected,
        "The end of the connections",
        PATIENCE,
      );
      // There is room for a hundred of them: the oldest go.
      for (let n = 1; n <= 150; n++) {
        assertEquals(here.bus.publish("a", n), 0);
      }
      assertEquals([here.lost("out"), here.link.buffered], [50, 100]);
      assertEquals(here.losses[0].error.code, "ERR_SIZE_LIMIT");
      assertEquals(here.losses[0].topic, "a");

      await broker.restart();
      await until(
        () => here.link.connected && there.link.connected,
        "The connections",
        PATIENCE,
      );
      await until(() => here.link.buffered === 0, "The queue", PATIENCE);
      // Whatever it misses before it is heard again, it knows of.
      let last = 0;
      let received = 0;
      for (let n = 151; last < 151; n++) {
        await here.bus.publish("a", n);
        while (other.buffered > 0) {
          const message = (await other.receive())!;
          assert(message > last, `${message} after ${last}`);
          last = message;
          received++;
        }
        assert(n < 5000, "Nothing arrives any more");
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      assertEquals(received + there.lost("in"), last);
      assert(there.lost("in") >= 50);
      assertEquals(there.link.lost, there.lost("in"));
      assertEquals(here.link.lost, 50);
    });
  });

  test(`\`backplane()\` loses what its broker has not taken by the end, with ${client.name}`, async () => {
    const here = await new Place<number>().open(client, broker.port);
    const own = here.bus.subscribe("a");
    await here.link.settled();
    await broker.kill();
    await until(() => !here.link.connected, "The end", PATIENCE);
    assertEquals(here.bus.publish("a", 1), 1);
    await within(here.link.close({ timeout: 10 }), PATIENCE);
    assertEquals([here.lost("out"), here.link.lost], [1, 1]);
    assertEquals(here.losses[0].error.code, "ERR_CLOSED");
    assertEquals(own.receive(), 1);
    // A second one finds the first's end.
    await here.close();
    await broker.restart();
  });

  test(`\`backplane()\` refuses what is too large, with ${client.name}`, async () => {
    const options = { maxMessageSize: 1000 };
    await places<string, void>(client, broker, options, async (here, there) => {
      const other = there.bus.subscribe("a");
      await there.link.settled();
      await assertRejects(
        async () => await here.bus.publish("a", "€".repeat(334)),
        Error,
        "maxMessageSize",
      );
      await here.bus.publish("a", "€".repeat(333));
      assertEquals(await take(other, 1), ["€".repeat(333)]);
    });
  });
}
