import * as http from "node:http";
import * as net from "node:net";
import type { IncomingMessage, ServerResponse } from "node:http";

/** A server of a test, on a free port of loopback. */
export interface TestServer {
  readonly url: string;
  readonly port: number;
  /** Connections accepted so far. */
  accepted: number;
  /** Connections open now. */
  readonly open: number;
  close(): Promise<void>;
}

/** Listens, and ends every connection when it is closed. */
export async function listen(
  server: net.Server,
  scheme = "http",
  onConnection?: (socket: net.Socket) => void,
): Promise<TestServer> {
  const sockets = new Set<net.Socket>();
  server.on("connection", (socket: net.Socket) => {
    sockets.add(socket);
    handle.accepted++;
    onConnection?.(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(0, "127.0.0.1", () => resolve());
  });
  const { port } = server.address() as net.AddressInfo;
  const handle = {
    port,
    url: `${scheme}://127.0.0.1:${port}/`,
    accepted: 0,
    get open() {
      return sockets.size;
    },
    async close() {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
  return handle;
}

/** node:http, as it is. A listener that fails ends its connection. */
export function nodeServer(
  listener: (request: IncomingMessage, response: ServerResponse) => unknown,
): Promise<TestServer> {
  return listen(
    http.createServer({ keepAliveTimeout: 60_000 }, (request, response) => {
      (async () => await listener(request, response))()
        .catch(() => response.destroy());
    }),
  );
}

/** What a scripted server knows of a request. */
export interface Exchange {
  readonly socket: net.Socket;
  /** Request line and fields. */
  readonly head: string;
  /** Which connection of the server it is, from 1. */
  readonly connection: number;
  /** Which request on that connection it is, from 1. */
  readonly request: number;
  /** Waits for more bytes until the text behind the head holds this. */
  until(text: string): Promise<string>;
}

/** A server that answers each head with whatever bytes the script writes. */
export function scripted(
  script: (exchange: Exchange) => unknown,
): Promise<TestServer> {
  let connections = 0;
  return listen(
    net.createServer({ allowHalfOpen: true }, (socket: net.Socket) => {
      const connection = ++connections;
      let request = 0;
      let text = "";
      let wanted: { text: string; resolve(text: string): void } | undefined;
      socket.setNoDelay(true);
      socket.on("end", () => socket.end());
      socket.on("data", (chunk: Uint8Array) => {
        for (const byte of chunk) text += String.fromCharCode(byte);
        look();
      });
      const look = () => {
        if (wanted !== undefined) {
          const at = text.indexOf(wanted.text);
          if (at === -1) return;
          const end = at + wanted.text.length;
          const { resolve } = wanted;
          wanted = undefined;
          const part = text.slice(0, end);
          text = text.slice(end);
          resolve(part);
          return;
        }
        const end = text.indexOf("\r\n\r\n");
        if (end === -1) return;
        const head = text.slice(0, end + 4);
        text = text.slice(end + 4);
        script({
          socket,
          head,
          connection,
          request: ++request,
          until: (part) =>
            new Promise((resolve) => {
              wanted = { text: part, resolve };
              look();
            }),
        });
      };
    }),
  );
}

/** A whole answer with a body, or the beginning of one. */
export function answer(
  body: string,
  fields = "",
  status = "200 OK",
): string {
  return `HTTP/1.1 ${status}\r\nContent-Length: ${body.length}\r\n${fields}\r\n${body}`;
}

/** All of a request's body. */
export async function bodyOf(request: IncomingMessage): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of request) {
    text += decoder.decode(chunk as Uint8Array, { stream: true });
  }
  return text + decoder.decode();
}
