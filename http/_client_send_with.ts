import type { ClientResponse } from "./_client_response.ts";

/** Hands a request on with more fields, and leaves it as it was. */
export async function sendWith(
  request: Request,
  fields: readonly (readonly [name: string, value: string])[],
  next: (request: Request) => Promise<ClientResponse>,
): Promise<ClientResponse> {
  const before = fields.map(([name]) => request.headers.get(name));
  try {
    // In place: the client knows this request, and what its body is.
    for (const [name, value] of fields) request.headers.set(name, value);
  } catch {
    // Another server's: nobody may change it.
    const headers = new Headers(request.headers);
    for (const [name, value] of fields) headers.set(name, value);
    return await next(new Request(request, { headers }));
  }
  try {
    return await next(request);
  } finally {
    for (const [at, [name]] of fields.entries()) {
      const value = before[at];
      if (value === null) request.headers.delete(name);
      else request.headers.set(name, value);
    }
  }
}
