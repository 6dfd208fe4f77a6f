// Starts both ends of a flood and gathers what they say.

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { runArgs } from "../_support.ts";

const program = fileURLToPath(new URL("./tcp_peer.ts", import.meta.url));

export interface Told {
  port?: number;
  /** Bytes of memory more than at the start, while the reader was slow. */
  growth?: number;
  sent?: number;
  read?: number;
  clean?: boolean;
  error?: string;
  /** The same as growth, over the whole run. */
  total?: number;
}

interface Peer {
  child: ChildProcess;
  told: Told;
  errors: string;
  over: Promise<void>;
}

function start(args: string[], onPort: (port: number) => void): Peer {
  const child = spawn(process.execPath, [...runArgs, program, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const peer: Peer = { child, told: {}, errors: "", over: Promise.resolve() };
  createInterface({ input: child.stdout! }).on("line", (line) => {
    const said = JSON.parse(line) as Told;
    Object.assign(peer.told, said);
    if (said.port !== undefined) onPort(said.port);
  });
  child.stderr!.on("data", (chunk) => peer.errors += chunk);
  peer.over = new Promise((resolve) => child.on("close", () => resolve()));
  return peer;
}

/** Floods in one direction; resolves with what server and client said. */
export async function flood(options: {
  layer: "plain" | "tls";
  slow: "server" | "client";
  bytes: number;
  seconds: number;
}): Promise<{ server: Told; client: Told }> {
  const { layer, slow, bytes, seconds } = options;
  const of = (side: "server" | "client") => [
    layer,
    side === slow ? "slow" : "fast",
    `${bytes}`,
    `${seconds}`,
  ];
  let client: Peer | undefined;
  let listening!: (port: number) => void;
  const port = new Promise<number>((resolve) => listening = resolve);
  const server = start(["serve", "0", ...of("server")], listening);
  const limit = setTimeout(() => {
    server.child.kill("SIGKILL");
    client?.child.kill("SIGKILL");
  }, seconds * 1000 + 60_000);
  try {
    const found = await Promise.race([port, server.over]);
    if (found === undefined) throw new Error(server.errors);
    client = start(["connect", `${found}`, ...of("client")], () => {});
    await Promise.all([server.over, client.over]);
    if (server.errors + client.errors !== "") {
      throw new Error(`${server.errors}\n${client.errors}`);
    }
    return { server: server.told, client: client.told };
  } finally {
    clearTimeout(limit);
    server.child.kill("SIGKILL");
    client?.child.kill("SIGKILL");
  }
}
