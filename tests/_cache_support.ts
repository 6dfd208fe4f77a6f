import { assertEquals } from "./assert.ts";
import { within } from "./_support.ts";
import { cache, Client, MemoryStore } from "../http/mod.ts";
import type {
  CacheOptions,
  CacheStore,
  ClientInit,
  ClientOptions,
} from "../http/mod.ts";

/** When the tables begin. */
export const START = Date.UTC(2026, 0, 15, 12);

/** A date of HTTP, so many seconds later. */
export function date(seconds: number): string {
  return new Date(START + seconds * 1000).toUTCString();
}

/** What the server says. */
export interface Reply {
  status?: number;
  headers?: Record<string, string>;
  /** Fields that are there more than once. */
  more?: [string, string][];
  body?: string | null;
  /** Fails instead. */
  error?: Error;
  /** Seconds that it takes. */
  takes?: number;
}

/** One request, and what comes of it. */
export interface Step {
  /** Seconds since the beginning. */
  at?: number;
  path?: string;
  init?: ClientInit;
  /** Without one, the server must not be asked. */
  reply?: Reply;
  status?: number;
  body?: string;
  /** `Cache-Status`, without the name of the cache; `null`: none. */
  told?: string | null;
  age?: string | null;
  /** Fields that the server was sent. */
  sent?: Record<string, string | null>;
  /** Fields of the answer. */
  headers?: Record<string, string | null>;
}

/** A client with a cache, a clock and a server that says what it is told. */
export class CacheStage {
  now = START;
  reply: Reply | undefined;
  readonly asked: Request[] = [];
  readonly client: Client;

  constructor(
    options: CacheOptions = {},
    store: CacheStore = new MemoryStore(),
    more: ClientOptions = {},
  ) {
    this.client = new Client({
      base: "http://test/",
      use: [cache(store, { now: () => this.now, ...options })],
      transport: (request) => this.#answer(request),
      ...more,
    });
  }

  #answer(request: Request): Response {
    const { reply } = this;
    this.reply = undefined;
    this.asked.push(request);
    if (reply === undefined) throw new Error("The server was asked");
    this.now += (reply.takes ?? 0) * 1000;
    if (reply.error !== undefined) throw reply.error;
    const { status = 200, headers = {}, more = [], body = "x" } = reply;
    const fields = new Headers(headers);
    for (const [name, value] of more) fields.append(name, value);
    const empty = status === 304 || status === 204 || body === null;
    return new Response(empty ? null : body, { status, headers: fields });
  }

  async step(step: Step, name = "A step"): Promise<void> {
    const { at, path = "a", init, reply } = step;
    if (at !== undefined) this.now = START + at * 1000;
    this.reply = reply;
    const before = this.asked.length;
    const response = await this.client.fetch(path, init);
    const body = await response.text();
    const asked = this.asked.length > before;
    const told = response.headers.get("cache-status");
    assertEquals(asked, reply !== undefined, `${name}: asked; ${told}`);
    assertEquals(response.status, step.status ?? 200, name);
    if (step.body !== undefined) assertEquals(body, step.body, name);
    if (step.told !== undefined) {
      const { told: wanted } = step;
      assertEquals(told, wanted === null ? null : `sluice; ${wanted}`, name);
    }
    if (step.age !== undefined) {
      assertEquals(response.headers.get("age"), step.age, name);
    }
    for (const [field, value] of Object.entries(step.headers ?? {})) {
      assertEquals(response.headers.get(field), value, `${name}: ${field}`);
    }
    const sent = this.asked[this.asked.length - 1];
    for (const [field, value] of Object.entries(step.sent ?? {})) {
      assertEquals(sent.headers.get(field), value, `${name}: sent ${field}`);
    }
  }
}

/** Plays requests one after the other. */
export async function play(
  steps: readonly Step[],
  options?: CacheOptions,
  more?: ClientOptions,
): Promise<void> {
  const stage = new CacheStage(options, new MemoryStore(), more);
  try {
    for (const [at, step] of steps.entries()) {
      await within(stage.step(step, `step ${at}`));
    }
  } finally {
    await stage.client.close({ timeout: 0 });
  }
}
