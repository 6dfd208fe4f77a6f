// Starts a server and its clients as processes, and has them do things.

import { spawn } from "node:child_process";
import type { ChildProcess } from "node:child_process";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { runArgs, runtime } from "../_support.ts";

const program = fileURLToPath(new URL("./http_peer.ts", import.meta.url));

/** What makes the runtime let a program collect its garbage. */
const GC: Record<string, readonly string[]> = {
  deno: ["--v8-flags=--expose-gc"],
  bun: [],
  node: ["--expose-gc"],
};

/** A process that does what it is told, one thing after the other. */
export class Peer {
  readonly #child: ChildProcess;
  readonly #waiting: {
    resolve: (value: unknown) => void;
    reject: (error: Error) => void;
  }[] = [];
  #errors = "";

  constructor(...args: string[]) {
    const child = this.#child = spawn(process.execPath, [
      ...runArgs,
      ...GC[runtime],
      program,
      ...args,
    ], { stdio: ["pipe", "pipe", "pipe"] });
    createInterface({ input: child.stdout! }).on("line", (line) => {
      const { value, error } = JSON.parse(line);
      const { resolve, reject } = this.#waiting.shift()!;
      if (error === undefined) resolve(value);
      else reject(new Error(error));
    });
    child.stderr!.on("data", (chunk) => this.#errors += chunk);
    child.stdin!.on("error", () => {});
    child.on("close", () => {
      for (const { reject } of this.#waiting) {
        reject(new Error(`The process ended: ${args} ${this.#errors}`));
      }
    });
  }

  /** What it says on its standard error. */
  get errors(): string {
    return this.#errors;
  }

  do<T = unknown>(name: string, ...args: unknown[]): Promise<T> {
    return new Promise((resolve, reject) => {
      this.#waiting.push({
        resolve: (value) => resolve(value as T),
        reject,
      });
      this.#child.stdin!.write(`${JSON.stringify([name, ...args])}\n`);
    });
  }

  /** Ends the process. */
  async stop(): Promise<void> {
    const over = new Promise((resolve) => this.#child.once("close", resolve));
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      this.#child.kill("SIGKILL");
      await over;
    }
  }
}

/** Runs with a server and clients of it, each a process. */
export async function withPeers(
  options: object,
  run: (server: Peer, clients: Peer) => Promise<void>,
): Promise<void> {
  const server = new Peer("serve", JSON.stringify(options));
  let clients: Peer | undefined;
  try {
    clients = new Peer("clients", `${await server.do("port")}`);
    await run(server, clients);
    const errors = server.errors + clients.errors;
    if (errors !== "") throw new Error(errors);
  } finally {
    await server.stop();
    await clients?.stop();
  }
}
