import { ProtocolError } from "../streams/errors.ts";
import { parseParams } from "./_challenges.ts";
import { chooseChallenge, DigestAnswers, newNonce } from "./_digest.ts";
import type { Credentials, DigestChallenge, DigestInput } from "./_digest.ts";
import { isReplayable } from "./_client_replay.ts";
import type { ClientResponse } from "./_client_response.ts";
import { sendWith } from "./_client_send_with.ts";
import type { ClientMiddleware } from "./_client_types.ts";
import { FetchError } from "./errors.ts";

/** A hash of Digest authentication; each stands for its `-sess` as well. */
export type DigestAlgorithm = "MD5" | "SHA-256" | "SHA-512-256";

/** Who one is, and to whom. */
export interface DigestOptions {
  /** Without a colon. */
  username: string;
  /** Never sent, not even hashed alone. */
  password: string;
  /**
   * Hashes that one consents to. `MD5` is what old servers want; of several
   * that are offered the one that the server names first is taken.
   * @default {["MD5", "SHA-256", "SHA-512-256"]}
   */
  algorithms?: readonly DigestAlgorithm[];
  /**
   * Origins that are answered, e.g. `"https://api.test"`: with others requests
   * go as they are. @default whatever a request is made to
   */
  origins?: readonly (string | URL)[];
}

const ALGORITHMS: readonly string[] = ["MD5", "SHA-256", "SHA-512-256"];
const KNOWN = ["username", "password", "algorithms", "origins"];
/** Sent again at most so often: unknown, known, stale. */
const MAX_SENT = 3;
/** Protection spaces remembered; the oldest are forgotten. */
const MAX_SPACES = 256;
/** Bytes of a body that is hashed, or sent to where a redirect led. */
const MAX_BODY = 16 * 1024 * 1024;
/** The count has eight digits. */
const MAX_COUNT = 0xffff_ffff;

/**
 * Middleware for `use` of a `Client`: answers challenges of Digest
 * authentication (RFC 7616): MD5, SHA-256 and SHA-512-256, with `-sess`, qop
 * `auth` and, where nothing else is offered, `auth-int` (bodies up to 16 MiB),
 * `userhash`, user names in UTF-8, and the way of before there was qop. What
 * the server gives is kept for each protection space, so that later requests
 * go with credentials at once; it may say the next nonce with
 * `Authentication-Info`.
 *
 * A request is sent three times at most, and again only when it has no body or
 * one that can be sent again; else its 401 is the caller's, as it is when the
 * server does not accept the credentials. A request with an `Authorization` of
 * its own is left alone. Another origin that a redirect leads to gets none.
 * A server that says in `Authentication-Info` that it knows the password, too
 * (`rspauth`), has to: else the request fails with a `FetchError` with code
 * `ERR_RSPAUTH`. With `auth-int` that is of the body, which is then read before
 * the response is there; of one beyond 16 MiB, or that is coded, it is not
 * checked. A server that says nothing of it is not asked.
 *
 * Throws a `TypeError` for options that make no sense.
 *
 * @example
 * ```ts
 * import { Client, digest } from "@sluice/net/http";
 *
 * const client = new Client({
 *   use: [digest({ username: "Mufasa", password: "Circle of Life" })],
 * });
 * await client.close();
 * ```
 */
export function digest(options: DigestOptions): ClientMiddleware {
  const { username, password, algorithms = ALGORITHMS } = options;
  for (const [name, value] of Object.entries(options)) {
    if (value !== undefined && !KNOWN.includes(name)) {
      throw refuse(`no such option: ${name}`);
    }
  }
  if (typeof username !== "string" || typeof password !== "string") {
    throw refuse("username and password must be text");
  }
  if (username.includes(":")) throw refuse("a colon in the user name");
  for (const name of algorithms) {
    if (!ALGORITHMS.includes(name)) throw refuse(`no such algorithm: ${name}`);
  }
  const origins = options.origins?.map((origin) => new URL(origin).origin);
  const spaces = new Spaces({ username, password }, new Set(algorithms));
  return async (request, next) => {
    const url = new URL(request.url);
    if (
      request.headers.has("authorization") ||
      (origins !== undefined && !origins.includes(url.origin))
    ) return await next(request);
    return await converse(request, next, spaces);
  };
}

