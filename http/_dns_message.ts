import { ProtocolError } from "../streams/errors.ts";

/** Types of records that are asked for. */
export const A = 1;
export const AAAA = 28;
const CNAME = 5;
const SOA = 6;
const OPT = 41;
const IN = 1;

/** Codes of answers that mean something here (RFC 1035, 4.1.1). */
export const NOERROR = 0;
export const FORMERR = 1;
export const NXDOMAIN = 3;
export const NOTIMP = 4;
export const BADVERS = 16;

/** What UDP answers may hold, as EDNS0 says it (RFC 6891): no fragments. */
export const UDP_SIZE = 1232;
/** Names that stand for each other, one after the other. */
export const MAX_CHAIN = 16;
const MAX_NAME = 255;
const HEADER = 12;
const FLAG_QR = 0x8000;
const FLAG_TC = 0x0200;
const FLAG_RD = 0x0100;
const MASK_OPCODE = 0x7800;

/** What an answer says of a question. */
export interface DnsAnswer {
  readonly rcode: number;
  /** It did not fit: it has to be asked for over TCP. */
  readonly truncated: boolean;
  /** Name that the one asked for stands for in the end. */
  readonly name: string;
  /** How many names lie between. */
  readonly chain: number;
  readonly addresses: readonly string[];
  /** Seconds that the addresses hold. */
  readonly ttl: number;
  /** Seconds that their absence does (RFC 2308, 5), if that is said. */
  readonly negativeTtl: number | undefined;
}

/** Whether it is a host name that can be asked for, without a dot at its end. */
export function isHostName(name: string): boolean {
  return name.length > 0 && name.length <= 253 &&
    name.split(".").every((label) => /^[a-z\d_-]{1,63}$/i.test(label));
}

/** A question (RFC 1035, 4.1). */
export function encodeQuestion(
  { id, name, type }: { id: number; name: string; type: number },
  edns: boolean,
): Uint8Array {
  const length = HEADER + name.length + 2 + 4 + (edns ? 11 : 0);
  const bytes = new Uint8Array(length);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, id);
  view.setUint16(2, FLAG_RD);
  view.setUint16(4, 1);
  view.setUint16(10, edns ? 1 : 0);
  let at = HEADER;
  for (const label of name.split(".")) {
    bytes[at++] = label.length;
    for (let i = 0; i < label.length; i++) bytes[at++] = label.charCodeAt(i);
  }
  at++;
  view.setUint16(at, type);
  view.setUint16(at + 2, IN);
  if (edns) {
    // The root, OPT, and what fits.
    view.setUint16(at + 5, OPT);
    view.setUint16(at + 7, UDP_SIZE);
  }
  return bytes;
}

interface DnsRecord {
  readonly name: string;
  readonly type: number;
  readonly ttl: number;
  /** Where its data is. */
  readonly at: number;
  readonly length: number;
}

/** Reads a message, front to back and never past its end. */
class Reader {
  readonly bytes: Uint8Array;
  at = 0;

  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }

  u8(): number {
    if (this.at >= this.bytes.length) throw malformed("it ends early");
    return this.bytes[this.at++];
  }

  u16(): number {
    return this.u8() << 8 | this.u8();
  }

  u32(): number {
    return this.u16() * 0x10000 + this.u16();
  }

  /** A name in lower case; its pointers lead towards the front only. */
  name(): string {
    const labels: string[] = [];
    let size = 1;
    let end: number | undefined;
    let bound = this.at;
    for (;;) {
      const length = this.u8();
      if (length === 0) break;
      if (length < 64) {
        size += length + 1;
        if (size > MAX_NAME) throw malformed("a name is too long");
        labels.push(this.#label(length));
      } else if (length >= 192) {
        const target = (length & 63) << 8 | this.u8();
        end ??= this.at;
        if (target < HEADER || target >= bound) {
          throw malformed("a name points to what comes later");
        }
        this.at = bound = target;
      } else {
        throw malformed("a label of an unknown kind");
      }
    }
    if (end !== undefined) this.at = end;
    return labels.join(".");
  }

  /** Bytes that no host name has are written so that they equal none. */
  #label(length: number): string {
    let label = "";
    for (let i = 0; i < length; i++) {
      const code = this.u8();
      label += code > 0x20 && code < 0x7f && code !== 0x2e && code !== 0x5c
        ? String.fromCharCode(code).toLowerCase()
        : `\\${code}`;
    }
    return label;
  }

  record(): DnsRecord & { readonly kind: number } {
    const name = this.name();
    const type = this.u16();
    const kind = this.u16();
    const ttl = this.u32();
    const length = this.u16();
    const at = this.at;
    if (at + length > this.bytes.length) throw malformed("it ends early");
    this.at = at + length;
    // The top bit makes it none (RFC 2181, 8).
    return { name, type, kind, ttl: ttl >= 2 ** 31 ? 0 : ttl, at, length };
  }
}

