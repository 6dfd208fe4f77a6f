import { bodyOf, readWhole } from "./_file_body.ts";
import type { Piece } from "./_file_body.ts";
import { parseRanges, precondition, rangeHolds } from "./_file_conditions.ts";
import { codingsFor, dispositionOf, typeOf, varyOf } from "./_file_types.ts";
import { factsAt, openFile, ownFactsAt } from "./_node_files.ts";
import type { FileFacts } from "./_node_files.ts";
import { Response as Light } from "./response.ts";

/** What {@linkcode file} does beside sending the file. */
export interface FileOptions {
  /**
   * `Content-Type`. Without it the end of the name decides; what is unknown
   * is `application/octet-stream`, and `text/*` is UTF-8.
   */
  type?: string;
  /** `Cache-Control`, such as `"public, max-age=3600"`; none without it. */
  cacheControl?: string;
  /** Offers it to be saved: under its own name, or under this one. */
  download?: boolean | string;
  /**
   * Sends `path.br`, `path.zst` or `path.gz` beside it to clients that accept
   * it; never for a request with `Range`.
   *
   * @default {true}
   */
  precompressed?: boolean;
  /**
   * More fields; they take the place of those made here. What `Vary` has to
   * hold is put behind that of theirs.
   */
  headers?: HeadersInit;
}

/** Up to this a body is read at once. */
const SMALL = 64 * 1024;
const encoder = new TextEncoder();

function plain(status: number, text: string, fields?: HeadersInit): Response {
  return new Light(`${text}\n`, { status, headers: fields });
}

/** What a file that cannot be opened is answered with; other errors throw. */
function refusal(error: unknown): Response {
  switch ((error as { code?: unknown })?.code) {
    case "ENOENT":
    case "ENOTDIR":
    case "EISDIR":
    case "ELOOP":
    case "ENAMETOOLONG":
    case "ENXIO":
    case "ERR_INVALID_ARG_VALUE":
      return notFound();
    case "EACCES":
    case "EPERM":
      return plain(403, "Forbidden");
  }
  throw error;
}

export function notFound(): Response {
  return plain(404, "Not Found");
}

/** 405 for what is neither GET nor HEAD. */
export function wrongMethod(request: Request): Response | undefined {
  return request.method === "GET" || request.method === "HEAD"
    ? undefined
    : plain(405, "Method Not Allowed", { allow: "GET, HEAD" });
}

/** The files beside it that hold it compressed, by their codings. */
async function sidecars(path: string): Promise<Map<string, FileFacts>> {
  const found = new Map<string, FileFacts>();
  await Promise.all(
    [["br", ".br"], ["zstd", ".zst"], ["gzip", ".gz"]].map(
      async ([coding, end]) => {
        try {
          // A link is passed over: it could lead out of a folder.
          const facts = await ownFactsAt(path + end);
          if (facts.kind === "file") found.set(coding, facts);
        } catch {
          // There is none.
        }
      },
    ),
  );
  return found;
}

/**
 * A response with a file, for GET and HEAD (405 for others, 404 when there is
 * no such file, 403 when it may not be read): with `Last-Modified` and a
 * strong `ETag` of size and time of change in milliseconds, conditions in the
 * order of RFC 9110 §13.2.2 (304, 412), ranges (§14: 206, also
 * `multipart/byteranges`, 416), and files compressed beforehand.
 *
 * Over 16 ranges, and ranges that make more than the whole, are answered with
 * the whole. Files over 64 KiB are read in blocks as the client takes them; a
 * file that changes meanwhile ends the connection, a client that leaves closes
 * the file. The path is trusted: for one made of a URL use `directory`.
 *
 * @example
 * ```ts
 * import { file } from "@sluice/net/http";
 *
 * const request = new Request("http://localhost/none");
 * const response = await file(request, "./no_such_file.txt");
 * console.log(response.status); // 404
 * ```
 */
