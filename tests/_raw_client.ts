import type * as net from "node:net";
import { until } from "./_support.ts";

/** A client that sends what it is told and shows every byte that comes. */
export class RawClient {
  readonly socket: net.Socket;
  /** All that has come, as Latin-1. */
  text = "";
  /** The server's FIN has come. */
  ended = false;
  closed = false;
  error: string | undefined;

  constructor(socket: net.Socket) {
    this.socket = socket;
    socket.setNoDelay(true);
    socket.on("data", (chunk: Uint8Array) => this.receive(chunk));
    socket.on("end", () => this.ended = true);
    socket.on("error", (error: Error & { code?: string }) => {
      this.error = error.code ?? error.message;
    });
    socket.on("close", () => this.closed = true);
  }

  protected receive(chunk: Uint8Array): void {
    for (let i = 0; i < chunk.length; i += 4096) {
      this.text += String.fromCharCode(...chunk.subarray(i, i + 4096));
    }
  }

  send(data: string | Uint8Array): void {
    this.socket.write(
      typeof data === "string"
        ? Uint8Array.from(data, (char) => char.charCodeAt(0))
        : data,
    );
  }

  /** Waits until all that has come holds this, so many times. */
  async until(wanted: string, times = 1): Promise<string> {
    await until(
      () => this.text.split(wanted).length > times || this.closed,
      `${JSON.stringify(wanted)} in ${JSON.stringify(this.text.slice(-300))}`,
    );
    if (this.text.split(wanted).length <= times) {
      throw new Error(
        `Closed without ${JSON.stringify(wanted)}: ${
          JSON.stringify(this.text.slice(-300))
        } ${this.error}`,
      );
    }
    return this.text;
  }

  /** Waits for the end of the connection; gives all that has come. */
  async untilEnd(): Promise<string> {
    await until(() => this.ended || this.closed, "The end of the connection");
    return this.text;
  }

  /** Half-closes. */
  end(): void {
    this.socket.end();
  }

  destroy(): void {
    this.socket.destroy();
  }
}
