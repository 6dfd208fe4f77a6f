import { malformed, Refusal } from "./_dialogue.ts";
import type { Dialogue, Step } from "./_dialogue.ts";
import type { ProxyPlan } from "./_proxy.ts";

/** Bytes of the head of an answer at most. */
const MAX_HEAD = 16 * 1024;
/** Fields of it at most. */
const MAX_FIELDS = 128;
/** Answers before the real one (100, 103) at most. */
const MAX_INFORMED = 16;
/** Characters of a reason that a message shows. */
const MAX_REASON = 80;

const STATUS = /^HTTP\/1\.[01] ([1-5]\d\d)(?: ([\t\x20-\x7e\x80-\xff]*))?$/;
const FIELD = /^[!#$%&'*+.^_`|~\dA-Za-z-]+:[\t\x20-\x7e\x80-\xff]*$/;

/** CONNECT (RFC 9110, 9.3.6) to a host, as a proxy reads it. */
export function connectDialogue(
  proxy: ProxyPlan,
  hostname: string,
  port: number,
): Dialogue {
  const authority = hostname.includes(":")
    ? `[${hostname}]:${port}`
    : `${hostname}:${port}`;
  let informed = 0;
  return {
    start() {
      let head = `CONNECT ${authority} HTTP/1.1\r\nhost: ${authority}\r\n`;
      for (let i = 0; i < proxy.fields.length; i += 2) {
        head += `${proxy.fields[i]}: ${proxy.fields[i + 1]}\r\n`;
      }
      // `Headers` has refused CR, LF and whatever is not Latin-1.
      return Uint8Array.from(`${head}\r\n`, (char) => char.charCodeAt(0));
    },
    feed(bytes): Step | undefined {
      const end = headEnd(bytes);
      if (end === undefined) {
        checkStart(bytes);
        if (bytes.byteLength <= MAX_HEAD) return undefined;
      }
      if (end === undefined || end > MAX_HEAD) {
        throw new Refusal(
          `the head of its answer is larger than ${MAX_HEAD} bytes`,
          "ERR_SIZE_LIMIT",
        );
      }
      const { status, reason } = readHead(bytes.subarray(0, end - 4));
      // Whatever a 2xx says of a body, there is none: the tunnel begins.
      if (status >= 200 && status <= 299) return { taken: end, done: true };
      if (status >= 100 && status <= 199) {
        if (status === 101) throw malformed("it switches protocols");
        if (++informed > MAX_INFORMED) {
          throw malformed("only informational answers come");
        }
        return { taken: end };
      }
      throw refusal(status, reason);
    },
  };
}

/** Where the body begins; bare LF ends no line, for it could be read two ways. */
function headEnd(bytes: Uint8Array): number | undefined {
  for (let at = bytes.indexOf(10); at !== -1; at = bytes.indexOf(10, at + 1)) {
    if (at === 0 || bytes[at - 1] !== 13) throw malformed("a line without CR");
    if (at >= 3 && bytes[at - 2] === 10) return at + 1;
    if (at > MAX_HEAD) return undefined;
  }
  return undefined;
}

/** Refuses what does not begin as HTTP, before a line of it is whole. */
function checkStart(bytes: Uint8Array): void {
  const start = "HTTP/1.";
  for (let i = 0; i < start.length && i < bytes.byteLength; i++) {
    if (bytes[i] !== start.charCodeAt(i)) throw malformed("it is not HTTP/1");
  }
}

function readHead(bytes: Uint8Array): { status: number; reason: string } {
  checkStart(bytes);
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  const [first, ...fields] = text.split("\r\n");
  const match = STATUS.exec(first);
  if (match === null) throw malformed("no status line");
  if (fields.length > MAX_FIELDS) {
    throw new Refusal(
      `its answer has more than ${MAX_FIELDS} fields`,
      "ERR_SIZE_LIMIT",
    );
  }
  for (const field of fields) {
    if (!FIELD.test(field)) throw malformed("a field that is none");
  }
  return { status: Number(match[1]), reason: match[2] ?? "" };
}

function refusal(status: number, reason: string): Refusal {
  // Text of a stranger's: only what is plain, and not much of it.
  const plain = reason.replace(/[^\x20-\x7e]/g, "").slice(0, MAX_REASON).trim();
  const said = `it answered ${plain === "" ? status : `${status} ${plain}`}`;
  // Some say 401 where 407 is meant.
  if (status === 407 || status === 401) {
    return new Refusal(
      `${said}: give it other user and password in its URL`,
      "ERR_PROXY_AUTH",
    );
  }
  return new Refusal(said, "ERR_PROXY", {
    retryable: status === 429 || (status >= 500 && status !== 501),
    target: status >= 500,
  });
}
