import type { ServerSentEvent } from "./event_stream.ts";

/** What a comment without text is: keeps the connection alive. */
export const HEARTBEAT = ":\n\n";

/**
 * The text of one event, with the empty line that ends it (HTML, 9.2.5).
 * Throws for what would be read as something else.
 */
export function eventText(message: unknown): string {
  if (typeof message === "string") return `${dataLines(message)}\n`;
  if (typeof message !== "object" || message === null) {
    throw new TypeError(
      `Cannot send an event: neither a string nor an object: ${
        message === null ? "null" : typeof message
      }`,
    );
  }
  const { comment, event, id, retry, data } = message as ServerSentEvent;
  let text = "";
  if (comment !== undefined) text += field("", comment, "comment");
  if (event !== undefined) text += `event: ${line(event, "event")}\n`;
  if (id !== undefined) text += `id: ${line(id, "id")}\n`;
  if (retry !== undefined) text += retryLine(retry);
  if (data !== undefined) text += dataLines(dataText(data));
  if (text === "") {
    throw new TypeError(
      "Cannot send an event: it has none of data, event, id, retry, comment",
    );
  }
  return `${text}\n`;
}

/** Milliseconds until a client connects again: digits and nothing else. */
export function retryLine(retry: number): string {
  if (!Number.isSafeInteger(retry) || retry < 0) {
    throw new RangeError(
      `Cannot send an event: retry must be whole milliseconds: ${retry}`,
    );
  }
  return `retry: ${retry}\n`;
}

function dataText(data: unknown): string {
  if (typeof data === "string") return data;
  if (data instanceof ArrayBuffer || ArrayBuffer.isView(data)) {
    throw new TypeError("Cannot send an event: data must be text, not bytes");
  }
  const text = JSON.stringify(data) as string | undefined;
  if (text === undefined) {
    throw new TypeError(
      `Cannot send an event: JSON has no such data: ${typeof data}`,
    );
  }
  return text;
}

function dataLines(data: string): string {
  return field("data", data, "data");
}

/** One line of the field for each line of the text, whatever ends it. */
function field(name: string, text: string, what: string): string {
  if (typeof text !== "string") {
    throw new TypeError(
      `Cannot send an event: ${what} must be a string: ${typeof text}`,
    );
  }
  if (!text.includes("\n") && !text.includes("\r")) return `${name}: ${text}\n`;
  return text.split(/\r\n|\r|\n/).map((line) => `${name}: ${line}\n`).join("");
}

/** What must stay on one line; with a NUL in it a client ignores an id. */
function line(text: string, what: "event" | "id"): string {
  if (typeof text !== "string") {
    throw new TypeError(
      `Cannot send an event: ${what} must be a string: ${typeof text}`,
    );
  }
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x0a || code === 0x0d || code === 0) {
      throw new TypeError(
        `Cannot send an event: ${what} holds CR, LF or NUL: ${
          JSON.stringify(text.slice(0, 80))
        }`,
      );
    }
  }
  return text;
}

const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * The id that a client wants to go on from: it is sent as UTF-8 (HTML, 9.2.4),
 * where fields are Latin-1 to everybody else.
 */
export function lastEventIdOf(
  request: { readonly headers: Headers } | undefined,
): string | undefined {
  const text = request?.headers.get("last-event-id") ?? undefined;
  if (text === undefined) return undefined;
  const bytes = new Uint8Array(text.length);
  let ascii = true;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code > 0xff) return text;
    if (code > 0x7f) ascii = false;
    bytes[i] = code;
  }
  if (ascii) return text;
  try {
    return strict.decode(bytes);
  } catch {
    return text;
  }
}
