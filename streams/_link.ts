import { LinkInput } from "./_link_input.ts";
import { LinkOutput } from "./_link_output.ts";
import type {
  Backplane,
  BackplaneLink,
  BackplaneLoss,
  BackplaneOptions,
} from "./backplane.ts";
import { gate } from "./bus.ts";
import type { Bus } from "./bus.ts";
import { SizeLimitError } from "./errors.ts";
import { seal } from "./_envelope.ts";
import type { Envelope } from "./_envelope.ts";
import { MAX_TIMEOUT } from "./_waiters.ts";

/** Topics whose messages are counted; one that is forgotten starts afresh. */
const MAX_COUNTED = 65_536;
/** How long `close` waits for the broker, in ms. */
const CLOSE_TIMEOUT = 5000;

const encoder = new TextEncoder();

/** A name that no other process has: 96 bits by chance. */
function nameOf(): string {
  const bytes = crypto.getRandomValues(new Uint8Array(12));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0"))
    .join("");
}

function checkLimit(value: number, name: string, max: number): void {
  if (Number.isInteger(value) && value >= 1 && value <= max) return;
  throw new RangeError(
    `Cannot join the bus: ${name} must be an integer from 1 to ${max}: ${value}`,
  );
}

/** How a message is sent when nobody says how. */
function encodeAny(message: unknown): Pick<Envelope, "kind" | "body"> {
  if (typeof message === "string") return { kind: "t", body: message };
  if (message instanceof Uint8Array) return { kind: "b", body: message };
  if (message instanceof ArrayBuffer || ArrayBuffer.isView(message)) {
    throw new TypeError("Cannot publish: bytes are sent as a Uint8Array");
  }
  const body = JSON.stringify(message) as string | undefined;
  if (body !== undefined) return { kind: "j", body };
  throw new TypeError(
    `Cannot publish: this cannot be sent as JSON: ${typeof message}`,
  );
}

/** A bus and the engine that joins it to others. */
export class Link<T> implements BackplaneLink {
  readonly #bus: Bus<T>;
  readonly #engine: Backplane;
  readonly #options: BackplaneOptions<T>;
  readonly #prefix: string;
  readonly #maxMessageSize: number;
  readonly #name = nameOf();
  readonly #counts = new Map<string, { run: number; count: number }>();
  readonly #output: LinkOutput;
  readonly #input: LinkInput<T>;
  readonly #unlink: () => void;
  readonly #unwatch: () => void;
  #runs = 0;
  #lost = 0;
  #closing: Promise<void> | undefined;

  constructor(bus: Bus<T>, engine: Backplane, options: BackplaneOptions<T>) {
    const {
      prefix = "sluice.",
      capacity = 1024,
      maxBuffered = 16 * 2 ** 20,
      maxMessageSize = 2 ** 20,
      encode,
      decode,
    } = options;
    checkLimit(capacity, "capacity", 65_536);
    checkLimit(maxBuffered, "maxBuffered", Number.MAX_SAFE_INTEGER);
    checkLimit(maxMessageSize, "maxMessageSize", Number.MAX_SAFE_INTEGER);
    if ((encode === undefined) !== (decode === undefined)) {
      throw new TypeError("Cannot join the bus: encode and decode go together");
    }
    this.#bus = bus;
    this.#engine = engine;
    this.#options = options;
    this.#prefix = prefix;
    this.#maxMessageSize = maxMessageSize;
    const lose = (loss: BackplaneLoss) => this.#lose(loss);
    this.#output = new LinkOutput(engine, { capacity, maxBuffered, lose });
    this.#input = new LinkInput<T>(engine, {
      name: this.#name,
      prefix,
      maxMessageSize,
      decode,
      lose,
      tell: (error) => this.#tell(error),
      deliver: (topic, message) => gate.deliver(bus, topic, message, capacity),
    });
    this.#unwatch = engine.watch(() => this.#look());
    this.#unlink = gate.link<T>(bus, {
      publish: (topic, message) => this.#publish(topic, message),
      want: (topic, wanted) => this.#input.want(topic, wanted),
    });
  }

  get connected(): boolean {
    return this.#engine.connected;
  }

  get buffered(): number {
    return this.#output.length;
  }

  get lost(): number {
    return this.#lost;
  }

  settled(): Promise<void> {
    return this.#input.settled();
  }

  flush(): Promise<boolean> {
    return this.#output.flush();
  }

  close(options: { timeout?: number } = {}): Promise<void> {
    const { timeout = CLOSE_TIMEOUT } = options;
    if (typeof timeout !== "number" || !(timeout >= 0)) {
      return Promise.reject(
        new RangeError(
          `Cannot close: timeout must be 0 or more: ${timeout}`,
        ),
      );
    }
    return this.#closing ??= this.#close(timeout);
  }

  async #close(timeout: number): Promise<void> {
    this.#unlink();
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = timeout > MAX_TIMEOUT
      ? new Promise<never>(() => {})
      : new Promise<void>((resolve) => {
        timer = setTimeout(resolve, timeout);
      });
    const left = Promise.all([this.#output.flush(), this.#input.close()]);
    await Promise.race([left, late]);
    clearTimeout(timer);
    this.#unwatch();
    this.#output.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #look(): void {
    this.#output.look();
    this.#input.look();
  }

  #publish(topic: string, message: T): Promise<void> | undefined {
    const { encode } = this.#options;
    const { kind, body } = encode === undefined
      ? encodeAny(message)
      : encodeAny(encode(message));
    if (kind === "j" && encode !== undefined) {
      throw new TypeError("Cannot publish: encode gives a string or bytes");
    }
    let size = body.length;
    // A character has up to three bytes: mostly there is no need to count.
    if (typeof body === "string" && size * 3 > this.#maxMessageSize) {
      size = encoder.encode(body).length;
    }
    if (size > this.#maxMessageSize) {
      throw new SizeLimitError(
        `Cannot publish: the message has ${size} bytes; maxMessageSize is ${this.#maxMessageSize}`,
        { limit: this.#maxMessageSize },
      );
    }
    const { run, count } = this.#count(topic);
    const envelope = { from: this.#name, run, count, kind, body };
    const data = seal(envelope, this.#engine.binary);
    const channel = this.#prefix + topic;
    return this.#output.push({ topic, channel, data, size });
  }

  /** Numbers the messages of each topic, so that gaps and doubles show. */
  #count(topic: string): { run: number; count: number } {
    const known = this.#counts.get(topic);
    if (known !== undefined) {
      known.count++;
      return known;
    }
    if (this.#counts.size >= MAX_COUNTED) {
      this.#counts.delete(this.#counts.keys().next().value!);
    }
    const fresh = { run: ++this.#runs, count: 1 };
    this.#counts.set(topic, fresh);
    return fresh;
  }

  #lose(loss: BackplaneLoss): void {
    this.#lost += loss.count;
    try {
      this.#options.onLoss?.(loss);
    } catch {
      // It is told, not asked.
    }
  }

  #tell(error: unknown): void {
    try {
      this.#options.onError?.(error);
    } catch {
      // It is told, not asked.
    }
  }
}
