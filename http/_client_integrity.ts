import { NetError } from "../streams/errors.ts";
import { rebuilt } from "./_client_response.ts";
import type { ClientResponse } from "./_client_response.ts";
import { FetchError } from "./errors.ts";

/** From weak to strong; others do not count. */
const ALGORITHMS = ["sha256", "sha384", "sha512"];

/** What a body has to hash to. */
export interface Integrity {
  /** As WebCrypto calls it. */
  readonly algorithm: string;
  /** One of these, in base64. */
  readonly digests: readonly string[];
}

/**
 * Takes an integrity to pieces (W3C, Subresource Integrity): only the
 * strongest algorithm in it counts. `undefined` when it names none.
 */
export function parseIntegrity(text: string): Integrity | undefined {
  if (text === "") return undefined;
  let strongest = -1;
  let digests: string[] = [];
  for (const item of text.split(/[\t\n\f\r ]+/)) {
    const match = /^(sha\d{3})-([A-Za-z0-9+/_-]+={0,2})(?:\?.*)?$/.exec(item);
    if (match === null) continue;
    const at = ALGORITHMS.indexOf(match[1]);
    if (at === -1 || at < strongest) continue;
    if (at > strongest) digests = [];
    strongest = at;
    digests.push(match[2].replaceAll("-", "+").replaceAll("_", "/"));
  }
  return strongest === -1 ? undefined : {
    algorithm: ALGORITHMS[strongest].replace("sha", "SHA-"),
    digests,
  };
}

/** The response with its body read and checked. */
export async function verified(
  response: ClientResponse,
  { algorithm, digests }: Integrity,
): Promise<ClientResponse> {
  const bytes = await response.bytes();
  const hash = new Uint8Array(await crypto.subtle.digest(algorithm, bytes));
  const digest = btoa(String.fromCharCode(...hash));
  if (digests.includes(digest)) return rebuilt(response, bytes);
  throw new FetchError(
    `Cannot fetch ${
      response.url.split("?", 1)[0]
    }: its body is not what integrity says: its ${algorithm} is ${digest}`,
    new NetError("The body has another hash", {
      code: "ERR_INTEGRITY",
      phase: "body",
    }),
  );
}
