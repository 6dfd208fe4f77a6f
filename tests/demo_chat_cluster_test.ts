import { test } from "node:test";
import process from "node:process";
import { assert, assertEquals, assertMatch } from "./assert.ts";
import { Broker } from "./_brokers.ts";
import { examplePath, Program } from "./_programs.ts";
import { needs, until, within } from "./_support.ts";
import { connect } from "../ws/mod.ts";
import type { Socket } from "../ws/mod.ts";

const CLIENTS = 300;
const ROUNDS = 2;
const PATIENCE = 90_000;

/** What the page does, without the page. */
class Client {
  readonly author: string;
  readonly url: string;
  /** How often each line has come. */
  readonly heard = new Map<string, number>();
  readonly #seen: Record<string, number> = {};
  readonly #unkept: { n: number; text: string }[] = [];
  #socket: Socket | undefined;
  #said = 0;
  #over = false;
  connects = 0;

  constructor(url: string, author: string) {
    this.url = url;
    this.author = author;
  }

  get open(): boolean {
    return this.#socket !== undefined;
  }

  /** Connects, and again whenever the connection ends. */
  async run(): Promise<void> {
    while (!this.#over) {
      try {
        await this.#live(await connect(this.url, { timeout: 20_000 }));
      } catch {
        // The balancer may have hit upon the one that dies.
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  }

  async #live(socket: Socket): Promise<void> {
    this.connects++;
    const { author } = this;
    await socket.send(JSON.stringify({ author, seen: this.#seen }));
    for (const line of this.#unkept) await socket.send(JSON.stringify(line));
    this.#socket = socket;
    if (this.#over) socket.destroy();
    try {
      for await (const message of socket) this.#hear(String(message));
    } finally {
      this.#socket = undefined;
      socket.destroy();
    }
  }

  #hear(json: string): void {
    const { kept, author, n, text } = JSON.parse(json);
    if (kept !== undefined) {
      while (this.#unkept.length > 0 && this.#unkept[0].n <= kept) {
        this.#unkept.shift();
      }
      return;
    }
    this.#seen[author] = n;
    this.heard.set(text, (this.heard.get(text) ?? 0) + 1);
  }

  say(text: string): void {
    const line = { n: ++this.#said, text };
    this.#unkept.push(line);
    this.#socket?.send(JSON.stringify(line));
  }

  leave(): void {
    this.#over = true;
    this.#socket?.destroy();
  }
}

test(
  "examples/chat-cluster gives each line once to all, though a server dies",
  {
    skip: needs("nats-server"),
  },
  async () => {
    const broker = await new Broker("nats-server").start();
    const program = new Program(examplePath("chat-cluster/main"), [
      "--port=0",
      `--nats=127.0.0.1:${broker.port}`,
    ]);
    const clients: Client[] = [];
    const running: Promise<void>[] = [];
    try {
      const [, url] = await program.printed(/open: (http:\S+)/, PATIENCE);
      assertMatch(await (await fetch(url)).text(), /Chat on three servers/);
      const [, pid] = await program.printed(/server two: pid (\d+)/);
      const socketUrl = `${url.replace("http", "ws")}socket`;
      for (let n = 0; n < CLIENTS; n++) {
        const client = new Client(socketUrl, `client ${n}`);
        clients.push(client);
        running.push(client.run());
        if (n % 20 === 19) {
          await until(
            () => clients.every(({ open }) => open),
            "The clients",
            PATIENCE,
          );
        }
      }

      const speakers = clients.filter((_, n) => n % 3 === 0);
      const lines: string[] = [];
      for (let round = 0; round < ROUNDS; round++) {
        for (const [n, client] of speakers.entries()) {
          lines.push(`${client.author}, round ${round}`);
          client.say(lines.at(-1)!);
          // In the midst of it, with lines on their way everywhere.
          if (round === 0 && n === speakers.length / 2) {
            process.kill(Number(pid), "SIGKILL");
          }
          if (n % 10 === 9) await new Promise((resolve) => setTimeout(resolve));
        }
      }
      await program.printed(/server two is gone, 2 are left/, PATIENCE);
      await until(
        () => clients.every(({ heard }) => heard.size === lines.length),
        "Every line to every client",
        PATIENCE,
      ).catch((error) => {
        const sizes = clients.map(({ heard }) => heard.size);
        throw new Error(`${error.message}: ${sizes} of ${lines.length}`);
      });
      const expected = new Map(lines.map((line) => [line, 1]));
      for (const { heard } of clients) {
        assertEquals(
          lines.filter((line) => heard.get(line) !== expected.get(line)),
          [],
        );
      }
      const again = clients.filter(({ connects }) => connects > 1).length;
      assert(again >= CLIENTS / 3 - 1, `${again} have connected again`);
      for (const client of clients) client.leave();
      await within(Promise.all(running), PATIENCE);
      program.kill();
      assertEquals(await within(program.exit, PATIENCE), 0);
      assertEquals(
        program.stderr.replace(/.*ExperimentalWarning.*\n.*\n/g, ""),
        "",
      );
    } finally {
      for (const client of clients) client.leave();
      await program.stop();
      await broker.kill();
    }
  },
);
