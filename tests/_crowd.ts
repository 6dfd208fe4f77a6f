import * as net from "node:net";
import { until } from "./_support.ts";

/** Connections that are opened at once. */
const BATCH = 100;

/** A request as the members of a crowd send it. */
export function ask(path: string, method = "GET", fields = ""): string {
  return `${method} ${path} HTTP/1.1\r\nhost: localhost\r\n${fields}\r\n`;
}

/** One connection of a crowd, which remembers as little as it can. */
class Member {
  readonly socket: net.Socket;
  /** Statuses that came, of responses that end with `fine`. */
  answers = 0;
  /** The first bytes of what came last. */
  text = "";
  over = false;

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Uint8Array) => this.#take(chunk));
    socket.on("error", () => {});
    socket.on("close", () => this.over = true);
  }

  #take(chunk: Uint8Array): void {
    // Whoever is flooded shall not store it.
    if (this.text.length > 64 * 1024) return;
    this.text += String.fromCharCode(...chunk.subarray(0, 4096));
    if (this.text.startsWith("HTTP/1.1 200") && this.text.endsWith("fine")) {
      this.text = "";
      this.answers++;
    }
  }

  get status(): number {
    return Number(this.text.slice(9, 12));
  }
}

/** Many connections to a server on loopback, all of which do the same. */
export class Crowd {
  readonly #port: number;
  #members: Member[] = [];

  constructor(port: number) {
    this.#port = port;
  }

  /** Opens this many more; each sends `first`, and with `deaf` never reads. */
  async open(count: number, first = "", deaf = false): Promise<void> {
    for (let left = count; left > 0; left -= BATCH) {
      const some = Array.from(
        { length: Math.min(left, BATCH) },
        () => this.#dial(deaf),
      );
      for (const member of await Promise.all(some)) {
        this.#members.push(member);
        if (first !== "") member.socket.write(first);
      }
    }
  }

  #dial(deaf: boolean): Promise<Member> {
    return new Promise((resolve, reject) => {
      const socket = net.connect({ host: "127.0.0.1", port: this.#port });
      socket.once("error", reject);
      socket.once("connect", () => {
        const member = new Member(socket);
        if (deaf) socket.pause();
        resolve(member);
      });
    });
  }

  /** All of them send this. */
  send(text: string): void {
    for (const { socket } of this.#members) socket.write(text);
  }

  /** All of them ask, so many times one after the other, and are answered. */
  async exchange(request: string, times = 1): Promise<number> {
    const before = this.#members.map(({ answers }) => answers);
    for (let i = 1; i <= times; i++) {
      this.send(request);
      await this.answered((member, at) => member.answers - before[at] >= i);
    }
    return this.#members.length * times;
  }

  /** Waits until all have an answer more than so many. */
  async answered(
    is: (member: Member, at: number) => boolean = ({ answers }) => answers > 0,
  ): Promise<void> {
    const waits = () => this.#members.findIndex((m, at) => !is(m, at));
    await until(
      () => waits() === -1 || this.#members[waits()].over,
      "An answer for everybody",
      60_000,
    );
    const at = waits();
    if (at !== -1) throw new Error(`No answer: ${this.#members[at].text}`);
  }

  /** Waits until the server has ended all; the statuses it gave, and how often. */
  async untilOver(): Promise<Record<number, number>> {
    await until(
      () => this.#members.every(({ over }) => over),
      "The end of everybody",
      60_000,
    );
    const statuses: Record<number, number> = {};
    for (const { status } of this.#members) {
      statuses[status] = (statuses[status] ?? 0) + 1;
    }
    return statuses;
  }

  /** All of them half-close: they have asked for all they want. */
  end(): void {
    for (const { socket } of this.#members) socket.end();
  }

  /** Those that were deaf read; gives the number of bytes until their end. */
  async drain(): Promise<number> {
    let size = 0;
    for (const { socket } of this.#members) {
      socket.on("data", (chunk: Uint8Array) => size += chunk.length);
      socket.resume();
    }
    await this.untilOver();
    return size;
  }

  /** Answers of all of them so far. */
  get answers(): number {
    return this.#members.reduce((sum, { answers }) => sum + answers, 0);
  }

  /** Leaves, with a RST when wished for. */
  leave(reset = false): void {
    for (const { socket } of this.#members) {
      const hard = socket as net.Socket & { resetAndDestroy?(): void };
      if (reset && hard.resetAndDestroy !== undefined) hard.resetAndDestroy();
      else socket.destroy();
    }
    this.#members = [];
  }
}
