/**
 * Runs in a network namespace of its own, with two ends of a cable, `v0`
 * (10.9.0.1, fd11::1) and `v1`: what multicast does there, as JSON.
 */
import process from "node:process";
import { bind } from "../udp/mod.ts";
import type { Address, BindOptions, NetError, Socket } from "../udp/mod.ts";

const port = (socket: Socket) => (socket.address as { port: number }).port;

/** The texts that come until a marker sent over the loopback does. */
async function drain(socket: Socket, family: 4 | 6): Promise<string[]> {
  const hostname = family === 4 ? "127.0.0.1" : "::1";
  await using_(await bind({ hostname }), async (marker) => {
    await marker.send({ data: "END", hostname, port: port(socket) });
  });
  const list: string[] = [];
  for (;;) {
    const datagram = await socket.receive({ timeout: 5000 });
    const text = new TextDecoder().decode(datagram?.data);
    if (text === "END") return list;
    list.push(text);
  }
}

async function using_<T>(
  socket: Socket,
  body: (socket: Socket) => Promise<T>,
): Promise<T> {
  try {
    return await body(socket);
  } finally {
    await socket.close();
  }
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  try {
    return String(await promise);
  } catch (error) {
    return (error as NetError).code ?? (error as Error).name;
  }
}

interface Family {
  family: 4 | 6;
  any: string;
  group: string;
  other: string;
  through: string;
}

const families: Family[] = [
  {
    family: 4,
    any: "0.0.0.0",
    group: "239.1.2.3",
    other: "239.1.2.4",
    through: "10.9.0.1",
  },
  {
    family: 6,
    any: "::",
    group: "ff05::1:3",
    other: "ff05::1:4",
    through: "v0",
  },
];

async function groups(
  { family, any, group, other, through }: Family,
): Promise<Record<string, unknown>> {
  const receiver = await bind({ hostname: any });
  const send = async (
    data: string,
    options: BindOptions,
    hostname = group,
  ): Promise<string> =>
    await using_(
      await bind({ hostname: any, ...options }),
      async (sender) =>
        await codeOf(
          Promise.resolve(
            sender.send({ data, hostname, port: port(receiver) }),
          ),
        ),
    );
  const multicast = { interface: through };
  const before = await send("not joined", { multicast });
  await receiver.join(group, { interface: through });
  await receiver.join(group, { interface: through });
  const sent = [
    await send("joined", { multicast }),
    await send("with ttl", { multicast: { ...multicast, ttl: 4 } }),
    await send("no loopback", { multicast: { ...multicast, loopback: false } }),
    await send("other group", { multicast }, other),
    await send("loopback", { multicast: { ...multicast, loopback: true } }),
  ];
  const joined = await drain(receiver, family);
  await receiver.leave(group, { interface: through });
  const leftTwice = await codeOf(receiver.leave(group, { interface: through }));
  await send("left", { multicast });
  const left = await drain(receiver, family);
  await receiver.join(group, { interface: through });
  await send("back", { multicast });
  const back = await drain(receiver, family);
  await receiver.close();
  // The socket's own interface is where it joins, too.
  const member = await bind({ hostname: any, multicast });
  await member.join(group);
  await member.send({ data: "to itself", hostname: group, port: port(member) });
  const own = await drain(member, family);
  await member.close();
  return { before, sent, joined, leftTwice, left, back, own };
}

/** Two sockets on one port both hear a group. */
async function shared(): Promise<unknown> {
  const options = { hostname: "0.0.0.0", reuseAddress: true };
  const first = await bind(options);
  const second = await bind({ ...options, port: port(first) });
  const sender = await bind({ multicast: { interface: "10.9.0.1" } });
  for (const socket of [first, second]) {
    await socket.join("239.1.2.3", { interface: "10.9.0.1" });
  }
  await sender.send({
    data: "to both",
    hostname: "239.1.2.3",
    port: port(first),
  });
  const heard: string[] = [];
  for (const socket of [first, second]) {
    const datagram = await socket.receive({ timeout: 5000 });
    heard.push(new TextDecoder().decode(datagram?.data));
    await socket.close();
  }
  await sender.close();
  return heard;
}

