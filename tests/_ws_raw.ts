// A WebSocket client that sends bytes as it is told, over a real socket.

import { connect } from "node:net";
import type { Socket as NetSocket } from "node:net";
import { FrameReader } from "../ws/_frame_reader.ts";
import { build, toHex } from "./_ws_frames.ts";
import type { Frame } from "./_ws_frames.ts";
import { within } from "./_support.ts";

export interface RawOptions {
  /** Bytes behind the handshake, in the same segment. */
  behind?: Frame[];
  /** Fields in place of, or besides, those of a proper handshake. */
  fields?: Record<string, string | undefined>;
  method?: string;
  version?: string;
  /** Whether it never reads. */
  deaf?: boolean;
}

export class RawClient {
  readonly socket: NetSocket;
  /** The head of the answer. */
  head = "";
  /** What came: texts as they are, `bin#LENGTH`, `ping:HEX`, `close:CODE` … */
  readonly told: string[] = [];
  /** Resolves when the server has ended TCP, or cut it. */
  readonly over: Promise<void>;
  readonly #reader: FrameReader;
  readonly #answered: Promise<void>;

  constructor(url: string, options: RawOptions = {}) {
    const { hostname, port, pathname } = new URL(url);
    const told = this.told;
    this.#reader = new FrameReader(
      { masked: false, maxMessageSize: 1 << 28 },
      {
        message: (data) =>
          told.push(typeof data === "string" ? data : `bin#${data.length}`),
        ping: (data) => told.push(`ping:${toHex(data)}`),
        pong: (data) => told.push(`pong:${toHex(data)}`),
        closing: (code, reason) => told.push(`close:${code} ${reason}`.trim()),
        fail: (code) => told.push(`fail:${code}`),
      },
    );
    const socket = this.socket = connect(Number(port), hostname);
    socket.setNoDelay(true);
    let answered!: () => void;
    this.#answered = new Promise((resolve) => answered = resolve);
    socket.on("data", (chunk: Uint8Array) => {
      if (this.head.includes("\r\n\r\n")) return this.#reader.push(chunk);
      const text = this.head + String.fromCharCode(...chunk);
      const end = text.indexOf("\r\n\r\n");
      if (end < 0) {
        this.head = text;
        return;
      }
      const rest = text.slice(end + 4);
      this.head = text.slice(0, end + 4);
      if (options.deaf) socket.pause();
      answered();
      this.#reader.push(Uint8Array.from(rest, (char) => char.charCodeAt(0)));
    });
    this.over = new Promise((resolve) => {
      const done = () => {
        answered();
        resolve();
      };
      socket.on("end", done);
      socket.on("close", done);
      socket.on("error", () => {});
    });
    const fields = Object.entries({
      host: `${hostname}:${port}`,
      upgrade: "websocket",
      connection: "Upgrade",
      "sec-websocket-version": "13",
      "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==",
      ...options.fields,
    }).filter(([, value]) => value !== undefined);
    const head = [
      `${options.method ?? "GET"} ${pathname} HTTP/${options.version ?? "1.1"}`,
      ...fields.map(([name, value]) => `${name}: ${value}`),
      "",
      "",
    ].join("\r\n");
    const behind = build(options.behind ?? [], true);
    const bytes = new Uint8Array(head.length + behind.length);
    bytes.set(new TextEncoder().encode(head));
    bytes.set(behind, head.length);
    socket.write(bytes);
  }

  /** Resolves with the status once the head of the answer is there. */
  async answered(): Promise<number> {
    await within(this.#answered);
    return Number(/^HTTP\/1\.1 (\d{3})/.exec(this.head)?.[1] ?? 0);
  }

  send(...frames: Frame[]): void {
    this.socket.write(build(frames, true));
  }
}
