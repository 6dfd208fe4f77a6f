import { isToken } from "./_field_syntax.ts";

/** One way that a server offers to tell it who one is (RFC 9110, 11.3). */
export interface Challenge {
  /** In lower case. */
  readonly scheme: string;
  /** By names in lower case; quotes are taken off. */
  readonly params: ReadonlyMap<string, string>;
}

/** More is not looked at. */
const MAX_LENGTH = 16 * 1024;
const MAX_CHALLENGES = 32;
const MAX_PARAMS = 32;

/**
 * Reads `WWW-Authenticate` (RFC 9110, 11.6.1), several fields of it joined by
 * commas, too. None at all when one is malformed: what is not clear is not
 * answered.
 */
export function parseChallenges(text: string | null): Challenge[] {
  if (text === null || text.length > MAX_LENGTH) return [];
  return new ChallengeReader(text).all() ?? [];
}

/** Reads parameters alone, as of `Authentication-Info` (RFC 7615). */
export function parseParams(
  text: string | null,
): ReadonlyMap<string, string> | undefined {
  if (text === null || text.length > MAX_LENGTH) return undefined;
  return new ChallengeReader(text).only();
}

class ChallengeReader {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  all(): Challenge[] | undefined {
    const list: Challenge[] = [];
    this.#commas();
    while (!this.#ended) {
      const scheme = this.#token();
      if (scheme === undefined || list.length === MAX_CHALLENGES) {
        return undefined;
      }
      let params: Map<string, string> | undefined = new Map();
      if (this.#peek() === " ") {
        this.#space();
        if (!this.#token68()) params = this.#params();
      }
      if (params === undefined) return undefined;
      list.push({ scheme: scheme.toLowerCase(), params });
      if (!this.#separator()) return undefined;
    }
    return list;
  }

  only(): Map<string, string> | undefined {
    this.#commas();
    const params = this.#params();
    return params !== undefined && this.#separator() && this.#ended
      ? params
      : undefined;
  }

  /** Up to what is no parameter; before it there was a comma. */
  #params(): Map<string, string> | undefined {
    const params = new Map<string, string>();
    while (!this.#ended) {
      const from = this.#at;
      const name = this.#token()?.toLowerCase();
      this.#space();
      if (name === undefined || this.#peek() !== "=") {
        // The scheme of the next challenge.
        this.#at = from;
        return params;
      }
      this.#at++;
      this.#space();
      const value = this.#peek() === '"' ? this.#quoted() : this.#token();
      // Twice the same, and it could be read in two ways.
      if (
        value === undefined || params.has(name) || params.size === MAX_PARAMS
      ) return undefined;
      params.set(name, value);
      const end = this.#at;
      if (!this.#separator()) return undefined;
      if (this.#ended) return params;
      // What follows is looked at from here; its comma is looked for again.
      if (!this.#param()) {
        this.#at = end;
        return params;
      }
    }
    return params;
  }

  /** Whether a name with a value follows. */
  #param(): boolean {
    const from = this.#at;
    const name = this.#token();
    this.#space();
    const found = name !== undefined && this.#peek() === "=";
    this.#at = from;
    return found;
  }

  #peek(): string {
    return this.#text[this.#at] ?? "";
  }

  get #ended(): boolean {
    return this.#at >= this.#text.length;
  }

  #space(): void {
    while (this.#peek() === " " || this.#peek() === "\t") this.#at++;
  }

  #commas(): void {
    while (
      this.#peek() === "," || this.#peek() === " " || this.#peek() === "\t"
    ) {
      this.#at++;
    }
  }

  /** A comma, with empty elements about it, or the end. */
  #separator(): boolean {
    this.#space();
    if (this.#ended) return true;
    if (this.#peek() !== ",") return false;
    this.#commas();
    return true;
  }

  #token(): string | undefined {
    const from = this.#at;
    while (isToken(this.#peek())) this.#at++;
    return this.#at === from ? undefined : this.#text.slice(from, this.#at);
  }

  #quoted(): string | undefined {
    let value = "";
    for (this.#at++; !this.#ended; this.#at++) {
      if (this.#peek() === '"') {
        this.#at++;
        return value;
      }
      if (this.#peek() === "\\") this.#at++;
      value += this.#peek();
    }
    return undefined;
  }

  /** Skips what some schemes have in place of parameters. */
  #token68(): boolean {
    const from = this.#at;
    while (/^[\w.~+/-]$/.test(this.#peek())) this.#at++;
    if (this.#at > from) {
      while (this.#peek() === "=") this.#at++;
      this.#space();
      if (this.#ended || this.#peek() === ",") return true;
    }
    this.#at = from;
    return false;
  }
}
