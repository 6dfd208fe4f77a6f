// The `ws` package of npm, as far as the tests use it, typed by hand. (Bun
// gives its own imitation of it.)

import * as wsPackage from "ws";

/** One of its sockets. */
export interface WsSocket {
  readonly protocol: string;
  readonly extensions: string;
  on(
    event: "message",
    listener: (data: Uint8Array, binary: boolean) => void,
  ): void;
  on(event: "ping" | "pong", listener: (data: Uint8Array) => void): void;
  on(
    event: "close",
    listener: (code: number, reason: Uint8Array) => void,
  ): void;
  on(event: "open", listener: () => void): void;
  on(event: "error", listener: (error: Error) => void): void;
  send(data: string | Uint8Array, options?: { binary: boolean }): void;
  ping(data?: string): void;
  close(code?: number, reason?: string): void;
  terminate(): void;
}

interface WsServer {
  readonly clients: Set<WsSocket>;
  address(): { port: number };
  on(event: "connection", listener: (socket: WsSocket) => void): void;
  on(event: "listening", listener: () => void): void;
  close(done: () => void): void;
}

interface WsModule {
  default: new (
    url: string,
    protocols?: string[],
    options?: { perMessageDeflate?: unknown },
  ) => WsSocket;
  WebSocketServer: new (options: {
    port: number;
    host: string;
    perMessageDeflate?: unknown;
    handleProtocols?: (offered: Set<string>) => string | false;
  }) => WsServer;
}

const module = wsPackage as unknown as WsModule;

/** Its client. */
export const WsClient: WsModule["default"] = module.default;
/** Its server. */
export const WsServer: WsModule["WebSocketServer"] = module.WebSocketServer;
