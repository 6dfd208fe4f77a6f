import type { Fields } from "./_h1_types.ts";

/** What reads a body: a reader of a Web Stream, or what does as one. */
interface Source {
  read(): Promise<{ done?: boolean }>;
  cancel(reason?: unknown): Promise<void>;
}

/** How the type begins of a form that `fetch` of Node writes. */
const FORM = "multipart/form-data; boundary=----formdata-undici-";

/**
 * Nobody wants the body any more. Node writes a form into its stream without
 * looking whether that was cancelled, and then it is an unhandled rejection:
 * such a body is read to its end, which takes no more memory than it has.
 */
export function cancelBody(
  source: Source,
  type: string | null | undefined,
  reason: unknown,
): void {
  if (type?.startsWith(FORM)) drain(source);
  else source.cancel(reason).catch(() => {});
}

async function drain(source: Source): Promise<void> {
  try {
    while (!(await source.read()).done);
  } catch {
    // It broke: all the same.
  }
}

/** The same for the body of a response that is not to be sent at all. */
export function cancelResponse(response: Response, reason: unknown): void {
  const { body } = response ?? {};
  if (!(body instanceof ReadableStream) || body.locked) return;
  cancelBody(body.getReader(), response.headers.get("content-type"), reason);
}

/** The content type among the fields of a response that was taken apart. */
export function typeOf(
  { lines = "", fields }: { lines?: string; fields: Fields },
): string | undefined {
  const at = fields.indexOf("content-type");
  if (at !== -1) return fields[at + 1];
  return /(?:^|\n)content-type: ([^\r]*)/.exec(lines)?.[1];
}
