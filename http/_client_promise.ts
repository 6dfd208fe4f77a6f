import type { ClientResponse } from "./_client_response.ts";

/** The promise of a response, and of its body in whatever form. */
export interface ResponsePromise extends Promise<ClientResponse> {
  /** The body as text. */
  text(): Promise<string>;
  /** The body, parsed as JSON. */
  json<T = unknown>(): Promise<T>;
  /** The body as bytes. */
  bytes(): Promise<Uint8Array<ArrayBuffer>>;
  /** The body as an ArrayBuffer. */
  arrayBuffer(): Promise<ArrayBuffer>;
  /** The body as a Blob. */
  blob(): Promise<Blob>;
  /** The body as a form. */
  formData(): Promise<FormData>;
}

/** The one that a client gives. */
export class PendingResponse extends Promise<ClientResponse>
  implements ResponsePromise {
  static {
    // So that `await` takes it as it is, and `then` gives a plain promise.
    Object.defineProperty(this.prototype, "constructor", { value: Promise });
  }

  text(): Promise<string> {
    return this.then((response) => response.text());
  }

  json<T>(): Promise<T> {
    return this.then((response) => response.json() as Promise<T>);
  }

  bytes(): Promise<Uint8Array<ArrayBuffer>> {
    return this.then((response) => response.bytes());
  }

  arrayBuffer(): Promise<ArrayBuffer> {
    return this.then((response) => response.arrayBuffer());
  }

  blob(): Promise<Blob> {
    return this.then((response) => response.blob());
  }

  formData(): Promise<FormData> {
    return this.then((response) => response.formData());
  }
}
