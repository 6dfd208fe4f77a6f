import { Channel } from "../../streams/mod.ts";

/** How a message came in. */
export type Via = "tcp" | "udp" | "http" | "ws";

/** One message, as every page sees it. */
export interface Message {
  n: number;
  via: Via;
  from: string;
  text: string;
  at: number;
}

/** Something to tell the clients: JSON for pages, a line for terminals. */
export interface Post {
  json: string;
  line?: string;
}

/** Somebody who listens. */
export interface Client {
  /**
   * First, for a page, who it is and what was said before; then what happens.
   * A slow reader loses the oldest of it.
   */
  posts: Channel<Post>;
  leave(): void;
}

/** Text without what could move a terminal's cursor or forge a line. */
export function clean(text: string, max: number): string {
  return text.slice(0, max).replace(UNSAFE, " ").trim();
}

/** Longest message, in characters; the servers bound its bytes as well. */
export const MAX_TEXT = 4096;

const HISTORY = 100; // messages that a new page is shown
const QUEUE = 1024; // posts that wait for one client
const SHOWN = 100; // people that a page lists
const RECENT = 60_000; // ms for which a UDP or HTTP sender counts as here
const decoder = new TextDecoder();
const UNSAFE = /[\p{Cc}\p{Zl}\p{Zp}\u202a-\u202e\u2066-\u2069]+/gu;

/** The middle of the bridge: whatever anybody says goes to all clients. */
export class Hub {
  #clients = new Map<
    number,
    { via: Via | "sse"; from: string; posts: Channel<Post> }
  >();
  #senders = new Map<string, { via: Via; from: string; at: number }>();
  #history: Message[] = [];
  #totals = { tcp: 0, udp: 0, http: 0, ws: 0 };
  #count = 0;
  #ids = 0;
  #started = Date.now();
  #soon?: ReturnType<typeof setTimeout>;
  #everySecond = setInterval(() => this.#tellState(), 1000);

  join(via: "tcp" | "ws" | "sse", from: string): Client {
    const id = ++this.#ids;
    const posts = new Channel<Post>({
      capacity: QUEUE,
      overflow: "drop-oldest",
    });
    this.#clients.set(id, { via, from, posts });
    const leave = () => {
      if (this.#clients.delete(id)) this.#tellSoon();
      posts.close();
    };
    const hello = { type: "hello", id, run: this.#started };
    posts.send({
      json: JSON.stringify({
        ...hello,
        messages: this.#history,
        ...this.#state(),
      }),
    });
    this.#tellSoon();
    return { posts, leave };
  }

  /**
   * Tells everybody; gives how many. Wait for the promise, when there is one:
   * it lets the clients take what was said before more is said.
   */
  publish(
    via: Via,
    from: string,
    said: string | Uint8Array,
  ): number | Promise<number> {
    if (typeof said !== "string") said = decoder.decode(said);
    let text = clean(said, MAX_TEXT);
    if (text === "") return 0;
    if (said.length > MAX_TEXT) text += "…";
    this.#totals[via]++;
    const message = { n: ++this.#count, via, from, text, at: Date.now() };
    this.#history.push(message);
    if (this.#history.length > HISTORY) this.#history.shift();
    if (via === "udp" || via === "http") this.#noteSender(via, from);
    this.#tell({
      json: JSON.stringify({ type: "message", ...message }),
      line: `${via} ${from}: ${text}\n`,
    });
    const { size } = this.#clients;
    if (message.n % 256 > 0) return size;
    return new Promise((resolve) => setTimeout(resolve, 0, size));
  }

  /** Says goodbye: every client's posts end. */
  close(): void {
    clearInterval(this.#everySecond);
    clearTimeout(this.#soon);
    for (const { posts } of this.#clients.values()) posts.close();
  }

  /** They have no connection, so they are remembered for a while. */
  #noteSender(via: Via, from: string): void {
    const key = `${via} ${from}`;
    if (!this.#senders.delete(key)) this.#tellSoon();
    this.#senders.set(key, { via, from, at: Date.now() });
    if (this.#senders.size > SHOWN) {
      this.#senders.delete(this.#senders.keys().next().value!);
    }
  }

  #state() {
    for (const [key, { at }] of this.#senders) {
      if (Date.now() - at > RECENT) this.#senders.delete(key);
    }
    const here = { tcp: 0, udp: 0, http: 0, ws: 0, sse: 0 };
    const people: { id?: number; via: string; from: string }[] = [];
    for (const [id, { via, from }] of this.#clients) {
      here[via]++;
      if (people.length < SHOWN) people.push({ id, via, from });
    }
    for (const { via, from } of this.#senders.values()) {
      here[via]++;
      people.push({ via, from });
    }
    return { here, people, totals: this.#totals, now: Date.now() };
  }

  #tell(post: Post): void {
    // Never waits: the channels drop.
    for (const { posts } of this.#clients.values()) posts.send(post);
  }

  #tellState(): void {
    this.#tell({ json: JSON.stringify({ type: "state", ...this.#state() }) });
  }

  /** Once for all who come and go within a tenth of a second. */
  #tellSoon(): void {
    this.#soon ??= setTimeout(() => {
      this.#soon = undefined;
      this.#tellState();
    }, 100);
  }
}
