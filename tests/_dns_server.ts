import * as dgram from "node:dgram";
import * as net from "node:net";

/** A question as the server of a test sees it. */
export interface Asked {
  readonly id: number;
  readonly name: string;
  readonly type: "A" | "AAAA";
  readonly tcp: boolean;
  /** Size of datagrams that EDNS0 says; `undefined` without. */
  readonly edns: number | undefined;
  /** Port that it comes from. */
  readonly port: number;
}

/** A record: its type is told by its data. */
export interface TestRecord {
  readonly name: string;
  readonly ttl?: number;
  readonly a?: string;
  readonly aaaa?: readonly number[];
  readonly cname?: string;
  readonly soa?: number;
  readonly raw?: readonly [type: number, data: readonly number[]];
}

export interface TestAnswer {
  readonly id?: number;
  readonly name?: string;
  readonly type?: number;
  readonly flags?: number;
  readonly rcode?: number;
  readonly answers?: readonly TestRecord[];
  readonly authority?: readonly TestRecord[];
}

type Reply = TestAnswer | Uint8Array | undefined;

export interface DnsTestServer {
  readonly address: string;
  readonly asked: Asked[];
  /** TCP connections open now. */
  readonly open: number;
  close(): Promise<void>;
}

function nameBytes(name: string): number[] {
  const bytes: number[] = [];
  for (const label of name === "" ? [] : name.split(".")) {
    bytes.push(label.length);
    for (const char of label) bytes.push(char.charCodeAt(0));
  }
  return [...bytes, 0];
}

const u16 = (value: number) => [value >> 8 & 255, value & 255];
const u32 = (value: number) => [...u16(value >>> 16), ...u16(value & 0xffff)];

function recordBytes(record: TestRecord): number[] {
  const { name, ttl = 60, a, aaaa, cname, soa, raw } = record;
  const [type, data] = a !== undefined
    ? [1, a.split(".").map(Number)]
    : aaaa !== undefined
    ? [28, aaaa]
    : cname !== undefined
    ? [5, nameBytes(cname)]
    : soa !== undefined
    ? [6, [
      ...nameBytes("ns"),
      ...nameBytes("me"),
      ...[1, 2, 3, 4, soa].flatMap(u32),
    ]]
    : raw!;
  return [
    ...nameBytes(name),
    ...u16(type),
    ...u16(1),
    ...u32(ttl),
    ...u16(data.length),
    ...data,
  ];
}

/** The bytes of an answer to a question. */
export function dnsMessage(asked: Asked, answer: TestAnswer): Uint8Array {
  const { answers = [], authority = [] } = answer;
  return Uint8Array.from([
    ...u16(answer.id ?? asked.id),
    ...u16((answer.flags ?? 0x8180) | (answer.rcode ?? 0)),
    ...[1, answers.length, authority.length, 0].flatMap(u16),
    ...nameBytes(answer.name ?? asked.name),
    ...u16(answer.type ?? (asked.type === "A" ? 1 : 28)),
    ...u16(1),
    ...[...answers, ...authority].flatMap(recordBytes),
  ]);
}

function parse(
  bytes: Uint8Array,
  tcp: boolean,
  port: number,
): Asked {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const labels: string[] = [];
  let at = 12;
  for (; bytes[at] !== 0; at += bytes[at] + 1) {
    labels.push(
      String.fromCharCode(...bytes.subarray(at + 1, at + 1 + bytes[at])),
    );
  }
  return {
    id: view.getUint16(0),
    name: labels.join("."),
    type: view.getUint16(at + 1) === 1 ? "A" : "AAAA",
    edns: view.getUint16(10) === 1 ? view.getUint16(at + 8) : undefined,
    tcp,
    port,
  };
}

/** A server of DNS on loopback, over UDP and TCP on one port. */
export async function dnsServer(
  answer: (asked: Asked) => Reply | readonly Reply[] | Promise<Reply>,
): Promise<DnsTestServer> {
  const asked: Asked[] = [];
  const sockets = new Set<net.Socket>();
  const reply = async (
    question: Asked,
    send: (bytes: Uint8Array) => void,
  ) => {
    asked.push(question);
    const given = await answer(question);
    for (
      const one of Array.isArray(given) ? given as Reply[] : [given as Reply]
    ) {
      if (one === undefined) continue;
      send(one instanceof Uint8Array ? one : dnsMessage(question, one));
    }
  };
  const tcp = net.createServer((socket: net.Socket) => {
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket));
    socket.on("error", () => {});
    let held: number[] = [];
    socket.on("data", (chunk: Uint8Array) => {
      held = [...held, ...chunk];
      const length = held[0] << 8 | held[1];
      if (held.length < length + 2) return;
      const bytes = Uint8Array.from(held.slice(2, length + 2));
      held = held.slice(length + 2);
      const question = parse(bytes, true, socket.remotePort ?? 0);
      void reply(question, (bytes) => {
        // In two writes: a length may come by itself.
        socket.write(Uint8Array.from(u16(bytes.length)));
        socket.write(bytes);
      });
    });
  });
  // A port that is free for both.
  let udp: dgram.Socket;
  for (;;) {
    udp = dgram.createSocket("udp4");
    await new Promise<void>((resolve) => {
      udp.bind(0, "127.0.0.1", () => resolve());
    });
    const { port } = udp.address();
    const free = await new Promise<boolean>((resolve) => {
      const taken = () => resolve(false);
      tcp.once("error", taken);
      tcp.listen(port, "127.0.0.1", () => {
        tcp.off("error", taken);
        resolve(true);
      });
    });
    if (free) break;
    udp.close();
  }
  udp.on("message", (bytes: Uint8Array, { port, address }) => {
    void reply(parse(bytes, false, port), (bytes) => {
      udp.send(bytes, port, address);
    });
  });
  return {
    address: `127.0.0.1:${udp.address().port}`,
    asked,
    get open() {
      return sockets.size;
    },
    async close() {
      await new Promise<void>((resolve) => udp.close(() => resolve()));
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => tcp.close(() => resolve()));
    },
  };
}