function refuse(what: string): TypeError {
  return new TypeError(`Cannot authenticate: ${what}`);
}

type Send = (request: Request) => Promise<ClientResponse>;

/** Sends it until the server is content, or cannot be contented. */
async function converse(
  first: Request,
  next: Send,
  spaces: Spaces,
): Promise<ClientResponse> {
  const { origin } = new URL(first.url);
  let request = first;
  let space = spaces.find(new URL(request.url));
  /** Whether the space is of an earlier request: it may have grown old. */
  let old = true;
  for (let sent = 1;; sent++) {
    const shown = await space?.authorize(request);
    const response = await (shown === undefined
      ? next(request)
      : sendWith(request, [["authorization", shown.header]], next));
    const at = new URL(response.url || request.url);
    if (at.origin !== origin) {
      return response;
    }
    // A redirect has taken credentials along that were for its old place.
    const moved = response.redirected && shown !== undefined;
    if (response.status !== 401 && !(moved && response.status === 400)) {
      if (shown === undefined || moved) {
        return response;
      }
      await space!.check(response, shown);
      space!.learn(response, shown.nonce);
      return response;
    }
    let answer = space;
    if (response.status === 401) {
      const field = response.headers.get("www-authenticate");
      const challenge = spaces.choose(field);
      if (challenge === undefined) {
        return response;
      }
      if (
        shown !== undefined && !moved && !challenge.stale &&
        (!old || challenge.nonce === shown.nonce)
      ) {
        // They are not the right ones.
        spaces.forget(space!);
        return response;
      }
      answer = spaces.add(at, challenge);
      old = moved;
    }
    if (sent === MAX_SENT) {
      return response;
    }
    const again = response.redirected
      ? await movedTo(response, request)
      : request.body === null || isReplayable(request)
      ? request
      : undefined;
    if (again === undefined) {
      return response;
    }
    await response.body?.cancel().catch(() => {});
    request = again;
    space = answer;
  }
}

/** The request as a redirect has it, made directly. */
async function movedTo(
  response: ClientResponse,
  request: Request,
): Promise<Request | undefined> {
  const { method, headers, url } = response.request;
  const fields = new Headers(headers);
  fields.delete("authorization");
  let body: Uint8Array | undefined;
  if (request.body !== null && method === request.method) {
    if (!isReplayable(request)) return undefined;
    body = await bytesOf(request);
    if (body === undefined) return undefined;
  }
  const { redirect, signal } = request;
  return new Request(url, {
    ...{ method, headers: fields, redirect, signal },
    body: body as BodyInit | undefined,
  });
}

/** The body; nothing when it is longer than what is kept in memory. */
function bytesOf(request: Request): Promise<Uint8Array | undefined> {
  return piecesOf(request.clone());
}

async function piecesOf(
  { body }: Request | Response,
): Promise<Uint8Array | undefined> {
  if (body === null) return new Uint8Array(0);
  const reader = body.getReader();
  const pieces: Uint8Array[] = [];
  let size = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.byteLength;
    if (size > MAX_BODY) {
      reader.cancel().catch(() => {});
      return undefined;
    }
    pieces.push(value);
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.byteLength;
  }
  return bytes;
}

/** What a request went with. */
interface Shown {
  readonly header: string;
  readonly nonce: string;
  readonly input: DigestInput;
}

const NOTHING = new Uint8Array(0);

/** A protection space, and how far its nonce is counted. */
class Space {
  readonly origin: string;
  readonly realm: string;
  nonce: string;
  readonly #answers: DigestAnswers;
  /** Paths that it is for. */
  readonly #paths: string[] = [];
  #count = 0;
  /** That of a session is always the same. */
  readonly #cnonce = newNonce();

  constructor(url: URL, challenge: DigestChallenge, given: Credentials) {
    this.origin = url.origin;
    this.realm = challenge.realm;
    this.nonce = challenge.nonce;
    this.#answers = new DigestAnswers(challenge, given);
    for (const uri of challenge.domain) {
      // Other origins are none of its business, whatever it says.
      const place = URL.canParse(uri, url) ? new URL(uri, url) : undefined;
      if (place?.origin === url.origin) this.#paths.push(place.pathname);
    }
    // What was asked for is a part of it in any case.
    if (challenge.domain.length > 0) this.#paths.push(url.pathname);
  }

