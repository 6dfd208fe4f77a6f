import { loadRuntime } from "../tcp/_load.ts";
import { runtime as nodeDoor } from "../tcp/_node.ts";
import type {
  ListenOptions,
  RuntimeServer,
  TcpRuntime,
} from "../tcp/_runtime.ts";
import type { Transport, TransportEvents } from "../tcp/_transport.ts";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import * as net from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { runtime, tool, until, within } from "./_support.ts";

/** Deno's door as it is where Deno hides what the methods of sockets call. */
async function byMethods(): Promise<TcpRuntime> {
  const { Deno } = globalThis as unknown as { Deno: { internal: symbol } };
  const { internal } = Deno;
  Object.assign(Deno, { internal: undefined });
  try {
    // Another one than that which is loaded already.
    const { href } = new URL("../tcp/_deno.ts?methods", import.meta.url);
    const door = await import(href) as { runtime: TcpRuntime };
    return door.runtime;
  } finally {
    Object.assign(Deno, { internal });
  }
}

/** Node's door with a `net.Socket` for each, as where it can do no other way. */
const bySockets: TcpRuntime = {
  listen: (options, events) =>
    nodeDoor.listen({ ...options, secure: true }, events),
  connect: (options) => nodeDoor.connect({ ...options, secure: true }),
};

type Door = readonly [string, () => Promise<TcpRuntime>];

/** Every door that works on this runtime: its own, and node:net. */
export const doors: readonly Door[] = [
  ...(runtime === "node" ? [] : [[runtime, loadRuntime] as Door]),
  ...(runtime === "deno" ? [["deno by methods", byMethods] as Door] : []),
  ...(runtime === "node"
    ? [["node", () => Promise.resolve(nodeDoor)] as Door]
    : []),
  ["node:net", () => Promise.resolve(bySockets)],
];

/** Writes down what a transport reports. */
export class Recorder implements TransportEvents {
  readonly chunks: Uint8Array[] = [];
  readonly order: string[] = [];
  bytes = 0;
  drains = 0;
  ended = false;
  closed = false;
  error: unknown;
  /** Called on each chunk. */
  onData: (chunk: Uint8Array) => void = () => {};

  data(chunk: Uint8Array): void {
    if (this.closed || this.ended) this.order.push("late data");
    this.chunks.push(chunk);
    this.bytes += chunk.byteLength;
    this.onData(chunk);
  }
  end(): void {
    this.order.push("end");
    this.ended = true;
  }
  drain(): void {
    this.drains++;
  }
  close(error?: unknown): void {
    this.order.push("close");
    this.closed = true;
    this.error = error;
  }
  get text(): string {
    return this.chunks.map((chunk) => new TextDecoder().decode(chunk)).join("");
  }
  get code(): string | undefined {
    return (this.error as { code?: string } | undefined)?.code;
  }
}

/** A listening door, a raw node:net peer connected to it, and our end. */
export interface Rig {
  readonly door: TcpRuntime;
  readonly server: RuntimeServer;
  readonly port: number;
  readonly errors: unknown[];
  /** Connects a raw socket; the transport that was accepted for it. */
  accept(): Promise<{ peer: net.Socket; transport: Transport }>;
  /** Connects by the door to a raw server; both ends. */
  dial(): Promise<{ peer: net.Socket; transport: Transport }>;
  close(): Promise<void>;
}

export async function rig(
  open: () => Promise<TcpRuntime>,
  options: ListenOptions = { hostname: "127.0.0.1", port: 0 },
): Promise<Rig> {
  const door = await open();
  const accepted: Transport[] = [];
  const errors: unknown[] = [];
  const peers: net.Socket[] = [];
  const transports: Transport[] = [];
  const server = await door.listen(options, {
    connection: (transport) => {
      accepted.push(transport);
      transports.push(transport);
    },
    error: (error) => errors.push(error),
  });
  const { address } = server;
  const port = address.transport === "unix" ? 0 : address.port;
  const rawAccepted: net.Socket[] = [];
  let raw: net.Server | undefined;
  const keep = (peer: net.Socket) => {
    peer.on("error", () => {});
    peers.push(peer);
    return peer;
  };
  return {
    door,
    server,
    port,
    errors,
    async accept() {
      const count = accepted.length;
      const peer = keep(net.connect({
        ...(address.transport === "unix"
          ? { path: address.path }
          : { host: "127.0.0.1", port }),
        allowHalfOpen: true,
      }));
      peer.pause();
      await until(() => accepted.length > count, "accepting");
      return { peer, transport: accepted[count] };
    },
    async dial() {
      if (raw === undefined) {
        const server = raw = net.createServer({
          allowHalfOpen: true,
          pauseOnConnect: true,
        }, (peer) => rawAccepted.push(keep(peer)));
        await within(
          new Promise<void>((resolve) =>
            server.listen(0, "127.0.0.1", () => resolve())
          ),
        );
      }
      const count = rawAccepted.length;
      const { port } = raw.address() as net.AddressInfo;
      const transport = await within(
        door.connect({ hostname: "127.0.0.1", port }),
      );
      transports.push(transport);
      await until(() => rawAccepted.length > count, "the raw accept");
      return { peer: rawAccepted[count], transport };
    },
    async close() {
      for (const transport of transports) transport.destroy();
      for (const peer of peers) peer.destroy();
      raw?.close();
      await server.close();
    },
  };
}