export async function file(
  request: Request,
  path: string,
  options: FileOptions = {},
): Promise<Response> {
  if (typeof path !== "string") {
    throw new TypeError(`Cannot send a file: its path is no string: ${path}`);
  }
  const wrong = wrongMethod(request);
  if (wrong !== undefined) return wrong;
  if (path.includes("\0")) return notFound();

  const head = request.method === "HEAD";
  // A range is of the representation chosen: of the plain one, always.
  const field = head ? null : request.headers.get("range");
  let source = path;
  let coding: string | undefined;
  let vary = false;
  if (options.precompressed !== false) {
    const found = await sidecars(path);
    vary = found.size > 0;
    if (vary && !request.headers.has("range")) {
      const chosen = codingsFor(request.headers.get("accept-encoding"))
        .find(([name]) => found.has(name));
      if (chosen !== undefined) {
        coding = chosen[0];
        source = path + chosen[1];
      }
    }
  }

  let opened;
  try {
    if ((await factsAt(path)).kind !== "file") return notFound();
    opened = await openFile(source);
  } catch (error) {
    return refusal(error);
  }
  try {
    const { facts } = opened;
    if (facts.kind !== "file") return notFound();
    const { size, version } = facts;
    const tag = `"${version}${coding === undefined ? "" : `-${coding}`}"`;
    const modified = Math.floor(facts.modified / 1000) * 1000;
    const validators = { tag, modified };

    const fields = new Headers();
    fields.set("etag", tag);
    // None that is yet to come (RFC 9110 §8.8.2.1).
    const told = new Date(Math.min(modified, Date.now()));
    fields.set("last-modified", told.toUTCString());
    if (options.cacheControl !== undefined) {
      fields.set("cache-control", options.cacheControl);
    }
    const answer = (status: number, body: BodyInit | null) => {
      const given = [...new Headers(options.headers)];
      for (const [name] of given) fields.delete(name);
      // There may be more than one cookie.
      for (const [name, value] of given) fields.append(name, value);
      // It depends on that all the same.
      const depends = vary ? varyOf(fields.get("vary")) : undefined;
      if (depends !== undefined) fields.set("vary", depends);
      return new Light(body, { status, headers: fields });
    };

    const failed = precondition(request.headers, validators);
    if (failed === 304) return answer(304, null);
    if (failed === 412) return plain(412, "Precondition Failed");

    fields.set("accept-ranges", "bytes");
    const type = options.type ?? typeOf(path);
    fields.set("content-type", type);
    if (coding !== undefined) fields.set("content-encoding", coding);
    const { download } = options;
    if (download !== undefined && download !== false) {
      const name = download === true
        ? path.slice(
          Math.max(path.lastIndexOf("/"), path.lastIndexOf("\\")) + 1,
        )
        : download;
      fields.set("content-disposition", dispositionOf(name));
    }

    const ranges = field !== null && rangeHolds(request.headers, validators)
      ? parseRanges(field, size)
      : undefined;
    let status = 200;
    let pieces: Piece[] = [{ start: 0, end: size }];
    if (ranges?.length === 0) {
      return plain(416, "Range Not Satisfiable", {
        "content-range": `bytes */${size}`,
        "accept-ranges": "bytes",
        etag: tag,
      });
    }
    if (ranges?.length === 1) {
      const [{ start, end }] = ranges;
      status = 206;
      pieces = ranges;
      fields.set("content-range", `bytes ${start}-${end - 1}/${size}`);
    } else if (ranges !== undefined) {
      const boundary = crypto.randomUUID();
      status = 206;
      pieces = ranges.flatMap((range) => [
        encoder.encode(
          `\r\n--${boundary}\r\ncontent-type: ${type}\r\n` +
            `content-range: bytes ${range.start}-${
              range.end - 1
            }/${size}\r\n\r\n`,
        ),
        range,
      ]);
      pieces.push(encoder.encode(`\r\n--${boundary}--\r\n`));
      fields.set("content-type", `multipart/byteranges; boundary=${boundary}`);
    }
    const length = pieces.reduce(
      (sum, piece) =>
        sum +
        (piece instanceof Uint8Array ? piece.length : piece.end - piece.start),
      0,
    );
    fields.set("content-length", String(length));
    if (head) return answer(status, null);
    const [only] = pieces;
    if (
      pieces.length === 1 && !(only instanceof Uint8Array) && length <= SMALL
    ) {
      return answer(status, await readWhole(opened, only.start, only.end));
    }
    return answer(status, bodyOf(source, version, pieces));
  } finally {
    await opened.close();
  }
}
