import { channel } from "node:diagnostics_channel";
import { connect, createServer } from "node:net";
import type { AddressInfo, Server, Socket } from "node:net";
import { clearTimeout, setTimeout } from "node:timers";
import { HandleTransport, useWrap } from "./_node_handle.ts";
import type { Counting } from "./_node_handle.ts";
import { NodeTransport } from "./_node_socket.ts";
import { findWrap, isHandle, isTried } from "./_node_wrap.ts";
import type { Transport } from "./_transport.ts";

/** How long a trial may take, in ms. */
const PATIENCE = 2000;
/** What it sends: more than a kernel takes at once. */
const TRIAL = 4 * 1024 * 1024;

/** Where Node tells of every socket that it accepts. */
const watched = channel("net.server.socket");

let able: boolean | Promise<boolean> | undefined;

/** Whether sockets work without `net.Socket` here; asked before any is made. */
export function canAccept(): boolean | Promise<boolean> {
  if (able !== undefined) return able;
  const wrap = findWrap();
  if (wrap === undefined) return able = false;
  useWrap(wrap);
  if (isTried()) return able = true;
  return able = tryOut().then((works) => able = works);
}

/**
 * Sends something forth and back over loopback, by what is new on one side and
 * by `net.Socket` on the other.
 */
export function tryOut(): Promise<boolean> {
  return new Promise((resolve) => {
    const server = createServer({ allowHalfOpen: true, pauseOnConnect: true });
    let peer: Socket | undefined;
    let accepted: Transport | undefined;
    let received = 0;
    const give = (works: boolean) => {
      clearTimeout(timer);
      server.close();
      peer?.destroy();
      resolve(works);
      try {
        accepted?.destroy();
      } catch {
        // What does not work here is not used.
      }
    };
    const refuse = () => give(false);
    const timer = setTimeout(refuse, PATIENCE);
    server.on("error", refuse);
    server.on("connection", (socket) => {
      socket.destroy();
      refuse();
    });
    server.listen(0, "127.0.0.1", () => {
      const { port } = server.address() as AddressInfo;
      acceptHandles(server, undefined, (transport) => {
        accepted = transport;
        const guard = (act: () => void) => {
          try {
            act();
          } catch {
            refuse();
          }
        };
        guard(() =>
          transport.attach({
            data: () =>
              guard(() => {
                if (transport.write(new Uint8Array(TRIAL))) transport.end();
              }),
            drain: () => guard(() => transport.end()),
            end: () => {},
            close: (error) => give(error === undefined && received === TRIAL),
          })
        );
      });
      peer = connect({ port, host: "127.0.0.1" });
      peer.on("error", refuse);
      peer.on("data", (chunk) => {
        received += chunk.byteLength;
      });
      peer.write("x");
    });
  });
}

/** A server of Node's, with what it is given its connections by. */
type Listening = Server & Counting & {
  readonly _handle?: {
    onconnection?: (this: unknown, status: number, handle?: unknown) => void;
  } | null;
};

/**
 * Has a server that listens give its connections without a `net.Socket` each.
 * It goes on as usual where that cannot be, and with those that others than
 * us look at.
 */
export function acceptHandles(
  server: Server,
  path: string | undefined,
  accept: (transport: Transport) => void,
): void {
  const counting = server as Listening;
  const { _handle: listening } = counting;
  const usual = listening?.onconnection;
  if (typeof usual !== "function") return;
  listening!.onconnection = function (status, handle) {
    if (
      status || !isHandle(handle) || server.listenerCount("connection") > 1 ||
      watched.hasSubscribers || server.maxConnections != null
    ) return usual.call(this, status, handle);
    if (counting._connections !== undefined) counting._connections++;
    handle.setNoDelay?.(true);
    accept(new HandleTransport(handle, path, counting));
  };
}

/** A socket that has connected, and has not read, without it from now on. */
export function transportOf(socket: Socket, path?: string): Transport {
  const connected = socket as Socket & { _handle?: unknown };
  const { _handle: handle } = connected;
  if (!isHandle(handle) || socket.readableLength > 0) {
    return new NodeTransport(socket, path);
  }
  connected._handle = null;
  return new HandleTransport(handle, path);
}
