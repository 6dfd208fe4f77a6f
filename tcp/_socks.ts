import { malformed, Refusal } from "./_dialogue.ts";
import type { Dialogue, Step } from "./_dialogue.ts";
import { ipBytes } from "./_ip.ts";
import type { ProxyPlan } from "./_proxy.ts";

const encoder = new TextEncoder();

/** What a SOCKS5 reply says, and as which code (RFC 1928, 6). */
const REPLIES: Readonly<Record<number, readonly [string, string, boolean]>> = {
  1: ["general failure", "ERR_PROXY", true],
  2: ["not allowed by its rules", "ERR_PROXY", false],
  3: ["the network cannot be reached", "ENETUNREACH", true],
  4: ["the host cannot be reached", "EHOSTUNREACH", true],
  5: ["connection refused", "ECONNREFUSED", true],
  6: ["TTL expired", "EHOSTUNREACH", true],
  7: ["it does not know CONNECT", "ERR_PROXY", false],
  8: ["it does not know this kind of address", "EAFNOSUPPORT", false],
};

/** Address type, address and port, as SOCKS5 has them. */
function place(hostname: string, port: number): number[] {
  const bytes = ipBytes(hostname);
  const name = encoder.encode(hostname);
  return [
    ...(bytes === undefined
      ? [3, name.byteLength, ...name]
      : [bytes.length === 4 ? 1 : 4, ...bytes]),
    port >> 8,
    port & 255,
  ];
}

/** SOCKS5 (RFC 1928), with user and password when there are (RFC 1929). */
export function socks5Dialogue(
  proxy: ProxyPlan,
  hostname: string,
  port: number,
): Dialogue {
  const { user, password } = proxy;
  const request = Uint8Array.from([5, 1, 0, ...place(hostname, port)]);
  let state: "method" | "auth" | "reply" = "method";
  const onMethod = (bytes: Uint8Array): Step | undefined => {
    if (bytes[0] !== 5) throw malformed("it is not SOCKS5");
    if (bytes.byteLength < 2) return undefined;
    const method = bytes[1];
    if (method === 0) {
      state = "reply";
      return { taken: 2, say: request };
    }
    if (method === 2 && user !== undefined) {
      state = "auth";
      const [name, secret] = [encoder.encode(user), encoder.encode(password)];
      return {
        taken: 2,
        say: Uint8Array.from([
          ...[1, name.byteLength, ...name, secret.byteLength, ...secret],
        ]),
      };
    }
    if (method === 255) {
      throw new Refusal(
        user === undefined
          ? "it wants to know who one is (reply 255): give user and password " +
            "in its URL"
          : "it takes no user and password (reply 255)",
        "ERR_PROXY_AUTH",
      );
    }
    throw malformed(`a method that was not offered: ${method}`);
  };
  const onAuth = (bytes: Uint8Array): Step | undefined => {
    if (bytes[0] !== 1) throw malformed("it is not RFC 1929");
    if (bytes.byteLength < 2) return undefined;
    if (bytes[1] !== 0) {
      throw new Refusal(
        `it refused user and password (status ${bytes[1]})`,
        "ERR_PROXY_AUTH",
      );
    }
    state = "reply";
    return { taken: 2, say: request };
  };
  const onReply = (bytes: Uint8Array): Step | undefined => {
    const size = bytes.byteLength;
    if (bytes[0] !== 5) throw malformed("it is not SOCKS5");
    if (size < 2) return undefined;
    if (bytes[1] !== 0) {
      const [meaning, code, target] = REPLIES[bytes[1]] ??
        ["unknown", "ERR_PROXY", false];
      throw new Refusal(
        `it refused with reply ${bytes[1]} (${meaning})`,
        code,
        { retryable: target, target },
      );
    }
    if (size >= 3 && bytes[2] !== 0) {
      throw malformed("its reserved byte is not 0");
    }
    if (size < 4) return undefined;
    if (bytes[3] !== 1 && bytes[3] !== 3 && bytes[3] !== 4) {
      throw malformed(`no such address type: ${bytes[3]}`);
    }
    if (size < 5) return undefined;
    const length = bytes[3] === 1 ? 4 : bytes[3] === 4 ? 16 : 1 + bytes[4];
    const taken = 4 + length + 2;
    return size < taken ? undefined : { taken, done: true };
  };
  return {
    start: () => Uint8Array.from(user === undefined ? [5, 1, 0] : [5, 2, 0, 2]),
    feed: (bytes) =>
      state === "method"
        ? onMethod(bytes)
        : state === "auth"
        ? onAuth(bytes)
        : onReply(bytes),
  };
}

/** What a SOCKS4 reply says, and as which code. */
const REPLIES_4: Readonly<Record<number, readonly [string, string]>> = {
  91: ["rejected or failed", "ERR_PROXY"],
  92: ["it cannot reach an identd here", "ERR_PROXY_AUTH"],
  93: ["identd here says another user", "ERR_PROXY_AUTH"],
};

/** SOCKS4; a name, which is 4a, goes behind the address 0.0.0.1. */
export function socks4Dialogue(
  proxy: ProxyPlan,
  hostname: string,
  port: number,
): Dialogue {
  const bytes = ipBytes(hostname);
  if (bytes?.length === 16) {
    throw new Refusal("SOCKS4 knows only IPv4", "EAFNOSUPPORT");
  }
  if (hostname.startsWith("0.0.0.") && bytes !== undefined) {
    // A proxy would wait for the name that goes behind these (SOCKS4A).
    throw new Refusal("SOCKS4 cannot say 0.0.0.x", "EADDRNOTAVAIL");
  }
  return {
    start: () =>
      Uint8Array.from([
        ...[4, 1, port >> 8, port & 255, ...(bytes ?? [0, 0, 0, 1])],
        ...encoder.encode(proxy.user ?? ""),
        0,
        ...(bytes === undefined ? [...encoder.encode(hostname), 0] : []),
      ]),
    feed(bytes) {
      if (bytes[0] !== 0) throw malformed("it is not SOCKS4");
      if (bytes.byteLength < 2) return undefined;
      const reply = bytes[1];
      if (reply !== 90) {
        const known = REPLIES_4[reply];
        if (known === undefined) throw malformed(`no such reply: ${reply}`);
        throw new Refusal(
          `it refused with reply ${reply} (${known[0]})`,
          known[1],
          { retryable: reply === 91, target: reply === 91 },
        );
      }
      return bytes.byteLength < 8 ? undefined : { taken: 8, done: true };
    },
  };
}
