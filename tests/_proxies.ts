import * as net from "node:net";
import { until, within } from "./_support.ts";
import { pem } from "./_tls_support.ts";
import { connect, serve } from "../tcp/mod.ts";
import type { Connection } from "../tcp/mod.ts";

export const LOCAL = "127.0.0.1";

/** What a proxy is told before bytes go through. */
export interface Told {
  /** `CONNECT` and its like, as text; the bytes of SOCKS, one char each. */
  readonly heads: string[];
  /** Everything that went from the client to the target, one char a byte. */
  readonly through: string[];
  /** Sockets that stand. */
  readonly open: number;
  /** Connections ever taken. */
  readonly taken: number;
  readonly port: number;
  close(): Promise<void>;
}

const latin1 = (bytes: Uint8Array): string =>
  Array.from(bytes, (byte) => String.fromCharCode(byte)).join("");

export const bytesOf = (text: string): Uint8Array =>
  Uint8Array.from(text, (char) => char.charCodeAt(0));

/** A server whose every socket is a script's; it counts what is open. */
export async function scripted(
  script: (socket: net.Socket) => void,
): Promise<Told> {
  const sockets = new Set<net.Socket>();
  const heads: string[] = [];
  let taken = 0;
  const server = net.createServer((socket) => {
    taken++;
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
    socket.on("data", (chunk: Uint8Array) => heads.push(latin1(chunk)));
    script(socket);
  });
  await within(
    new Promise<void>((resolve) => server.listen(0, LOCAL, () => resolve())),
  );
  return {
    heads,
    through: [],
    get open() {
      return sockets.size;
    },
    get taken() {
      return taken;
    },
    port: (server.address() as net.AddressInfo).port,
    async close() {
      const closed = new Promise<void>((resolve) =>
        server.close(() => resolve())
      );
      for (const socket of sockets) socket.destroy();
      await within(closed);
    },
  };
}

/** A server that answers the first bytes it gets with some of its own. */
export function answering(...answers: (string | Uint8Array)[]): Promise<Told> {
  return scripted((socket) => {
    const left = [...answers];
    socket.on("data", () => {
      const answer = left.shift();
      if (answer === undefined) return;
      socket.write(typeof answer === "string" ? bytesOf(answer) : answer);
    });
  });
}

/** Reads as much as it needs from a connection. */
class Reader {
  readonly #connection: Connection;
  held = "";

  constructor(connection: Connection) {
    this.#connection = connection;
  }

  async #more(): Promise<void> {
    const chunk = await this.#connection.receive();
    if (chunk === undefined) throw new Error("It ended");
    this.held += latin1(chunk);
  }

  async exactly(size: number): Promise<string> {
    while (this.held.length < size) await this.#more();
    const taken = this.held.slice(0, size);
    this.held = this.held.slice(size);
    return taken;
  }

  async upTo(end: string): Promise<string> {
    while (!this.held.includes(end)) await this.#more();
    return await this.exactly(this.held.indexOf(end) + end.length);
  }
}

const code = (text: string, at: number): number => text.charCodeAt(at);
const portAt = (text: string, at: number): number =>
  code(text, at) * 256 + code(text, at + 1);

interface Wanted {
  hostname: string;
  port: number;
  granted: string;
}

async function readConnect(reader: Reader, told: Told): Promise<Wanted> {
  const head = await reader.upTo("\r\n\r\n");
  told.heads.push(head);
  const [, hostname, port] = /^CONNECT (.+):(\d+) HTTP\/1\.1\r\n/.exec(head)!;
  return {
    hostname: hostname.replace(/^\[(.*)\]$/, "$1"),
    port: Number(port),
    granted: "HTTP/1.1 200 Connection established\r\n\r\n",
  };
}

async function readSocks4(reader: Reader, told: Told): Promise<Wanted> {
  let head = await reader.exactly(8);
  head += await reader.upTo("\0");
  let hostname = [4, 5, 6, 7].map((at) => code(head, at)).join(".");
  if (/^0\.0\.0\.[^0]/.test(hostname)) {
    const name = await reader.upTo("\0");
    head += name;
    hostname = name.slice(0, -1);
  }
  told.heads.push(head);
  return {
    hostname,
    port: portAt(head, 2),
    granted: "\x00\x5a\x00\x00\x00\x00\x00\x00",
  };
}

