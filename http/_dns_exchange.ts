import { DnsError, TimeoutError } from "../streams/errors.ts";
import type { NetError } from "../streams/errors.ts";
import { connect } from "../tcp/connect.ts";
import { encodeQuestion, parseAnswer } from "./_dns_message.ts";
import { BADVERS, FORMERR, NOTIMP } from "./_dns_message.ts";
import { NOERROR, NXDOMAIN } from "./_dns_message.ts";
import type { DnsAnswer } from "./_dns_message.ts";

/** Where a server of DNS is. */
export interface DnsServer {
  readonly hostname: string;
  readonly port: number;
}

/** What is asked. */
export interface DnsQuestion {
  readonly name: string;
  readonly type: number;
}

/** Datagrams that are not the answer; more, and somebody is guessing. */
const MAX_STRAY = 16;

function randomId(): number {
  return crypto.getRandomValues(new Uint16Array(1))[0];
}

/** Runs something that ends when its time is up, or nobody waits for it. */
export async function limited<T>(
  ms: number,
  outer: AbortSignal,
  run: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  outer.throwIfAborted();
  const inner = new AbortController();
  const abort = () => inner.abort(outer.reason);
  outer.addEventListener("abort", abort, { once: true });
  const timer = setTimeout(() => {
    inner.abort(
      new TimeoutError(`Nothing came within ${ms} ms`, { phase: "lookup" }),
    );
  }, ms);
  try {
    return await run(inner.signal);
  } catch (error) {
    throw inner.signal.aborted ? inner.signal.reason : error;
  } finally {
    clearTimeout(timer);
    outer.removeEventListener("abort", abort);
  }
}

/** Asks a server: over UDP, and over TCP what does not fit. */
export async function ask(
  server: DnsServer,
  question: DnsQuestion,
  signal: AbortSignal,
): Promise<DnsAnswer> {
  let answer = await askOnce(server, question, true, signal);
  const { rcode } = answer;
  if (rcode === FORMERR || rcode === NOTIMP || rcode === BADVERS) {
    // It may be too old for EDNS (RFC 6891, 7).
    answer = await askOnce(server, question, false, signal);
  }
  if (answer.rcode === NOERROR || answer.rcode === NXDOMAIN) return answer;
  throw new DnsError(
    `The server ${server.hostname} answers with the code ${answer.rcode}`,
    { code: "EAI_AGAIN", retryable: true },
  );
}

async function askOnce(
  server: DnsServer,
  question: DnsQuestion,
  edns: boolean,
  signal: AbortSignal,
): Promise<DnsAnswer> {
  const answer = await askUdp(server, question, edns, signal);
  return answer === undefined || answer.truncated
    ? await askTcp(server, question, edns, signal)
    : answer;
}

/** From a port and with an id of its own; `undefined`: it is not to be had. */
async function askUdp(
  server: DnsServer,
  { name, type }: DnsQuestion,
  edns: boolean,
  signal: AbortSignal,
): Promise<DnsAnswer | undefined> {
  const { bind } = await import("../udp/bind.ts");
  const question = { id: randomId(), name, type };
  const refused = new AbortController();
  const stop = () => refused.abort(signal.reason);
  signal.addEventListener("abort", stop, { once: true });
  const socket = await bind({
    remote: { transport: "udp", ...server },
    signal,
    onError: (error: NetError) => refused.abort(error),
  });
  try {
    await socket.send({ data: encodeQuestion(question, edns) });
    for (let stray = 0; stray < MAX_STRAY; stray++) {
      const datagram = await socket.receive({ signal: refused.signal });
      if (datagram === undefined) break;
      try {
        return parseAnswer(datagram.data, question);
      } catch {
        // Anybody may have sent it: the answer can still come.
      }
    }
    return undefined;
  } finally {
    signal.removeEventListener("abort", stop);
    socket.destroy();
  }
}

/** With its length before it (RFC 7766, 8). */
async function askTcp(
  server: DnsServer,
  { name, type }: DnsQuestion,
  edns: boolean,
  signal: AbortSignal,
): Promise<DnsAnswer> {
  const question = { id: randomId(), name, type };
  const connection = await connect({ ...server, signal });
  try {
    const message = encodeQuestion(question, edns);
    const framed = new Uint8Array(message.length + 2);
    framed.set([message.length >> 8, message.length & 255]);
    framed.set(message, 2);
    await connection.send(framed);
    let held = new Uint8Array(0);
    for (;;) {
      if (held.length >= 2) {
        const length = held[0] << 8 | held[1];
        if (held.length >= length + 2) {
          const answer = parseAnswer(held.subarray(2, length + 2), question);
          if (!answer.truncated) return answer;
          throw new DnsError("The answer is cut off over TCP, too", {
            code: "EAI_AGAIN",
          });
        }
      }
      const chunk = await connection.receive({ signal });
      if (chunk === undefined) {
        throw new DnsError("The server ended the connection early", {
          code: "EAI_AGAIN",
          retryable: true,
        });
      }
      const more = new Uint8Array(held.length + chunk.length);
      more.set(held);
      more.set(chunk, held.length);
      held = more;
    }
  } finally {
    connection.destroy();
  }
}
