import { parseChallenges } from "./_challenges.ts";
import { md5 } from "./_md5.ts";
import { sha512t256 } from "./_sha512_256.ts";

/** Who one is. */
export interface Credentials {
  readonly username: string;
  readonly password: string;
}

/** What a server wants to be told (RFC 7616, 3.3). */
export interface DigestChallenge {
  readonly realm: string;
  readonly nonce: string;
  readonly opaque: string | undefined;
  /** As the server writes it; `undefined` when it does not. */
  readonly algorithm: string | undefined;
  readonly hash: string;
  readonly session: boolean;
  /** `undefined`: as it was done before there was qop (RFC 2069). */
  readonly qop: "auth" | "auth-int" | undefined;
  readonly stale: boolean;
  readonly userhash: boolean;
  readonly utf8: boolean;
  /** URIs that the same credentials are for; none: all of the origin. */
  readonly domain: readonly string[];
}

type Hash = (bytes: Uint8Array) => Uint8Array | Promise<Uint8Array>;

const HASHES: ReadonlyMap<string, Hash> = new Map<string, Hash>([
  ["MD5", md5],
  ["SHA-256", async (bytes) => {
    const given = bytes as Uint8Array<ArrayBuffer>;
    return new Uint8Array(await crypto.subtle.digest("SHA-256", given));
  }],
  ["SHA-512-256", sha512t256],
]);

const encoder = new TextEncoder();

/** The first challenge that can be answered, as the server prefers. */
export function chooseChallenge(
  field: string | null,
  allowed: ReadonlySet<string>,
): DigestChallenge | undefined {
  for (const { scheme, params } of parseChallenges(field)) {
    if (scheme !== "digest") continue;
    const realm = params.get("realm");
    const nonce = params.get("nonce");
    if (realm === undefined || nonce === undefined) continue;
    const algorithm = params.get("algorithm");
    const name = (algorithm ?? "MD5").toUpperCase();
    const session = name.endsWith("-SESS");
    const hash = session ? name.slice(0, -5) : name;
    if (!HASHES.has(hash) || !allowed.has(hash)) continue;
    const offered = params.get("qop")?.toLowerCase().split(/[ \t,]+/);
    const qop = (["auth", "auth-int"] as const)
      .find((qop) => offered?.includes(qop));
    if (offered !== undefined && qop === undefined) continue;
    const domain = params.get("domain")?.split(/[ \t]+/).filter(Boolean);
    return {
      ...{ realm, nonce, algorithm, hash, session, qop },
      opaque: params.get("opaque"),
      stale: params.get("stale")?.toLowerCase() === "true",
      userhash: params.get("userhash")?.toLowerCase() === "true",
      utf8: params.get("charset")?.toLowerCase() === "utf-8",
      domain: domain ?? [],
    };
  }
  return undefined;
}

/** What an answer is made for. */
export interface DigestInput {
  readonly method: string;
  /** Path and query, as they are sent. */
  readonly uri: string;
  readonly nonce: string;
  readonly cnonce: string;
  readonly count: number;
  /** The body, for auth-int. */
  readonly body: Uint8Array;
}

/** What a server shows that it knows the password by. */
export interface DigestInfo {
  readonly rspauth: string;
  readonly qop: string | undefined;
  readonly cnonce: string | undefined;
  readonly nc: string | undefined;
}

/**
 * Answers challenges of one protection space. Text of the server's is taken
 * byte by byte; what the caller says is hashed as UTF-8.
 */
export class DigestAnswers {
  readonly challenge: DigestChallenge;
  readonly #user: string;
  readonly #password: string;
  readonly #hash: Hash;
  #secret: Promise<string> | undefined;

  constructor(challenge: DigestChallenge, given: Credentials) {
    this.challenge = challenge;
    const { username, password } = given;
    // RFC 7616, 4: in its composed form, where the server says UTF-8.
    this.#user = challenge.utf8 ? username.normalize("NFC") : username;
    this.#password = challenge.utf8 ? password.normalize("NFC") : password;
    this.#hash = HASHES.get(challenge.hash)!;
  }