function malformed(why: string): ProtocolError {
  return new ProtocolError(`Cannot read an answer of DNS: ${why}`, {
    phase: "lookup",
  });
}

/**
 * Reads the answer to a question; throws for what is malformed, and for what
 * answers something else.
 */
export function parseAnswer(
  bytes: Uint8Array,
  question: { id: number; name: string; type: number },
): DnsAnswer {
  const reader = new Reader(bytes);
  if (reader.u16() !== question.id) throw malformed("it has another id");
  const flags = reader.u16();
  if ((flags & FLAG_QR) === 0 || (flags & MASK_OPCODE) !== 0) {
    throw malformed("it is no answer");
  }
  const counts = [reader.u16(), reader.u16(), reader.u16(), reader.u16()];
  let rcode = flags & 15;
  // Who does not understand a question may leave it out.
  if (counts[0] !== 1 && !(counts[0] === 0 && rcode === FORMERR)) {
    throw malformed("it does not repeat the question");
  }
  if (counts[0] === 1) {
    const name = reader.name();
    const type = reader.u16();
    if (
      name !== question.name.toLowerCase() || type !== question.type ||
      reader.u16() !== IN
    ) throw malformed("it is to another question");
  }
  const truncated = (flags & FLAG_TC) !== 0;
  const base = { rcode, truncated, name: question.name.toLowerCase() };
  // What is there of it does not count (RFC 2181, 9).
  if (truncated) {
    return { ...base, chain: 0, addresses: [], ttl: 0, negativeTtl: undefined };
  }
  const sections: DnsRecord[][] = [];
  for (const count of counts.slice(1)) {
    const records: DnsRecord[] = [];
    for (let i = 0; i < count; i++) {
      const record = reader.record();
      if (record.type === OPT) rcode |= extended(bytes, record.at);
      else if (record.kind === IN) records.push(record);
    }
    sections.push(records);
  }
  if (reader.at !== bytes.length) throw malformed("more comes behind it");
  return {
    ...base,
    rcode,
    ...follow(reader, sections[0], base.name, question.type),
    negativeTtl: negative(reader, sections[1]),
  };
}

/** The upper bits of the code, where the TTL of an OPT record is. */
function extended(bytes: Uint8Array, at: number): number {
  return bytes[at - 6] << 4;
}

/** From name to name, to the addresses. */
function follow(
  reader: Reader,
  records: readonly DnsRecord[],
  first: string,
  type: number,
): Pick<DnsAnswer, "name" | "chain" | "addresses" | "ttl"> {
  let name = first;
  let ttl = Infinity;
  for (let chain = 0; chain <= MAX_CHAIN; chain++) {
    const found = records.filter((r) => r.name === name && r.type === type);
    if (found.length > 0) {
      for (const record of found) ttl = Math.min(ttl, record.ttl);
      return {
        name,
        chain,
        addresses: found.map((record) => addressOf(reader, record)),
        ttl,
      };
    }
    const alias = records.find((r) => r.name === name && r.type === CNAME);
    if (alias === undefined) return { name, chain, addresses: [], ttl };
    reader.at = alias.at;
    name = reader.name();
    if (reader.at !== alias.at + alias.length) {
      throw malformed("a record has another length than its data");
    }
    ttl = Math.min(ttl, alias.ttl);
  }
  throw malformed(`more than ${MAX_CHAIN} names stand for each other`);
}

function addressOf({ bytes }: Reader, { type, at, length }: DnsRecord): string {
  if (length !== (type === A ? 4 : 16)) {
    throw malformed("an address of a wrong length");
  }
  const data = bytes.subarray(at, at + length);
  if (type === A) return data.join(".");
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) {
    groups.push((data[i] << 8 | data[i + 1]).toString(16));
  }
  // The one text that RFC 5952 has for it.
  return new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1);
}

/** The lesser of the TTL of the SOA and its MINIMUM (RFC 2308, 5). */
function negative(
  reader: Reader,
  records: readonly DnsRecord[],
): number | undefined {
  const soa = records.find((record) => record.type === SOA);
  if (soa === undefined) return undefined;
  reader.at = soa.at;
  reader.name();
  reader.name();
  reader.at += 16;
  const minimum = reader.u32();
  if (reader.at !== soa.at + soa.length) {
    throw malformed("a record has another length than its data");
  }
  return Math.min(soa.ttl, minimum >= 2 ** 31 ? 0 : minimum);
}