/** What a raw peer has received so far. */
export function collect(peer: net.Socket): {
  bytes: number;
  text: string;
  ended: boolean;
  closed: boolean;
  error?: string;
} {
  const seen: ReturnType<typeof collect> = {
    bytes: 0,
    text: "",
    ended: false,
    closed: false,
  };
  const decoder = new TextDecoder();
  peer.on("data", (chunk: Uint8Array) => {
    seen.bytes += chunk.byteLength;
    if (seen.bytes < 65_536) seen.text += decoder.decode(chunk);
  });
  peer.on("end", () => seen.ended = true);
  peer.on("close", () => seen.closed = true);
  peer.on("error", (error: { code?: string }) => seen.error = error.code);
  peer.resume();
  return seen;
}

/** The bytes of a text. */
export function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}

/** Some turns of the event loop: for what must not happen. */
export async function settle(ms = 30): Promise<void> {
  await new Promise((resolve) => setTimeout(resolve, ms));
}

/** What a peer in a process of its own has seen. */
export interface PeerReport {
  read: number;
  written: number;
  ended: boolean;
  error?: string;
}

/** A raw peer in a process of its own: see `_tcp_peer.mjs`. */
export async function peerProcess(
  side: "listen" | number,
  bytes: number,
  ending: "fin" | "rst" | "hold" = "fin",
  reading: "read" | "deaf" = "read",
): Promise<
  { port: number; readonly seen: Promise<PeerReport>; kill(): void }
> {
  const child = spawn(tool("node")!, [
    fileURLToPath(new URL("./_tcp_peer.mjs", import.meta.url)),
    String(side === "listen" ? 0 : side),
    side === "listen" ? side : "connect",
    String(bytes),
    ending,
    reading,
  ], { stdio: ["ignore", "pipe", "inherit"] });
  let output = "";
  const over = new Promise<void>((resolve) => child.once("close", resolve));
  child.stdout!.on("data", (chunk) => output += chunk);
  await until(() => output.includes("\n"), "the peer's first line", 10_000);
  return {
    port: Number(output.split("\n")[0]),
    get seen() {
      return over.then(() => JSON.parse(output.split("\n")[1]));
    },
    kill: () => void child.kill("SIGKILL"),
  };
}

const binaries = { deno: "deno", bun: "bun", node: "node" };

/** Runs a module given as text, on this runtime or another, to its end. */
export async function runProgram(
  source: string,
  on: keyof typeof binaries = runtime,
  options: {
    /** How many files it may have open. */
    files?: number;
    /** Options of the runtime's own. */
    flags?: string[];
    /** A command that runs it, e.g. `unshare`. */
    under?: string[];
    /** Runs once it has printed its first line. */
    during?: (
      line: string,
      stdin: { end(text: string): void },
    ) => Promise<void>;
    /** Milliseconds until it is killed. @default {20_000} */
    timeout?: number;
  } = {},
): Promise<{ code: number | null; output: string; errors: string }> {
  const folder = mkdtempSync(join(tmpdir(), "sluice-"));
  const file = join(folder, "program.mjs");
  writeFileSync(
    file,
    on === "deno" ? `import process from "node:process";${source}` : source,
  );
  const command = [
    ...(options.under ?? []),
    on === runtime ? process.execPath : tool(binaries[on])!,
    ...(on === "deno" ? ["run", "-A", "--frozen", "--no-check"] : []),
    ...(options.flags ?? []),
    file,
  ];
  const { files } = options;
  const child = files === undefined
    ? spawn(command[0], command.slice(1))
    : spawn("sh", ["-c", `ulimit -n ${files}; exec "$@"`, "sh", ...command]);
  const timer = setTimeout(
    () => child.kill("SIGKILL"),
    options.timeout ?? 20_000,
  );
  let output = "";
  let errors = "";
  child.stdout.on("data", (chunk) => output += chunk);
  child.stderr.on("data", (chunk) => errors += chunk);
  let over = false;
  const ended = new Promise<number | null>((resolve) =>
    child.once("close", (code) => {
      over = true;
      resolve(code);
    })
  );
  try {
    if (options.during !== undefined) {
      await until(() => over || output.includes("\n"), "its line", 10_000);
      await options.during(output.split("\n")[0], child.stdin);
    }
    return { code: await ended, output, errors };
  } finally {
    clearTimeout(timer);
    child.kill("SIGKILL");
    rmSync(folder, { recursive: true });
  }
}
