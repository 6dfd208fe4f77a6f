import { ProtocolError } from "../streams/errors.ts";
import type { Address } from "../streams/types.ts";

/** Bytes of the header of version 1, its CRLF included, at most. */
const V1_LIMIT = 107;
const V1_START = ascii("PROXY ");
const V2_START = ascii("\r\n\r\n\0\r\nQUIT\n");
/** Signature, version and command, family, length. */
const V2_HEAD = 16;
/** Bytes of both addresses and ports, by family. */
const V2_SIZES: Readonly<Record<number, number>> = { 1: 12, 2: 36, 3: 216 };
/** Bytes of one path of a Unix socket. */
const PATH_SIZE = 108;
const CR = 13;
const LF = 10;

/** Whom the proxy speaks for; neither is there when it is for itself. */
export interface ProxiedAddresses {
  readonly remoteAddress?: Address;
  readonly localAddress?: Address;
}

type Step = "start" | "v1" | "v2" | "addresses" | "tlv" | "skip" | "done";

function ascii(text: string): Uint8Array {
  return Uint8Array.from(text, (char) => char.charCodeAt(0));
}

function malformed(what: string): ProtocolError {
  return new ProtocolError(`Malformed PROXY header: ${what}`, {
    code: "ERR_PROXY_HEADER",
    phase: "proxy",
  });
}

/**
 * Reads the header of HAProxy's PROXY protocol, of either version, in pieces
 * of any size. It is strict, and keeps no more than the addresses.
 */
export class ProxyHeader {
  /** Once the header is complete. */
  addresses: ProxiedAddresses = {};
  #step: Step = "start";
  readonly #kept = new Uint8Array(V2_HEAD + 216);
  #size = 0;
  /** Bytes of the version 2 header still to come, or of one of its TLVs. */
  #left = 0;
  #skip = 0;

  /** Whether nothing has come yet. */
  get empty(): boolean {
    return this.#step === "start" && this.#size === 0;
  }