async function readSocks5(
  reader: Reader,
  told: Told,
  connection: Connection,
): Promise<Wanted> {
  let head = await reader.exactly(2);
  head += await reader.exactly(code(head, 1));
  if (head.includes("\x02", 2)) {
    await connection.send(bytesOf("\x05\x02"));
    head += await reader.exactly(2);
    head += await reader.exactly(code(head, head.length - 1) + 1);
    head += await reader.exactly(code(head, head.length - 1));
    await connection.send(bytesOf("\x01\x00"));
  } else await connection.send(bytesOf("\x05\x00"));
  const request = await reader.exactly(4);
  const kind = code(request, 3);
  const length = kind === 3 ? await reader.exactly(1) : "";
  const size = kind === 1 ? 4 : kind === 4 ? 16 : code(length, 0);
  const where = await reader.exactly(size);
  const port = await reader.exactly(2);
  told.heads.push(head, request + length + where + port);
  const hostname = kind === 3
    ? where
    : kind === 1
    ? Array.from(where, (char) => char.charCodeAt(0)).join(".")
    : "::1";
  return {
    hostname,
    port: portAt(port, 0),
    granted: "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00",
  };
}

/**
 * A proxy that works, of any kind: what it is to do it learns from the first
 * byte. Every name is this machine's for it.
 */
export async function proxy(
  options: { secure?: boolean; hold?: Promise<unknown> } = {},
): Promise<Told> {
  const heads: string[] = [];
  const through: string[] = [];
  let taken = 0;
  const told: { -readonly [K in keyof Told]: Told[K] } = {
    heads,
    through,
    open: 0,
    taken: 0,
    port: 0,
    close: () => within(server.close({ timeout: 0 })),
  };
  const server = await serve(async (connection) => {
    taken++;
    const reader = new Reader(connection);
    const first = await reader.exactly(1);
    reader.held = first + reader.held;
    const wanted = await (first === "C"
      ? readConnect(reader, told)
      : first === "\x04"
      ? readSocks4(reader, told)
      : readSocks5(reader, told, connection));
    await options.hold;
    const target = await connect({
      hostname: wanted.hostname === "::1" ? "::1" : LOCAL,
      port: wanted.port,
    });
    await connection.send(bytesOf(wanted.granted));
    const at = through.push(reader.held) - 1;
    if (reader.held !== "") {
      await target.send(bytesOf(reader.held));
    }
    const up = async () => {
      for await (const chunk of connection) {
        through[at] += latin1(chunk);
        await target.send(chunk);
      }
      await target.closeWrite();
    };
    const down = async () => {
      for await (const chunk of target) {
        await connection.send(chunk);
      }
      await connection.closeWrite();
    };
    try {
      await Promise.all([up(), down()]);
    } finally {
      target.destroy();
    }
  }, {
    hostname: LOCAL,
    port: 0,
    onError: () => {},
    ...(options.secure
      ? { tls: { cert: pem("server.pem"), key: pem("server.key") } }
      : {}),
  });
  const { address } = server;
  Object.defineProperty(told, "open", {
    get: () => server.stats().connections,
  });
  Object.defineProperty(told, "taken", { get: () => taken });
  told.port = address.transport === "unix" ? 0 : address.port;
  return told;
}

/** A server that sends back what comes; whole conversations are counted. */
export async function echoServer(
  options: { tls?: boolean; hostname?: string } = {},
): Promise<{ port: number; open(): number; close(): Promise<void> }> {
  const server = await serve(async (connection) => {
    for await (const chunk of connection) await connection.send(chunk);
  }, {
    hostname: options.hostname ?? LOCAL,
    port: 0,
    onError: () => {},
    ...(options.tls
      ? { tls: { cert: pem("server.pem"), key: pem("server.key") } }
      : {}),
  });
  const { address } = server;
  return {
    port: address.transport === "unix" ? 0 : address.port,
    open: () => server.stats().connections,
    close: () => within(server.close({ timeout: 0 })),
  };
}

/** Fails unless a proxy's sockets all end. */
export function noSocketLeft(told: Told): Promise<void> {
  return until(() => told.open === 0, "no socket at the proxy");
}

/** Sends a text and gives what comes back, as long. */
export async function roundTrip(
  connection: Connection,
  message: string,
): Promise<string> {
  const bytes = new TextEncoder().encode(message);
  await connection.send(bytes);
  const back = await within(connection.read(bytes.byteLength));
  return new TextDecoder().decode(back);
}
