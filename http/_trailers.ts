import { fieldLine } from "./_h1_writer.ts";
import { NOT_IN_TRAILERS } from "./_h1_tables.ts";
import type { Fields } from "./_h1_types.ts";

/** Trailers that a response is to have. */
export interface OutgoingTrailers {
  /** Their names, when they are known before the body. */
  readonly names: readonly string[];
  readonly fields: Promise<Fields>;
}

const trailers = new WeakMap<Response, OutgoingTrailers>();
let used = false;

export function setTrailers(response: Response, given: OutgoingTrailers): void {
  used = true;
  trailers.set(response, given);
}

/** The trailers of a response, if it has any: free where nobody uses them. */
export function trailersOf(response: Response): OutgoingTrailers | undefined {
  return used ? trailers.get(response) : undefined;
}

/** Field lines, checked, flat; those of one name stay apart. */
export function trailerFields(init: HeadersInit): Fields {
  const fields: string[] = [];
  for (const [name, value] of new Headers(init)) {
    if (NOT_IN_TRAILERS.has(name)) {
      throw new TypeError(
        `Cannot send a trailer: ${name} is not allowed behind a body (RFC 9110, 6.5.1)`,
      );
    }
    // For what it throws.
    fieldLine(name, value);
    fields.push(name, value);
  }
  return fields;
}