  /** The value of `Authorization`. */
  async header(input: DigestInput): Promise<string> {
    const { realm, opaque, algorithm, qop, userhash } = this.challenge;
    const { uri, nonce, cnonce, count } = input;
    const nc = count.toString(16).padStart(8, "0");
    const secret = await this.#secretOf(nonce, cnonce);
    const target = `${input.method}:${uri}`;
    const wanted = await this.#of(
      qop === "auth-int"
        ? `${target}:${hex(await this.#hash(input.body))}`
        : target,
    );
    const response = await this.#of(
      qop === undefined
        ? `${secret}:${nonce}:${wanted}`
        : [secret, nonce, nc, cnonce, qop, wanted].join(":"),
    );
    const parts = [
      await this.#userPart(),
      `realm=${quote(realm)}`,
      `nonce=${quote(nonce)}`,
      `uri=${quote(uri)}`,
      `response="${response}"`,
    ];
    if (algorithm !== undefined) parts.push(`algorithm=${algorithm}`);
    if (opaque !== undefined) parts.push(`opaque=${quote(opaque)}`);
    if (qop !== undefined) parts.push(`qop=${qop}`, `nc=${nc}`);
    if (qop !== undefined || this.challenge.session) {
      parts.push(`cnonce="${cnonce}"`);
    }
    if (userhash) parts.push("userhash=true");
    return `Digest ${parts.join(", ")}`;
  }

  /**
   * Whether the server has shown that it knows the password, too, in
   * `Authentication-Info` of its answer to that request (RFC 7616, 3.5). The
   * `body` is that of the answer.
   */
  async confirms(info: DigestInfo, input: DigestInput): Promise<boolean> {
    const { uri, nonce, cnonce, count } = input;
    const nc = count.toString(16).padStart(8, "0");
    const { qop = this.challenge.qop } = info;
    if (qop !== undefined && qop !== "auth" && qop !== "auth-int") return false;
    // It is of another request.
    if (info.cnonce !== undefined && info.cnonce !== cnonce) return false;
    if (info.nc !== undefined && info.nc.toLowerCase() !== nc) return false;
    const secret = await this.#secretOf(nonce, cnonce);
    const given = await this.#of(
      qop === "auth-int"
        ? `:${uri}:${hex(await this.#hash(input.body))}`
        : `:${uri}`,
    );
    const right = await this.#of(
      qop === undefined
        ? `${secret}:${nonce}:${given}`
        : [secret, nonce, nc, cnonce, qop, given].join(":"),
    );
    return info.rspauth.toLowerCase() === right;
  }

  /** A1, hashed; that of a session is made of its first nonces. */
  #secretOf(nonce: string, cnonce: string): Promise<string> {
    return this.#secret ??= (async () => {
      const { realm, session } = this.challenge;
      const secret = await this.#of(
        `${utf8(this.#user)}:${realm}:${utf8(this.#password)}`,
      );
      return session ? await this.#of(`${secret}:${nonce}:${cnonce}`) : secret;
    })();
  }

  async #userPart(): Promise<string> {
    const { realm, userhash } = this.challenge;
    if (userhash) {
      return `username="${await this.#of(`${utf8(this.#user)}:${realm}`)}"`;
    }
    // RFC 7616, 3.4: what no quoted text can hold goes as RFC 8187 says.
    return /^[\x20-\x7e]*$/.test(this.#user)
      ? `username=${quote(this.#user)}`
      : `username*=UTF-8''${percent(this.#user)}`;
  }

  /** The hash of bytes that are written as Latin-1. */
  async #of(text: string): Promise<string> {
    const bytes = Uint8Array.from(text, (char) => char.charCodeAt(0));
    return hex(await this.#hash(bytes));
  }
}

function hex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text;
}

/** Text as its bytes in UTF-8, each of them a character. */
function utf8(text: string): string {
  let bytes = "";
  for (const byte of encoder.encode(text)) bytes += String.fromCharCode(byte);
  return bytes;
}

function quote(text: string): string {
  return `"${text.replace(/["\\]/g, "\\$&")}"`;
}

/** All but letters and digits, which are attr-char, is escaped (RFC 8187). */
function percent(text: string): string {
  let out = "";
  for (const byte of encoder.encode(text)) {
    const char = String.fromCharCode(byte);
    out += /[A-Za-z0-9]/.test(char)
      ? char
      : `%${byte.toString(16).toUpperCase().padStart(2, "0")}`;
  }
  return out;
}

/** A new nonce of the client's: 128 bits. */
export function newNonce(): string {
  return hex(crypto.getRandomValues(new Uint8Array(16)));
}
