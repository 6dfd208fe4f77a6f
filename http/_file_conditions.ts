import { parseHttpDate } from "./_http_date.ts";

/** An HTTP-date in any of its three forms (RFC 9110 §5.6.7), in ms. */
export function parseDate(text: string | null): number | undefined {
  return text === null ? undefined : parseHttpDate(text);
}

/** Whether a list of entity tags (or `*`) holds a strong tag. */
function listHolds(list: string, tag: string, weakly: boolean): boolean {
  const text = list.trim();
  if (text === "*") return true;
  let at = 0;
  while (at < text.length) {
    const char = text[at];
    if (char === "," || char === " " || char === "\t") {
      at++;
      continue;
    }
    const weak = text.startsWith("W/", at);
    const start = weak ? at + 2 : at;
    if (text[start] !== '"') return false;
    const end = text.indexOf('"', start + 1);
    if (end === -1) return false;
    if ((weakly || !weak) && text.slice(start, end + 1) === tag) return true;
    at = end + 1;
  }
  return false;
}

/** Validators of what would be sent; `modified` in whole seconds, as ms. */
export interface Validators {
  readonly tag: string;
  readonly modified: number;
}

/** 304 or 412 when a condition says so, in the order of RFC 9110 §13.2.2. */
export function precondition(
  fields: Headers,
  { tag, modified }: Validators,
): 304 | 412 | undefined {
  const match = fields.get("if-match");
  if (match !== null) {
    if (!listHolds(match, tag, false)) return 412;
  } else {
    const since = parseDate(fields.get("if-unmodified-since"));
    if (since !== undefined && modified > since) return 412;
  }
  const noneMatch = fields.get("if-none-match");
  if (noneMatch !== null) {
    return listHolds(noneMatch, tag, true) ? 304 : undefined;
  }
  const since = parseDate(fields.get("if-modified-since"));
  return since !== undefined && modified <= since ? 304 : undefined;
}

/** Whether `If-Range` lets a range through (RFC 9110 §13.1.5). */
export function rangeHolds(
  fields: Headers,
  { tag, modified }: Validators,
): boolean {
  const condition = fields.get("if-range")?.trim();
  if (condition === undefined) return true;
  if (condition.endsWith('"')) return condition === tag;
  // A date is strong only when the file has been left alone since (§8.8.2.2).
  return parseDate(condition) === modified && Date.now() - modified >= 2000;
}

/** Bytes from `start` up to, without, `end`. */
export interface ByteRange {
  readonly start: number;
  readonly end: number;
}

const MAX_RANGES = 16;

/**
 * The ranges asked for (RFC 9110 §14.1.2), in their order; `[]` when none can
 * be given; `undefined` when the field is to be passed over: it is of another
 * unit, malformed, has over 16 ranges, or asks for more than the whole.
 */
export function parseRanges(
  field: string | null,
  size: number,
): ByteRange[] | undefined {
  if (field === null) return undefined;
  const equals = field.indexOf("=");
  if (field.slice(0, equals).trim().toLowerCase() !== "bytes") return undefined;
  const specs = field.slice(equals + 1).split(",", 4 * MAX_RANGES);
  const ranges: ByteRange[] = [];
  let count = 0;
  let total = 0;
  for (const item of specs) {
    const spec = item.trim();
    if (spec === "") continue;
    if (++count > MAX_RANGES) return undefined;
    const found = /^(\d*)-(\d*)$/.exec(spec);
    if (found === null || spec === "-") return undefined;
    const [, first, last] = found;
    let start: number, end: number;
    if (first === "") {
      // The end of nothing is the whole (RFC 9110 §14.1.2): no range says so.
      if (size === 0 && Number(last) > 0) return undefined;
      start = Math.max(0, size - Number(last));
      end = size;
    } else {
      start = Number(first);
      end = last === "" ? size : Math.min(size, Number(last) + 1);
      if (last !== "" && Number(last) < start) return undefined;
    }
    if (start >= end) continue;
    ranges.push({ start, end });
    total += end - start;
  }
  if (count === 0) return undefined;
  return ranges.length > 1 && total > size ? undefined : ranges;
}
