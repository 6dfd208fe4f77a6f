import { channel, Client } from "../http/mod.ts";
import type {
  ChannelHandlers,
  ChannelMessage,
  ChannelOptions,
  ChannelSession,
  CloseInfo,
  HttpServer,
} from "../http/mod.ts";
import { upgrade } from "../ws/mod.ts";
import { assertEquals } from "./assert.ts";
import type { PollAnswer } from "./_channel_clients.ts";
import { withServer } from "./_http_raw.ts";

/** What the callbacks were told. */
export class Log implements ChannelHandlers {
  readonly sessions: ChannelSession[] = [];
  readonly messages: ChannelMessage[] = [];
  readonly infos: CloseInfo[] = [];

  open(session: ChannelSession): unknown {
    this.sessions.push(session);
    return undefined;
  }
  message(_session: ChannelSession, message: ChannelMessage): unknown {
    this.messages.push(message);
    return undefined;
  }
  close(_session: ChannelSession, info: CloseInfo): unknown {
    this.infos.push(info);
    return undefined;
  }
  get last(): ChannelSession {
    return this.sessions[this.sessions.length - 1];
  }
}

/** How to serve it. */
export interface Setup {
  engine?: "wire" | "native";
  options?: ChannelOptions;
  onError?: (error: unknown) => Response;
}

/** Runs a test with a server whose every path is a channel. */
export function withChannel(
  handlers: ChannelHandlers,
  { engine = "wire", options, onError }: Setup,
  run: (server: HttpServer, http: Client) => Promise<unknown>,
): Promise<void> {
  return withServer(
    (request) => channel(request, handlers, { upgrade, ...options }),
    { engine, ...(onError && { onError }) },
    async (server) => {
      const http = new Client();
      try {
        await run(server, http);
      } finally {
        await http.close({ timeout: 0 });
      }
    },
  );
}

/** Polls. */
export async function pollAt(
  http: Client,
  server: HttpServer,
  query = "",
): Promise<PollAnswer> {
  const response = await http.get(`${server.url}${query}`);
  assertEquals(response.status, 200);
  assertEquals(response.headers.get("cache-control"), "no-store");
  return await response.json();
}

/** Fields of a request for a stream of events. */
export const SSE = "accept: text/event-stream\r\n";
