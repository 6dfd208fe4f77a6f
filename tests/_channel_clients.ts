import { Client } from "../http/mod.ts";
import type { ClientResponse, HttpServer } from "../http/mod.ts";
import { connect } from "../ws/mod.ts";
import { until, within } from "./_support.ts";

export type Kind = "websocket" | "sse" | "polling";
export const kinds: readonly Kind[] = ["websocket", "sse", "polling"];

type Data = string | Uint8Array<ArrayBuffer>;
interface Envelope {
  id: number;
  data?: string;
  base64?: string;
}

/** What an answer to a poll holds. */
export interface PollAnswer {
  channel: string;
  cursor: number;
  messages: Envelope[];
  closed?: { clean: boolean; again?: boolean };
  replaced?: boolean;
}

/** What an envelope carries. */
export function opened({ data, base64 }: Envelope): string | Uint8Array {
  return data ?? Uint8Array.from(atob(base64!), (c) => c.charCodeAt(0));
}

/** A client of a channel that keeps what it gets, by whatever way it comes. */
export interface ChannelClient {
  readonly got: (string | Uint8Array)[];
  readonly ended: unknown;
  send(data: Data): Promise<unknown>;
  /** Says that it is over. */
  close(): Promise<unknown>;
  /** Goes without a word. */
  drop(): Promise<unknown>;
}

/** Connects to a channel. */
export async function client(
  server: HttpServer,
  kind: Kind,
  path = "/",
): Promise<ChannelClient> {
  const url = new URL(path, server.url).href;
  return kind === "websocket"
    ? await bySocket(url)
    : kind === "sse"
    ? await byEvents(url)
    : await byPolling(url);
}

async function bySocket(url: string): Promise<ChannelClient> {
  const socket = await connect(url.replace("http", "ws"));
  const got: (string | Uint8Array)[] = [];
  const self = {
    got,
    ended: undefined as unknown,
    send: (data: Data) => Promise.resolve(socket.send(data)),
    close: () => socket.close(),
    drop: async () => {
      socket.destroy();
      await socket.closed;
    },
  };
  (async () => {
    for await (const message of socket) got.push(message);
  })().catch(() => {}).then(() => self.ended = true);
  return self;
}

function poster(http: Client, url: () => string) {
  let seq = 0;
  return async (body: Data) => {
    const response = await http.fetch(`${url()}&seq=${++seq}`, {
      method: "POST",
      body,
      headers: typeof body === "string"
        ? {}
        : { "content-type": "application/octet-stream" },
    });
    return await response.json();
  };
}

/** One event as it came. */
export interface Event {
  event: string;
  id: string;
  data: unknown;
}

/** The events of a response, as they come. */
export async function* eventsOf(
  response: ClientResponse,
): AsyncGenerator<Event> {
  let text = "";
  const decoder = new TextDecoder();
  for await (const chunk of response.body!) {
    text += decoder.decode(chunk, { stream: true });
    for (
      let at;
      (at = text.indexOf("\n\n")) !== -1;
      text = text.slice(at + 2)
    ) {
      const event: Event = { event: "message", id: "", data: undefined };
      for (const line of text.slice(0, at).split("\n")) {
        if (line.startsWith("event: ")) event.event = line.slice(7);
        if (line.startsWith("id: ")) event.id = line.slice(4);
        if (line.startsWith("data: ")) event.data = JSON.parse(line.slice(6));
      }
      if (event.data !== undefined) yield event;
    }
  }
}

async function byEvents(url: string): Promise<ChannelClient> {
  const http = new Client();
  const abort = new AbortController();
  const response = await http.fetch(url, {
    headers: { accept: "text/event-stream" },
    signal: abort.signal,
  });
  if (!response.ok) throw new Error(`${response.status}`);
  let id: string | undefined;
  const at = () => `${url}?channel=${id}`;
  const got: (string | Uint8Array)[] = [];
  const self = {
    got,
    ended: undefined as unknown,
    send: poster(http, at),
    async close() {
      await (await http.fetch(at(), { method: "DELETE" })).text();
      await within(reading);
      await http.close();
    },
    async drop() {
      abort.abort();
      await within(reading);
      await http.close();
    },
  };
  const reading = (async () => {
    for await (const { event, data } of eventsOf(response)) {
      if (event === "channel") id = (data as { channel: string }).channel;
      else if (event === "close") self.ended = data;
      else got.push(opened(data as Envelope));
    }
  })().catch(() => {});
  await until(() => id !== undefined, "The id");
  return self;
}

async function byPolling(url: string): Promise<ChannelClient> {
  const http = new Client();
  const abort = new AbortController();
  const { signal } = abort;
  let answer: PollAnswer = await (await http.get(url)).json();
  const at = () => `${url}?channel=${answer.channel}`;
  const got = answer.messages.map(opened);
  const self = {
    got,
    ended: undefined as unknown,
    send: poster(http, at),
    async close() {
      await (await http.fetch(at(), { method: "DELETE" })).text();
      await within(polling);
      await http.close();
    },
    async drop() {
      abort.abort();
      await within(polling);
      await http.close();
    },
  };
  const polling = (async () => {
    while (answer.closed === undefined) {
      const response = await http.get(`${at()}&cursor=${answer.cursor}`, {
        signal,
      });
      if (!response.ok) break;
      answer = await response.json();
      got.push(...answer.messages.map(opened));
    }
    self.ended = answer.closed;
  })().catch(() => {});
  return self;
}
