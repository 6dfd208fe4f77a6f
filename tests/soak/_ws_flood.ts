// Starts both ends of a flood and gathers what they say.

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { runArgs } from "../_support.ts";

const program = fileURLToPath(new URL("./ws_peer.ts", import.meta.url));

export interface Told {
  url?: string;
  /** Bytes of memory more than at the start, while the reader was slow. */
  growth?: number;
  sent?: number;
  read?: number;
  clean?: boolean;
  code?: number;
  error?: string;
  caught?: string;
  /** The same as growth, over the whole run. */
  total?: number;
}

interface Peer {
  child: ChildProcess;
  told: Told;
  errors: string;
  over: Promise<void>;
}

function start(args: string[], onUrl: (url: string) => void): Peer {
  const child = spawn(process.execPath, [...runArgs, program, ...args], {
    stdio: ["ignore", "pipe", "pipe"],
  });
  const peer: Peer = { child, told: {}, errors: "", over: Promise.resolve() };
  createInterface({ input: child.stdout! }).on("line", (line) => {
    const said = JSON.parse(line) as Told;
    Object.assign(peer.told, said);
    if (said.url !== undefined) onUrl(said.url);
  });
  child.stderr!.on("data", (chunk) => peer.errors += chunk);
  peer.over = new Promise((resolve) => child.on("close", () => resolve()));
  return peer;
}

/** Floods in one direction; resolves with what server and client said. */
export async function flood(options: {
  engine: "wire" | "native";
  slow: "server" | "client";
  bytes: number;
  seconds: number;
}): Promise<{ server: Told; client: Told }> {
  const { engine, slow, bytes, seconds } = options;
  const of = (side: "server" | "client") => [
    side === slow ? "slow" : "fast",
    `${bytes}`,
    `${seconds}`,
  ];
  let client: Peer | undefined;
  let listening!: (url: string) => void;
  const url = new Promise<string>((resolve) => listening = resolve);
  const server = start(["serve", engine, ...of("server")], listening);
  const limit = setTimeout(() => {
    server.child.kill("SIGKILL");
    client?.child.kill("SIGKILL");
  }, seconds * 1000 + 60_000);
  try {
    const found = await Promise.race([url, server.over]);
    if (found === undefined) throw new Error(server.errors);
    client = start(["connect", found, ...of("client")], () => {});
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