/** Broadcasts of the subnet, with and without leave. */
async function broadcast(): Promise<unknown> {
  const receiver = await bind();
  const to = { hostname: "10.9.0.255", port: port(receiver) };
  const results: string[] = [];
  for (const options of [{}, { ttl: 9 }, { broadcast: true }]) {
    await using_(await bind(options), async (sender) => {
      const sent = Promise.resolve(sender.send({ data: "to all", ...to }));
      results.push(await codeOf(sent));
    });
  }
  const heard = await drain(receiver, 4);
  await receiver.close();
  return { results, heard };
}

/** A network that is not there: the socket hears of it and lives on. */
async function unreachable(): Promise<unknown> {
  const errors: string[] = [];
  const socket = await bind({ onError: (error) => errors.push(error.code) });
  const sent = await socket.send({ data: "x", hostname: "8.8.8.8", port: 9 });
  for (let i = 0; i < 500 && errors.length === 0; i++) {
    await new Promise((resolve) => setTimeout(resolve, 2));
  }
  await socket.close();
  return { sent, errors: errors.length };
}

/** A line so slow that the kernel's buffer for sending fills up. */
async function pressure(): Promise<unknown> {
  const receiver = await bind({ hostname: "127.0.0.1" });
  const sender = await bind({ remote: receiver.address as Address });
  const count = 600;
  const data = new Uint8Array(1400);
  let waited = 0;
  let longest = 0;
  const seen = new Set<number>();
  const receiving = (async () => {
    while (seen.size < count) {
      const datagram = await receiver.receive({ timeout: 20_000 });
      if (datagram === undefined) return;
      seen.add(new DataView(datagram.data.buffer).getUint32(0));
    }
  })();
  const start = performance.now();
  for (let i = 0; i < count; i++) {
    new DataView(data.buffer).setUint32(0, i);
    const sent = sender.send({ data });
    if (sent !== true) {
      waited++;
      const before = performance.now();
      if (!await sent) throw new Error("It closed");
      longest = Math.max(longest, performance.now() - before);
    }
  }
  const took = performance.now() - start;
  await receiving;
  const { buffered } = sender;
  await sender.close();
  await receiver.close();
  return {
    seen: seen.size,
    waited: waited > 0,
    took: Math.round(took),
    longest: Math.round(longest),
    buffered,
  };
}

/** A line so slow that it is as good as cut. */
async function stuck(): Promise<unknown> {
  const peer = { transport: "udp", hostname: "127.0.0.1", port: 9 } as const;
  const data = new Uint8Array(1400);
  /** Sends until one has to wait, for more than a turn of the loop. */
  const fill = async (socket: Socket): Promise<() => Promise<boolean>> => {
    for (;;) {
      const sent = socket.send({ data });
      if (sent === true) continue;
      const waited = Symbol();
      const pause = new Promise((r) => setTimeout(r, 50, waited));
      const first = await Promise.race([sent, pause]);
      if (first === waited) return () => sent as Promise<boolean>;
    }
  };
  const nameOf = (promise: unknown) =>
    Promise.resolve(promise).then(String, (error) => error.name);
  const results: Record<string, unknown> = {};

  const a = await bind({ remote: peer });
  const held = await fill(a);
  results.timeout = await nameOf(a.send({ data }, { timeout: 20 }));
  results.buffered = a.buffered > 0;
  const behind = a.send({ data });
  await a.close({ timeout: 50 });
  results.closed = (await a.closed).error?.name;
  results.cut = await Promise.all([held(), behind]);
  results.after = a.buffered;

  const b = await bind({ remote: peer });
  const waiting = await fill(b);
  b.destroy();
  results.destroyed = await waiting();

  const c = await bind({ remote: peer });
  await fill(c);
  const large = new Uint8Array(60_000);
  let last: unknown = true;
  const all: unknown[] = [];
  for (let i = 0; i < 1000 && last !== false; i++) {
    all.push(last = c.send({ data: large }));
  }
  results.flooded = last;
  results.flood = (await c.closed).error?.name;
  results.none = (await Promise.all(all)).every((sent) => sent === false);
  return results;
}

const scenarios: Record<string, () => Promise<unknown>> = {
  groups4: () => groups(families[0]),
  groups6: () => groups(families[1]),
  shared,
  broadcast,
  unreachable,
  pressure,
  stuck,
};

console.log(JSON.stringify(await scenarios[process.argv[2]]()));
process.exit(0);
