import { readFile } from "node:fs/promises";

/** Makes the page's response; only its own script and style run in it. */
export async function loadPage(
  ports: Record<string, string>,
): Promise<() => Response> {
  let html = await readFile(new URL("page.html", import.meta.url), "utf8");
  for (const [name, port] of Object.entries(ports)) {
    html = html.replace(name, port);
  }
  return () => {
    const nonce = crypto.randomUUID();
    return new Response(html.replaceAll('nonce="NONCE"', `nonce="${nonce}"`), {
      headers: {
        "content-type": "text/html; charset=utf-8",
        "content-security-policy": "default-src 'none'; connect-src 'self'; " +
          `script-src 'nonce-${nonce}'; style-src 'nonce-${nonce}'; ` +
          "img-src data:; base-uri 'none'; form-action 'none'; " +
          "frame-ancestors 'none'",
      },
    });
  };
}

/** A page of another site has another Origin; a program has none. */
export function sameSite({ headers }: Request): boolean {
  const origin = headers.get("origin");
  return origin === null ||
    URL.canParse(origin) && new URL(origin).host === headers.get("host");
}

/** A short answer in plain text. */
export function reply(status: number, text: string): Response {
  return new Response(`${text}\n`, { status });
}
