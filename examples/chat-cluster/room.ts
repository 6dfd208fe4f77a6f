import { Bus, Channel, consume } from "../../streams/mod.ts";
import type { Source } from "../../streams/mod.ts";

/** What somebody says; `n` counts what this author has said. */
export interface Line {
  author: string;
  n: number;
  text: string;
}

/** Lines that a client who comes late, or comes back, is given. */
const HISTORY = 10_000;

/**
 * What was said, on whichever server, each line once. An author whose server
 * dies may say a line twice, so a line is known by its author and number; of
 * one author they come in order everywhere.
 */
export class Room {
  readonly #history: (Line & { json: string })[] = [];
  readonly #latest = new Map<string, number>();
  readonly #fresh = new Bus<Line & { json: string }>();

  constructor(lines: Source<Line>) {
    consume(lines, (line) => this.#add(line));
  }

  #add(line: Line): void {
    if (!isNews(this.#latest, line)) return;
    const told = { ...line, json: JSON.stringify(line) };
    this.#history.push(told);
    if (this.#history.length > HISTORY) {
      const { author, n } = this.#history.shift()!;
      if (this.#latest.get(author) === n) this.#latest.delete(author);
    }
    this.#fresh.publish("lines", told);
  }

  /** What a client who has `seen` these does not know yet, and then all else. */
  join(seen: Map<string, number>): Channel<string> {
    const news = new Channel<string>({ capacity: 1000 });
    // Who is too slow is closed, comes back, and gets the rest from history.
    const fresh = this.#fresh.subscribe("lines", {
      capacity: 1000,
      overflow: "close",
    });
    const before = this.#history.slice();
    const tell = (line: Line & { json: string }) =>
      !isNews(seen, line) || news.send(line.json);
    const telling = async () => {
      for (const line of before) if (!(await tell(line))) return;
      await consume(fresh, tell);
    };
    telling().catch(() => {}).finally(() => {
      fresh.close();
      news.close();
    });
    news.closed.then(() => fresh.close());
    return news;
  }
}

/** Whether a line is new to who has heard these; from now on it is not. */
function isNews(heard: Map<string, number>, { author, n }: Line): boolean {
  if (n <= (heard.get(author) ?? 0)) return false;
  heard.set(author, n);
  return true;
}