  /** Length of the path that it has in common with what is asked for. */
  covers(url: URL): number {
    if (url.origin !== this.origin) return -1;
    if (this.#paths.length === 0) return 0;
    const { pathname } = url;
    let longest = -1;
    for (const path of this.#paths) {
      if (pathname.startsWith(path)) longest = Math.max(longest, path.length);
    }
    return longest;
  }

  /** The field for a request; nothing when it cannot be made. */
  async authorize(
    request: Request,
  ): Promise<Shown | undefined> {
    const { challenge } = this.#answers;
    let body: Uint8Array | undefined = new Uint8Array(0);
    if (challenge.qop === "auth-int" && request.body !== null) {
      body = isReplayable(request) ? await bytesOf(request) : undefined;
    }
    if (body === undefined || this.#count === MAX_COUNT) return undefined;
    const { pathname, search } = new URL(request.url);
    const { nonce } = this;
    const input: DigestInput = {
      method: request.method,
      uri: pathname + search,
      nonce,
      cnonce: challenge.session ? this.#cnonce : newNonce(),
      count: ++this.#count,
      body,
    };
    const header = await this.#answers.header(input);
    return { header, nonce, input: { ...input, body: NOTHING } };
  }

  /** Throws when the server says that it knows the password, and does not. */
  async check(response: ClientResponse, { input }: Shown): Promise<void> {
    const field = response.headers.get("authentication-info");
    const info = parseParams(field);
    const rspauth = info?.get("rspauth");
    if (info === undefined || rspauth === undefined) return;
    const qop = info.get("qop")?.toLowerCase();
    let body: Uint8Array | undefined = NOTHING;
    if ((qop ?? this.#answers.challenge.qop) === "auth-int") {
      // It is of what was sent, which is not what a decoded body is.
      if (response.headers.has("content-encoding")) return;
      if (response.body !== null) body = await piecesOf(response.clone());
    }
    // Too much to be held.
    if (body === undefined) return;
    const { origin } = this;
    const [cnonce, nc] = [info.get("cnonce"), info.get("nc")];
    if (
      await this.#answers.confirms({ rspauth, qop, cnonce, nc }, {
        ...input,
        body,
      })
    ) return;
    await response.body?.cancel().catch(() => {});
    throw new FetchError(
      `Cannot trust the answer of ${origin}: what it says in ` +
        "Authentication-Info is not of who knows the password (rspauth)",
      new ProtocolError("rspauth is not the one expected", {
        code: "ERR_RSPAUTH",
        phase: "response",
      }),
    );
  }

  /** Takes the nonce that the server wants next (RFC 7616, 3.5). */
  learn(response: ClientResponse, nonce: string): void {
    const field = response.headers.get("authentication-info");
    const next = parseParams(field)?.get("nextnonce");
    // Another request may have been told another one since.
    if (next === undefined || next === "" || this.nonce !== nonce) return;
    if (next === nonce) return;
    this.nonce = next;
    this.#count = 0;
  }
}

/** The protection spaces that are known. */
class Spaces {
  readonly #given: Credentials;
  readonly #algorithms: ReadonlySet<string>;
  /** The newest one last. */
  readonly #list = new Map<string, Space>();

  constructor(given: Credentials, algorithms: ReadonlySet<string>) {
    this.#given = given;
    this.#algorithms = algorithms;
  }

  choose(field: string | null): DigestChallenge | undefined {
    return chooseChallenge(field, this.#algorithms);
  }

  /** The space of a URL: of several the nearest one, then the newest. */
  find(url: URL): Space | undefined {
    let found: Space | undefined;
    let nearest = 0;
    for (const space of this.#list.values()) {
      const covered = space.covers(url);
      if (covered < nearest) continue;
      found = space;
      nearest = covered;
    }
    return found;
  }

  add(url: URL, challenge: DigestChallenge): Space {
    const space = new Space(url, challenge, this.#given);
    const key = keyOf(space);
    this.#list.delete(key);
    this.#list.set(key, space);
    if (this.#list.size > MAX_SPACES) {
      const [oldest] = this.#list.keys();
      this.#list.delete(oldest);
    }
    return space;
  }

  forget(space: Space): void {
    const key = keyOf(space);
    if (this.#list.get(key) === space) this.#list.delete(key);
  }
}

function keyOf(space: Space): string {
  return `${space.origin} ${space.realm}`;
}