  /**
   * How many of these bytes belong to the header when it ends in them;
   * `undefined` when more must come. Throws a `ProtocolError`.
   */
  push(bytes: Uint8Array): number | undefined {
    let at = 0;
    while (at < bytes.length) {
      if (this.#step === "skip") {
        const size = Math.min(this.#skip, bytes.length - at);
        at += size;
        this.#skip -= size;
        if (this.#skip === 0) this.#nextTlv();
      } else this.#byte(bytes[at++]);
      if (this.#step === "done") return at;
    }
    return undefined;
  }

  #byte(byte: number): void {
    const kept = this.#kept;
    kept[this.#size++] = byte;
    const size = this.#size;
    switch (this.#step) {
      case "start": {
        const start = kept[0] === V1_START[0] ? V1_START : V2_START;
        if (byte !== start[size - 1]) {
          throw malformed("it begins as no version of the protocol does");
        }
        if (size === start.length) {
          this.#step = start === V1_START ? "v1" : "v2";
        }
        return;
      }
      case "v1":
        if (kept[size - 2] === CR) {
          if (byte !== LF) throw malformed("a CR without its LF");
          this.#step = "done";
          this.addresses = readLine(kept.subarray(0, size - 2));
        } else if (byte === LF) throw malformed("a LF without its CR");
        else if (size === V1_LIMIT) {
          throw malformed(`more than ${V1_LIMIT} bytes in a line`);
        }
        return;
      case "v2":
        if (size === V2_HEAD) this.#head();
        return;
      case "addresses":
        this.#left--;
        if (size === V2_HEAD + V2_SIZES[kept[13] >> 4]) {
          this.addresses = readAddresses(kept);
          this.#nextTlv();
        }
        return;
      case "tlv":
        this.#left--;
        if (size === 3) {
          this.#skip = kept[1] << 8 | kept[2];
          if (this.#skip > this.#left) {
            throw malformed("a TLV is longer than the header");
          }
          this.#left -= this.#skip;
          if (this.#skip === 0) this.#nextTlv();
          else this.#step = "skip";
        }
    }
  }

  #head(): void {
    const command = this.#kept[12];
    const protocol = this.#kept[13];
    const length = this.#kept[14] << 8 | this.#kept[15];
    if (command >> 4 !== 2) throw malformed(`version ${command >> 4}`);
    if ((command & 15) > 1) throw malformed(`command ${command & 15}`);
    // LOCAL, and what is not specified: all that follows is left out.
    if ((command & 15) === 0 || protocol === 0) {
      this.#skip = length;
      this.#step = length === 0 ? "done" : "skip";
      return;
    }
    const family = protocol >> 4;
    const kind = protocol & 15;
    if (V2_SIZES[family] === undefined || kind < 1 || kind > 2) {
      throw malformed(`family and protocol 0x${protocol.toString(16)}`);
    }
    if (length < V2_SIZES[family]) {
      throw malformed(`${length} bytes of addresses`);
    }
    this.#left = length;
    this.#step = "addresses";
  }

  #nextTlv(): void {
    if (this.#left === 0) this.#step = "done";
    else if (this.#left < 3) throw malformed("a TLV is cut short");
    else {
      this.#size = 0;
      this.#step = "tlv";
    }
  }
}

/** The line of version 1, without its CRLF. */
function readLine(line: Uint8Array): ProxiedAddresses {
  const text = String.fromCharCode(...line);
  const [, family, from, to, fromPort, toPort, ...more] = text.split(" ");
  // Whatever follows is to be left out.
  if (family === "UNKNOWN") return {};
  if (family !== "TCP4" && family !== "TCP6") {
    throw malformed("neither TCP4 nor TCP6 nor UNKNOWN");
  }
  if (toPort === undefined || more.length > 0) {
    throw malformed("not two addresses and two ports");
  }
  const read = family === "TCP4" ? readIPv4 : readIPv6;
  const remote = tcp(read(from), readPort(fromPort));
  return {
    remoteAddress: remote,
    localAddress: tcp(read(to), readPort(toPort)),
  };
}

function tcp(hostname: string, port: number): Address {
  return { transport: "tcp", hostname, port };
}

function readPort(text: string): number {
  if (!/^(?:0|[1-9]\d{0,4})$/.test(text) || Number(text) > 65535) {
    throw malformed("a port is not 0 to 65535");
  }
  return Number(text);
}

/** Four numbers without leading zeros, which some would read as octal. */
function readIPv4(text: string): string {
  const numbers = text.split(".");
  const fits = numbers.length === 4 &&
    numbers.every((number) =>
      /^(?:0|[1-9]\d{0,2})$/.test(number) && Number(number) < 256
    );
  if (!fits) throw malformed("not an IPv4 address");
  return text;
}

function readIPv6(text: string): string {
  if (!/^[\da-fA-F:.]{2,45}$/.test(text) || !text.includes(":")) {
    throw malformed("not an IPv6 address");
  }
  const colon = text.lastIndexOf(":");
  // URL would take other spellings of the IPv4 part, too.
  if (text.includes(".")) readIPv4(text.slice(colon + 1));
  return canonical(text);
}

/** The one spelling of RFC 5952, that of mapped IPv4 as in its section 5. */
function canonical(text: string): string {
  let address: string;
  try {
    address = new URL(`http://[${text}]/`).hostname.slice(1, -1);
  } catch {
    throw malformed("not an IPv6 address");
  }
  const mapped = /^::ffff:([\da-f]{1,4}):([\da-f]{1,4})$/.exec(address);
  if (mapped === null) return address;
  const [high, low] = [parseInt(mapped[1], 16), parseInt(mapped[2], 16)];
  return `::ffff:${high >> 8}.${high & 255}.${low >> 8}.${low & 255}`;
}

/** The address block of version 2. */
function readAddresses(header: Uint8Array): ProxiedAddresses {
  const family = header[13] >> 4;
  const size = V2_SIZES[family];
  const block = header.subarray(V2_HEAD, V2_HEAD + size);
  if (family === 3) {
    return {
      remoteAddress: unix(block.subarray(0, PATH_SIZE)),
      localAddress: unix(block.subarray(PATH_SIZE)),
    };
  }
  const length = family === 1 ? 4 : 16;
  const show = family === 1 ? showIPv4 : showIPv6;
  const port = (at: number) => block[at] << 8 | block[at + 1];
  return {
    remoteAddress: tcp(show(block.subarray(0, length)), port(2 * length)),
    localAddress: tcp(
      show(block.subarray(length, 2 * length)),
      port(2 * length + 2),
    ),
  };
}

function showIPv4(bytes: Uint8Array): string {
  return bytes.join(".");
}

function showIPv6(bytes: Uint8Array): string {
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) {
    groups.push((bytes[i] << 8 | bytes[i + 1]).toString(16));
  }
  return canonical(groups.join(":"));
}

/** A path ends at its first NUL; one that begins with it is abstract. */
function unix(bytes: Uint8Array): Address {
  let end = bytes.indexOf(0, bytes[0] === 0 ? 1 : 0);
  if (end < 0) end = bytes.length;
  // A NUL alone is a socket without a name.
  if (end === 1 && bytes[0] === 0) end = 0;
  return {
    transport: "unix",
    path: new TextDecoder().decode(bytes.subarray(0, end)),
  };
}
